"""`make screenshots`: the pages as a therapist sees them, from a real run, to be looked at.

    make screenshots ARGS="--out /tmp/pictures"

Without --out only the README's picture is made anew, docs/portal.png.
"""

import argparse
import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, async_playwright

from bridge import messages, sessions
from bridge.database import open_pool, transaction
from bridge.formatting import from_composer
from policies.content import Text
from policies.vocabulary import ConversationId, Person
from tests.clients.protocol import RealClient
from tests.journeys.world import World, a_world, until
from tests.portal.stage import CHROMIUM, chromium_path
from tests.support.postgres import TestPostgres, running_postgres
from tests.support.synapse import TestHomeserver, free_port, running_homeserver

PICTURE = Path(__file__).parents[2] / "docs" / "portal.png"
TALK = (
    ("therapist", "Good morning Amina. How were the nights since we met?"),
    ("client", "I slept better, thank you. Six hours on Tuesday, and nearly seven yesterday."),
    ("client", "The walk before breakfast helps. The phone in the kitchen is harder …"),
    ("therapist", "That is a real change, and it was your doing. For the phone, let us try this:\n\n"
     "1. Leave it there at **ten**, not at bedtime\n2. An alarm clock instead of the phone's\n"
     "3. Two lines in the notebook when you wake"),
    ("client", "I can do that. See you on Thursday!"),
)  # fmt: skip
OTHERS = (("Adam", "Young"), ("Jonas", "Weber"), ("Leila", "Haddad"), ("Grace", "Okafor"))


async def talk(world: World, therapist: Person, client: Person, app: RealClient) -> ConversationId:
    conversation = await world.book(therapist, client)
    room = (await app.room_with(lambda seen: seen.name == therapist.name.full)).id
    for who, words in TALK:
        if who == "therapist":
            body, html = from_composer(words)
            await post(world, therapist, conversation, Text(body, html))
            seen = await app.wait_for(room, lambda s, body=body: s.body == body)  # type: ignore[misc]
            await app.read(room, seen.event_id)
        else:
            await app.send(room, words)
            await world.line(therapist, conversation, lambda line, w=words: _says(line, w))  # type: ignore[misc]
    return conversation


def _says(line: Any, words: str) -> bool:
    return isinstance(line.content, Text) and line.content.body == words


async def post(world: World, author: Person, conversation: ConversationId, text: Text) -> messages.Posted:
    async with transaction(world.pool) as tx:
        return await messages.post(
            tx, world.keyring, author=author.id, conversation=conversation, content=text, at=datetime.now(UTC)
        )


async def pictures(world: World, out: Path | None) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await world.start()
    await world.start("portal", RUH_PORTAL_URL=url, RUH_PORTAL_PORT=str(port), RUH_API_TOKEN="pictures")
    therapist = await world.therapist()
    for name in OTHERS:
        await world.book(therapist, await world.client(*name))
    client = await world.client()
    conversation = await talk(world, therapist, client, await world.nio(client))
    await until(
        lambda: world.pool.fetchval("SELECT count(*) = 0 FROM leg WHERE state = 'wanted'"), what="the rooms"
    )
    async with transaction(world.pool) as tx:
        token = await sessions.begin(tx, therapist.id, datetime.now(UTC) - timedelta(seconds=1))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM))
        path = f"/chat/{conversation}"
        await shot(browser, url, token, path, PICTURE, width=1440, height=860)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            for name, more in LOOKS.items():
                await shot(browser, url, token, path, out / f"chat-{name}.png", **more)
            await shot(browser, url, None, "/sign-in", out / "sign-in.png", width=1280, height=800)
        await browser.close()


LOOKS: dict[str, dict[str, Any]] = {
    "dark": {"width": 1440, "height": 860, "color_scheme": "dark"},
    "phone": {"width": 360, "height": 760},
    "phone-dark": {"width": 360, "height": 760, "color_scheme": "dark"},
    "tablet": {"width": 820, "height": 1100},
    "wide": {"width": 1920, "height": 1000},
}


async def shot(
    browser: Browser,
    url: str,
    token: str | None,
    path: str,
    to: Path,
    *,
    width: int,
    height: int,
    **more: Any,
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        base_url=url,
        locale="en-GB",
        reduced_motion="reduce",
        **more,
    )
    if token:
        await context.add_cookies([{"name": f"ruh-{urlsplit(url).port}", "value": token, "url": url}])
    page: Page = await context.new_page()
    await page.goto(path)
    if token:
        await page.locator("html[data-live]").wait_for(state="attached")
    await page.wait_for_load_state("networkidle")
    await page.screenshot(path=to)
    await context.close()


async def run(server: TestPostgres, homeserver: TestHomeserver, out: Path | None) -> None:
    url = await server.create()
    pool = await open_pool(url)
    with tempfile.TemporaryDirectory() as logs:
        async with a_world(pool, url, homeserver, Path(logs)) as world:
            await pictures(world, out)
    await pool.close()


def main() -> None:
    options = argparse.ArgumentParser(prog="screenshots")
    options.add_argument("--out", type=Path, help="a folder for all pages and looks")
    given = options.parse_args()
    with running_postgres() as server, running_homeserver(server) as homeserver:
        asyncio.run(run(server, homeserver, given.out))


if __name__ == "__main__":
    main()
