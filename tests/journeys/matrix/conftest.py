"""One world for all tests of a file: a database, an appservice that runs, clients that stay signed in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.database import open_pool
from tests.clients.raw import Raw
from tests.journeys.talk import Talk, a_talk
from tests.journeys.world import World, a_world
from tests.support.postgres import TestPostgres
from tests.support.synapse import TestHomeserver

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    postgres_server: TestPostgres, homeserver: TestHomeserver, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    url = await postgres_server.create()
    pool = await open_pool(url)
    try:
        async with a_world(pool, url, homeserver, tmp_path_factory.mktemp("logs")) as world:
            await world.start()
            await world.ready()
            yield world
    finally:
        await pool.close()
        await postgres_server.drop(url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(world: World) -> Talk:
    talk = await a_talk(world)
    await talk.app.send(talk.room, "good morning")
    await talk.hears("good morning")
    return talk


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def raw(talk: Talk) -> Raw:
    """The client's own account, without any of a client's manners."""
    return talk.world.clients.with_token(talk.app.access_token)
