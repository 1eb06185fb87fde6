"""Fixtures that every layer's tests may ask for: a database of one's own, and the run's homeserver."""

from collections.abc import AsyncIterator, Iterator

import pytest

from bridge.database import Pool, open_pool
from tests.support.postgres import TestPostgres, running_postgres
from tests.support.synapse import TestHomeserver, running_homeserver


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[TestPostgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
async def database_url(postgres_server: TestPostgres) -> AsyncIterator[str]:
    """The address of a fresh, migrated database."""
    url = await postgres_server.create()
    yield url
    await postgres_server.drop(url)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database_url)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def homeserver(postgres_server: TestPostgres) -> Iterator[TestHomeserver]:
    with running_homeserver(postgres_server) as server:
        yield server
