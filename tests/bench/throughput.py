"""How many a second: the outbox next to Synapse's own sends, the same number into the same rooms."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from uuid import uuid4

from appservice.homeserver import Acting, Homeserver
from policies.vocabulary import ConversationId, Person
from tests.bench.cost import cpu_ms
from tests.journeys.world import World, until

AT_ONCE = 12  # as the carrier does


@dataclass(frozen=True)
class Rate:
    a_second: float
    our_cpu_ms: float
    synapse_cpu_ms: float
    count: int
    legs: int


async def raw(
    homeserver: Homeserver, rooms: list[tuple[str, Acting]], count: int, size: int, synapse: int
) -> Rate:
    """Ready-made events with this many bytes of ciphertext, straight to the homeserver."""
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": "A" * size,
        "session_id": "s" * 43,
        "device_id": "D",
    }
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(room: str, acting: Acting, share: int) -> None:
        async with gate:
            for _ in range(share):
                await homeserver.send_event(room, "m.room.encrypted", content, str(uuid4()), acting)

    shares = [len(range(i, count, len(rooms))) for i in range(len(rooms))]
    before, start = cpu_ms(synapse), time.perf_counter()
    await asyncio.gather(*(one(*room, share) for room, share in zip(rooms, shares, strict=True)))
    took = time.perf_counter() - start
    return Rate(count / took, 0.0, (cpu_ms(synapse) - before) / count, count, len(rooms))


async def outbox(
    world: World,
    author: Person,
    conversations: list[ConversationId],
    count: int,
    appservice: int,
    synapse: int,
) -> Rate:
    """Entries that are all in the journal when the carrying begins, until the last has its event id."""
    os.kill(appservice, signal.SIGSTOP)
    try:
        for n in range(count):
            await world.say(
                author, conversations[n % len(conversations)], f"Message {n} of the benchmark. " * 4
            )
        before, synapse_before, start = cpu_ms(appservice), cpu_ms(synapse), time.perf_counter()
    finally:
        os.kill(appservice, signal.SIGCONT)
    pending = "SELECT count(*) = 0 FROM delivery WHERE state IN ('pending', 'prepared')"
    await until(lambda: world.pool.fetchval(pending), seconds=300, what="the outbox to empty")
    took = time.perf_counter() - start
    return Rate(
        count / took,
        (cpu_ms(appservice) - before) / count,
        (cpu_ms(synapse) - synapse_before) / count,
        count,
        len(conversations),
    )
