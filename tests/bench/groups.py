"""Community chats: how long until every leg of a new one is ready, and until a post is in the last one."""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from datetime import datetime

from appservice.homeserver import Acting
from bridge import communities
from policies.vocabulary import ConversationId
from tests.bench.meter import Compared, Measure, Meter
from tests.bench.practice import Bench, Someone
from tests.bench.replay import Replay
from tests.journeys.world import until

SETTLE = 0.3  # seconds between two turns: what follows a message (marks, syncs) is not the other side's

_READY = (
    "SELECT bool_and(state = 'open' AND hold IS NULL AND NOT seats_due) FROM leg WHERE conversation_id = $1"
)
_LAST = (
    "SELECT max(d.sent_at) FROM delivery d WHERE d.entry_id = $1 HAVING bool_and(d.state = 'sent')"
    " AND count(*) = $2"
)


class Group:
    """One of `size` clients, made through Ruh and, next to it, by itself."""

    def __init__(self, bench: Bench, replay: Replay, meter: Meter, size: int) -> None:
        self._bench, self._replay, self._meter, self._size = bench, replay, meter, size
        self._world = bench.world

    async def set_up(self) -> Compared:
        """From the therapist's click until each client is in a room with everybody's mask, can be written to
        and will be. Raw: the same rooms, invitations and joins, of users that exist already."""
        clients = (await self._bench.clients(self._size))[: self._size]
        maker, face, *masks = await self._replay.users(2 + self._size)

        async def raw(some: Sequence[Someone]) -> None:
            one = self._replay.room
            others = [face, *masks[1:]]  # in each room everybody but the client themselves
            await asyncio.gather(*(one(maker, others, c.device.user_id, is_direct=False) for c in some))

        async def ours() -> None:
            self._conversation: ConversationId = await self._world.act(
                communities.start,
                actor=self._bench.therapist,
                others=[c.person.id for c in clients],
                told=True,
            )
            ready = self._world.pool.fetchval
            await until(lambda: ready(_READY, self._conversation), seconds=600, what="the legs of a group")

        return await self._meter.in_turns(f"set-up, {self._size} clients", clients, raw, ours)

    async def posts(self, count: int) -> tuple[Compared, float]:
        """From the post until the last leg's room has it; medians of `count`, and what the very first took,
        which brings everybody the author's keys. Raw: a ready-made event into each of the same rooms."""
        rows = await self._world.pool.fetch(
            "SELECT l.room_id, p.user_id, p.device_id FROM leg l JOIN occupant o ON o.leg_id = l.id"
            " JOIN puppet p ON p.id = o.puppet_id WHERE l.conversation_id = $1 AND p.kind = 'face'",
            self._conversation,
        )
        rooms = [row["room_id"] for row in rows]
        face = Acting(rows[0]["user_id"], rows[0]["device_id"])
        first = await self._post("The first")
        raw, ours = Measure(), Measure()
        took: list[tuple[float, float]] = []
        for n in range(count):
            await asyncio.sleep(SETTLE)
            async with self._meter.onto(raw):
                start = time.perf_counter()
                await self._replay.messages(rooms, face)
                raw_took = time.perf_counter() - start
            await asyncio.sleep(SETTLE)
            async with self._meter.onto(ours):
                took.append((raw_took, await self._post(f"Message {n} of the benchmark. " * 4)))
        raw.seconds, ours.seconds = (statistics.median(side) for side in zip(*took, strict=True))
        raw.events, ours.events = raw.events // count, ours.events // count
        raw.synapse_cpu_ms, ours.synapse_cpu_ms = raw.synapse_cpu_ms / count, ours.synapse_cpu_ms / count
        ours.our_cpu_ms /= count
        return Compared(f"a post to {self._size}", raw, ours, os.getloadavg()[0]), first

    async def _post(self, words: str) -> float:
        start = time.time()
        posted = await self._world.say(self._bench.therapist, self._conversation, words)

        async def last() -> datetime | None:
            found: datetime | None = await self._world.pool.fetchval(_LAST, posted.entry_id, self._size)
            return found

        return (await until(last, what="a post in all legs")).timestamp() - start
