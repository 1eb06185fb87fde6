"""One portal and one browser for all the tests that look through it; each makes its own people."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from bridge.database import Pool
from tests.portal.scene import Scene, running_scene
from tests.portal.stage import CHROMIUM, Stage, chromium_path, page_of, running_stage
from tests.support.postgres import TestPostgres


@pytest.fixture(scope="session")
def stage(postgres_server: TestPostgres) -> Iterator[Stage]:
    with running_stage(postgres_server) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module, whose tests are all plain functions: Playwright keeps a loop running meanwhile."""
    if not Path(chromium_path()).exists():
        pytest.skip("no chromium: install Debian's package, or set RUH_CHROMIUM to where it is")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM))
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, stage: Stage) -> Iterator[Page]:
    with page_of(browser, stage) as opened:
        yield opened


@pytest.fixture
async def scene(pool: Pool, database_url: str) -> AsyncIterator[Scene]:
    async with running_scene(pool, database_url) as made:
        yield made
