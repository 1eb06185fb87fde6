"""A blast: from its sending until the last client's room has the message."""

import asyncio
from collections.abc import Sequence

from bridge import blasts
from policies.content import Text
from tests.bench.meter import Compared, Meter
from tests.bench.practice import Bench, Someone
from tests.bench.replay import Replay
from tests.journeys.world import until

WORDS = "The practice is closed on Friday. Please write to us if you need another appointment."
_DONE = (
    "SELECT count(*) = $2 FROM blast_recipient r JOIN delivery d ON d.entry_id = r.entry_id"
    " WHERE r.blast_id = $1 AND d.state = 'sent'"
)


async def measure(bench: Bench, replay: Replay, meter: Meter, count: int) -> Compared:
    """Raw: for each client the room with the sender in it, the client's invitation and join, the room key to
    their devices and one message, sent by somebody who has them all ready."""
    clients = (await bench.clients(count))[:count]
    maker, face = await replay.users(2)

    async def one(client: Someone) -> None:
        user_id = client.device.user_id
        room = await replay.room(maker, [face], user_id, is_direct=True)
        await replay.first_message(room, face, user_id)

    async def raw(some: Sequence[Someone]) -> None:
        await asyncio.gather(*(one(client) for client in some))

    async def ours() -> None:
        world = bench.world
        blast = await world.act(
            blasts.send, actor=bench.therapist.id, clients=[c.person.id for c in clients], content=Text(WORDS)
        )
        await until(lambda: world.pool.fetchval(_DONE, blast, count), seconds=900, what="the blast")

    return await meter.in_turns(f"a blast to {count}", clients, raw, ours)
