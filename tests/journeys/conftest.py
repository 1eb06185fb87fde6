from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.database import Pool
from tests.journeys.world import World, a_world
from tests.support.synapse import TestHomeserver


@pytest.fixture
async def world(
    pool: Pool, database_url: str, homeserver: TestHomeserver, tmp_path: Path
) -> AsyncIterator[World]:
    async with a_world(pool, database_url, homeserver, tmp_path) as world:
        yield world
