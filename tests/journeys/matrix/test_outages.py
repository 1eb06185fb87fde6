"""The homeserver away, slow or overloaded, the database restarted: nothing lost, nothing twice, in order."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from bridge.database import open_pool
from tests.journeys.ledger import Ledger
from tests.journeys.talk import a_talk
from tests.journeys.world import World, a_world, text
from tests.support.postgres import TestPostgres, running_postgres
from tests.support.proxy import Fault, a_proxy, never, sometimes
from tests.support.synapse import TestHomeserver

OUTAGE = 30.0  # seconds
LONGER_THAN_OUR_TIMEOUT = 18.0
RECOVERY = 120.0  # seconds; the slowest pace of trying again is once in 30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ledgers(world: World) -> list[Ledger]:
    return [Ledger(await a_talk(world, kind)) for kind in ("nio", "element")]


async def exchange(ledgers: list[Ledger], count: int, *, every: float = 0) -> None:
    await asyncio.gather(*(ledger.exchange(count, every=every) for ledger in ledgers))


async def check(ledgers: list[Ledger]) -> None:
    for ledger in ledgers:
        await ledger.check(RECOVERY)


async def deliveries(world: World, state: str) -> int:
    return int(await world.pool.fetchval("SELECT count(*) FROM delivery WHERE state = $1", state))


async def test_two_hundred_messages_while_we_were_away_arrive_once_and_in_order(world: World) -> None:
    talk = await a_talk(world)
    await talk.app.send(talk.room, "before")
    await talk.hears("before")
    await world.end()
    for number in range(200):
        await talk.app.send(talk.room, f"message {number}")
    await world.start()
    await talk.hears("message 199")
    lines = await world.lines(talk.therapist, talk.conversation)
    assert [text(line) for line in lines] == ["before", *(f"message {number}" for number in range(200))]


async def test_a_homeserver_that_is_gone_for_half_a_minute_loses_nothing(
    world: World, ledgers: list[Ledger]
) -> None:
    load = asyncio.create_task(exchange(ledgers, 60, every=0.5))
    await ledgers[0].talk.line(lambda line: line.author_id == ledgers[0].talk.client.id)
    await world.homeserver.go_away()
    await asyncio.sleep(OUTAGE)
    waiting = await world.pool.fetchval(
        "SELECT count(*) FROM delivery WHERE state IN ('pending', 'prepared')"
    )
    assert waiting > 20, "the therapists went on writing"
    await world.homeserver.come_back()
    await load
    await check(ledgers)
    assert await deliveries(world, "failed") == 0


async def test_a_homeserver_that_does_not_answer_in_time_gets_nothing_twice(
    world: World, ledgers: list[Ledger]
) -> None:
    load = asyncio.create_task(exchange(ledgers, 30, every=0.2))
    await asyncio.sleep(2)
    world.homeserver.freeze()
    try:
        await asyncio.sleep(LONGER_THAN_OUR_TIMEOUT)
    finally:
        world.homeserver.thaw()
    await load
    await check(ledgers)


async def test_faults_of_every_kind_between_us_and_the_homeserver(
    world: World, ledgers: list[Ledger]
) -> None:
    async with a_proxy(world.homeserver.url) as proxy:
        proxy.choose = sometimes(1, 0.25)
        await world.restart(RUH_HOMESERVER_URL=proxy.url)
        # A new conversation too: accounts, rooms and keys are made through the same faults.
        therapist, client = await world.therapist(), await world.client()
        conversation = await world.open(therapist, client)
        await world.say(therapist, conversation, "hello")
        await exchange(ledgers, 25, every=0.1)
        app = await world.nio(client)
        room = await app.room_with(
            lambda seen: seen.membership == "join" and len(seen.joined()) == 3, RECOVERY
        )
        await app.wait_for(room.id, lambda seen: seen.body == "hello", RECOVERY)
        assert len(await app.rooms()) == 1
        proxy.choose = never
        await check(ledgers)
        assert set(proxy.counts) == set(Fault), proxy.counts
    await world.restart()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[TestPostgres]:
    """Ours alone: the homeserver's goes on."""
    with running_postgres() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_world(
    own_postgres: TestPostgres, homeserver: TestHomeserver, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    url = await own_postgres.create()
    pool = await open_pool(url)
    try:
        async with a_world(pool, url, homeserver, tmp_path_factory.mktemp("own")) as world:
            yield world
    finally:
        pool.terminate()


async def test_a_database_that_is_restarted_under_load_loses_nothing(
    own_world: World, own_postgres: TestPostgres
) -> None:
    async with own_world.kept_running():
        ledger = Ledger(await a_talk(own_world))
        load = asyncio.create_task(ledger.exchange(40, every=0.2))
        for absence in (0.0, 3.0):
            await asyncio.sleep(2)
            await asyncio.to_thread(own_postgres.stop)
            await asyncio.sleep(absence)
            own_postgres.start()
        await load
        await ledger.check(RECOVERY)
