"""New, in a browser: choosing several, the confirmations, and a blast that is watched while it goes out."""

import re
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from bridge import blasts, client_groups
from bridge.database import transaction
from policies.vocabulary import ConversationId, Person, Role
from tests.portal.stage import Stage, enter, page_of
from tests.portal.test_accessible import findings

Practice = tuple[Person, list[Person]]


@pytest.fixture
def practice(stage: Stage) -> Practice:
    """Sara and four clients; three of them are a group."""
    sara = stage.do(stage.cast.therapist())
    names = (("Amina", "Yusuf"), ("Adam", "Young"), ("Leila", "Haddad"), ("Jonas", "Weber"))
    clients = [stage.do(stage.cast.client(first, last, of=sara)) for first, last in names]

    async def grouped() -> None:
        async with transaction(stage.cast.pool) as tx:
            group, _ = await client_groups.put(
                tx, stage.cast.keyring, platform_id=uuid4().hex, name="Evening group"
            )
            await client_groups.set_members(tx, group, [client.id for client in clients[:3]])

    stage.do(grouped())
    return sara, clients


def goes_out(stage: Stage, count: int) -> None:
    async def carry() -> None:
        for _ in range(count):
            async with transaction(stage.cast.pool) as tx:
                await blasts.next_recipient(tx, stage.cast.keyring, at=datetime.now(UTC))

    stage.do(carry())


def new(page: Page) -> Locator:
    page.get_by_role("button", name="New", exact=True).first.click()
    dialog = page.locator("#new-dialog")
    expect(dialog.get_by_role("option").first).to_be_visible()
    return dialog


def test_a_groups_chip_stands_for_its_members_and_each_can_be_taken_out(
    page: Page, stage: Stage, practice: Practice
) -> None:
    enter(page, stage, practice[0])
    dialog = new(page)
    dialog.get_by_role("option", name="Evening group").click()
    expect(dialog.locator(".chip")).to_contain_text("Evening group (3)")
    expect(dialog.get_by_role("option", name="Adam Young")).to_have_attribute("aria-selected", "true")
    dialog.get_by_role("option", name="Adam Young").click()
    expect(dialog.locator(".chip")).to_contain_text("Evening group (2)")
    dialog.get_by_role("option", name="Jonas Weber").click()
    expect(dialog.locator(".chip")).to_have_count(2)
    dialog.get_by_role("button", name="Remove Evening group").click()
    expect(dialog.locator(".chip")).to_have_count(1)
    expect(dialog.get_by_role("button", name="Start Conversation")).to_be_enabled()
    page.keyboard.press("Backspace")
    expect(dialog.locator(".chip")).to_have_count(0)
    expect(dialog.get_by_role("button", name="Start Conversation")).to_be_disabled()


def test_a_community_chat_begins_once_it_is_confirmed(page: Page, stage: Stage, practice: Practice) -> None:
    enter(page, stage, practice[0])
    dialog = new(page)
    dialog.get_by_role("option", name="Evening group").click()
    dialog.get_by_role("button", name="Community Chat").click()
    expect(dialog.get_by_role("heading", name="Start this community chat?")).to_be_visible()
    expect(dialog.locator(".names li")).to_contain_text(["Adam Young", "Amina Yusuf", "Leila Haddad"])
    assert findings(page) == []
    dialog.get_by_label("Title").fill("Evenings")
    dialog.get_by_role("button", name="Start Community Chat").click()
    tick = dialog.get_by_label("I have told each of these 3 clients")
    expect(tick).to_be_focused()
    tick.check()
    dialog.get_by_role("button", name="Start Community Chat").click()
    expect(page.get_by_role("heading", name="Evenings")).to_be_visible()
    expect(page.locator(".row-title").first).to_have_text("Evenings")


def test_a_blast_is_written_confirmed_watched_and_stopped(
    page: Page, stage: Stage, practice: Practice
) -> None:
    sara, clients = practice
    enter(page, stage, sara)
    dialog = new(page)
    dialog.get_by_role("option", name="All my active clients").click()
    expect(dialog.locator(".chip")).to_contain_text("All my active clients (4)")
    dialog.get_by_role("option", name="Jonas Weber").click()
    dialog.get_by_role("button", name="Message Blast").click()
    expect(dialog.get_by_text("3 clients get it")).to_be_visible()
    dialog.get_by_label("Message", exact=True).fill("Closed on **Monday**")
    assert findings(page) == []
    dialog.get_by_role("button", name="Close").last.click()
    dialog = new(page)
    dialog.get_by_role("option", name="All my active clients").click()
    dialog.get_by_role("button", name="Message Blast").click()
    # What was written is still there.
    expect(dialog.get_by_label("Message", exact=True)).to_have_value("Closed on **Monday**")
    dialog.get_by_role("button", name="Leave Jonas Weber out").click()
    expect(dialog.get_by_text("3 clients get it")).to_be_visible()
    dialog.get_by_label("Title").fill("Monday")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_role("heading", name="Send this to 3 clients?")).to_be_visible()
    expect(dialog.locator(".names:visible li")).to_have_count(3)
    expect(dialog.locator(".bubble strong")).to_have_text("Monday")
    assert findings(page) == []
    dialog.get_by_role("button", name="Back").click()
    expect(dialog.get_by_label("Message", exact=True)).to_have_value("Closed on **Monday**")
    dialog.get_by_role("button", name="Preview").click()
    dialog.get_by_role("button", name="Send to 3 clients").click()
    expect(page).to_have_url(re.compile("/blasts/"))
    expect(page.get_by_role("heading", name="Reaching 0 of 3 people")).to_be_visible()
    expect(page.locator("html[data-live]")).to_be_attached()
    goes_out(stage, 2)
    expect(page.get_by_role("heading", name="Reaching 2 of 3 people")).to_be_visible()
    expect(page.locator(".outcome", has_text="Adam")).to_contain_text("hasn’t signed in to chat yet")
    row = page.locator("#rows .row")
    expect(row.first).to_contain_text("To 2 people who haven’t answered yet")
    assert findings(page) == []
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Stop blast").click()
    expect(page.get_by_role("heading", name="Stopped. 2 of 3 people got it.")).to_be_visible()
    page.get_by_role("link", name="Adam Young", exact=True).click()
    expect(page.get_by_role("log")).to_contain_text("Closed on Monday")
    adam = clients[1]
    thread = page.url.rsplit("/", 1)[-1]
    page.go_back()
    expect(page.locator("#blast-progress")).to_be_visible()
    stage.do(stage.cast.say(adam, ConversationId(UUID(thread)), "Thank you"))
    expect(page.locator(".outcome", has_text="Adam")).to_contain_text("Answered")
    expect(row.first).to_contain_text("Adam Young: Thank you")
    expect(row.nth(1)).to_contain_text("To Amina Yusuf, who hasn’t answered yet")


def test_colleagues_alone_start_a_staff_chat_by_keyboard(
    page: Page, stage: Stage, practice: Practice
) -> None:
    sara = practice[0]
    last = uuid4().hex[:8]
    stage.do(stage.cast.person(Role.TEAM_MEMBER, "Tom", last))
    enter(page, stage, sara)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("n")
    dialog = page.locator("#new-dialog")
    page.keyboard.type(last)
    expect(dialog.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Start Staff Chat")).to_be_enabled()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name=f"Tom {last}")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(browser: Browser, stage: Stage, practice: Practice, scheme: str) -> None:
    phone = {"width": 360, "height": 720}
    with page_of(browser, stage, viewport=phone, color_scheme=scheme) as page:
        enter(page, stage, practice[0], "/chat?list")
        dialog = new(page)
        dialog.get_by_role("option", name="All my active clients").click()
        assert findings(page) == []
        dialog.get_by_role("button", name="Message Blast").click()
        dialog.get_by_label("Message", exact=True).fill("Closed on Monday")
        dialog.get_by_role("button", name="Preview").click()
        dialog.get_by_role("button", name="Send to 4 clients").click()
        expect(page.locator("#blast-progress")).to_be_visible()
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("link", name="Back to the list").click()
        expect(page.get_by_role("heading", name="Chat", exact=True)).to_be_visible()
