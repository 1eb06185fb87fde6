"""`kill -9` of the appservice between any two steps: what was accepted is in each place exactly once (S6)."""

import asyncio
import random
import signal
from dataclasses import dataclass

import pytest
import pytest_asyncio

from appservice.faults import POINTS
from tests.journeys.ledger import Ledger
from tests.journeys.talk import a_talk
from tests.journeys.world import PATIENCE, World, text, until

# The first time a process comes to the place, or the third: with others before and behind it.
AT_WORK = [
    f"{name}:{1 + n % 2 * 2}" for n, name in enumerate(POINTS) if name.startswith(("deliver.", "sync."))
]
SHARING = [name for name in POINTS if name.startswith("share.")]
OPENING = [name for name in POINTS if name.startswith(("leg.", "keys."))]


@dataclass
class Town:
    """Two conversations at once: one client uses nio, the other Element."""

    world: World
    ledgers: list[Ledger]

    async def exchange(self, count: int) -> None:
        await asyncio.gather(*(ledger.exchange(count) for ledger in self.ledgers))

    async def check(self) -> None:
        for ledger in self.ledgers:
            await ledger.check()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(world: World) -> Town:
    return Town(world, [Ledger(await a_talk(world, kind)) for kind in ("nio", "element")])


async def dies(process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("point", AT_WORK)
async def test_killed_at_work_nothing_is_lost_or_doubled(town: Town, point: str) -> None:
    doomed = await town.world.restart(RUH_FAULT=point)
    death = asyncio.create_task(dies(doomed))
    while not death.done():
        # How many syncs an exchange takes isn't for us to say: the third may come with the next.
        await town.exchange(3)
        carried = asyncio.create_task(town.check())
        await asyncio.wait([death, carried], return_when=asyncio.FIRST_COMPLETED)
        carried.cancel()
    await death
    await town.world.restart()
    await town.check()


@pytest.mark.parametrize("point", SHARING)
async def test_killed_while_sharing_keys_every_device_reads_on(town: Town, point: str) -> None:
    ledger = town.ledgers[0]
    doomed = await town.world.restart(RUH_FAULT=point)
    phone = await town.world.nio(ledger.talk.client)
    known = "SELECT true FROM crypto_device WHERE device_id = $1"
    await until(lambda: town.world.pool.fetchval(known, phone.device_id), what="the news of the phone")
    before = len(ledger.written)
    await ledger.exchange(3)
    await dies(doomed)
    await town.world.restart()
    await town.check()
    # The second phone can read what came after it signed in.
    await ledger.check_app(phone, ledger.written[before:], only_last=True)
    await phone.logout()


@pytest.mark.parametrize("point", OPENING)
async def test_killed_while_opening_a_conversation_the_client_sees_one_room(world: World, point: str) -> None:
    doomed = await world.restart(RUH_FAULT=point)
    therapist, client = await world.therapist(), await world.client()
    app = await world.nio(client)
    conversation = await world.open(therapist, client)
    await world.say(therapist, conversation, "Hello")
    await dies(doomed)
    await world.restart()
    room = await app.room_with(lambda seen: seen.membership == "join" and len(seen.joined()) == 3, PATIENCE)
    await app.wait_for(room.id, lambda seen: seen.body == "Hello", PATIENCE)
    await app.send(room.id, "Good morning")
    await world.line(therapist, conversation, lambda line: text(line) == "Good morning")
    assert [seen.id for seen in await app.rooms()] == [room.id]
    async with app.raw() as raw:
        joined = (await raw.call("GET", "joined_rooms")).must()["joined_rooms"]
    assert joined == [room.id]


async def test_killed_again_and_again_under_load(town: Town) -> None:
    instants = random.Random(20261123)
    exchange = asyncio.create_task(town.exchange(40))
    kills = 0
    while not exchange.done():
        process = await town.world.restart()
        # Any instant from its first import to the middle of its work.
        await asyncio.wait([exchange], timeout=instants.uniform(0.5, 4))
        assert process.returncode is None
        kills += 1
    await exchange
    for _ in range(3):
        process = await town.world.restart()
        await asyncio.sleep(instants.uniform(1, 3))
        kills += 1
    await town.world.restart()
    await town.check()
    assert kills >= 4


async def test_two_appservices_never_work_at_once(town: Town) -> None:
    second = await town.world.start()
    await town.exchange(3)
    await town.check()
    assert second.returncode is None, "it waits for the first to end"
    first = town.world.processes[0]
    await town.world.kill(first)
    await town.exchange(3)
    await town.check()
