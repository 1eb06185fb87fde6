"""The way that the product is for: a therapist in a browser, a client in a Matrix app, and nothing pretended.

Booked through the platform's API, signed in through the form, every act through the page (P4, C9, M7, M9).
"""

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest
from argon2 import PasswordHasher
from playwright.async_api import Page, async_playwright, expect

from bridge import people
from bridge.database import transaction
from policies.vocabulary import Person
from tests.clients.protocol import RealClient
from tests.journeys.world import PASSWORD, World, until
from tests.portal.stage import CHROMIUM, chromium_path
from tests.support.synapse import free_port

API_TOKEN = "a token for this test"


@pytest.fixture
async def portal(world: World) -> str:
    """Both processes; the portal's address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await world.start()
    await world.start("portal", RUH_PORTAL_URL=url, RUH_PORTAL_PORT=str(port), RUH_API_TOKEN=API_TOKEN)

    async def answers() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{url}/sign-in") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    await until(answers, what="the portal")
    return url


@pytest.fixture
async def page(portal: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM))
        context = await browser.new_context(viewport={"width": 1280, "height": 800}, base_url=portal)
        context.set_default_timeout(15_000)
        yield await context.new_page()
        await browser.close()


async def book(world: World, portal: str, therapist: Person, client: Person) -> None:
    """As the platform does."""
    ids = "SELECT platform_id FROM person WHERE id = $1"
    body = {
        "booking_id": uuid4().hex,
        "client": await world.pool.fetchval(ids, client.id),
        "therapist": await world.pool.fetchval(ids, therapist.id),
    }
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{portal}/api/v1/bookings", json=body, headers=headers) as answer,
    ):
        assert answer.status in (200, 201), await answer.text()


async def sign_in(world: World, page: Page, therapist: Person) -> None:
    async with transaction(world.pool) as tx:
        await people.set_password_hash(tx, therapist.id, PasswordHasher().hash(PASSWORD))
        details = await people.details(tx, world.keyring, therapist.id)
    await page.goto("/")
    await page.get_by_label("Email").fill(details.email or "")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("html[data-live]")).to_be_attached()


async def send(page: Page, words: str) -> None:
    await page.get_by_label("Message", exact=True).fill(words)
    await page.get_by_role("button", name="Send").click()


@pytest.mark.parametrize("kind", ["element", "nio"])
async def test_from_the_booking_to_a_deleted_message(
    world: World, portal: str, page: Page, kind: str
) -> None:
    therapist, client = await world.therapist(), await world.client()
    await book(world, portal, therapist, client)
    await sign_in(world, page, therapist)
    own = page.locator(".message.is-own")
    await expect(own).to_have_count(1)  # it opens on the most recent conversation, with the welcome in it
    await expect(page.locator("#banners")).to_contain_text("hasn’t signed in to chat yet")

    app: RealClient = await (world.element(client) if kind == "element" else world.nio(client))
    room = (await app.room_with(lambda seen: seen.name == "Dr. Sara Khan")).id
    await app.wait_for(room, lambda seen: "welcome" in seen.body)
    await expect(page.locator("#banners")).not_to_contain_text("hasn’t signed in")

    await send(page, "How did you **sleep**?")
    read = await app.wait_for(room, lambda seen: seen.body == "How did you **sleep**?")
    assert read.sender_name == "Dr. Sara Khan"
    assert "<strong>sleep</strong>" in (read.formatted or "")
    assert read.shield is None
    await expect(own.last.get_by_label("not seen yet")).to_be_visible()
    await app.read(room, read.event_id)
    await expect(own.last.get_by_label("Seen", exact=True)).to_be_visible()

    await app.send(room, "Better, thank you")
    theirs = page.locator(".message:not(.is-own)")
    await expect(theirs).to_contain_text("Better, thank you")
    await expect(page).to_have_title(re.compile("Ruh|Chat|Amina"))

    await own.last.hover()
    await own.last.get_by_role("button", name="Edit").click()
    await own.last.get_by_label("Edit message").fill("How did you sleep tonight?")
    await own.last.get_by_label("Edit message").press("Control+Enter")
    await app.wait_for(room, lambda seen: seen.body == "How did you sleep tonight?" and seen.edited)
    await expect(own.last).to_contain_text("Edited")

    await own.last.hover()
    await own.last.get_by_role("button", name="Delete").click()
    await page.get_by_role("alertdialog").get_by_role("button", name="Delete message").click()
    await expect(own.last).to_contain_text("You deleted this message")
    await app.wait_until(lambda: gone(app, room, read.event_id), what="the redaction")


async def gone(app: RealClient, room: str, event_id: str) -> bool:
    """What was deleted can't be read any more, nor what it was before its edit."""
    lines = await app.timeline(room)
    return not any("sleep" in seen.body for seen in lines) and all(
        seen.redacted for seen in lines if seen.event_id == event_id
    )
