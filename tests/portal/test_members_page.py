"""The details of a conversation, in a browser: two members of the team look at it while one changes it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bridge import chat_settings, communities, roster
from bridge.database import Transaction, transaction
from bridge.feed import Change, Notification, notify
from policies.chat_settings import Level, Switch
from policies.vocabulary import ConversationId, Person, Role
from tests.portal.stage import Stage, enter, page_of
from tests.portal.test_accessible import findings

Group = tuple[Person, Person, ConversationId]


@pytest.fixture
def group(stage: Stage) -> Group:
    """Sara, her colleague Tom, and ten clients."""
    sara = stage.do(stage.cast.therapist())
    tom = stage.do(stage.cast.person(Role.TEAM_MEMBER, "Tom", "Reed"))
    clients = [stage.do(stage.cast.client(f"Client{n}", "Doe", of=sara)) for n in range(9)]
    adam = stage.do(stage.cast.client("Adam", "Young", of=sara))

    async def start(tx: Transaction) -> ConversationId:
        return await communities.start(
            tx, stage.cast.keyring, actor=sara, others=[p.id for p in (*clients, adam, tom)], told=True,
            title="Mondays", at=datetime.now(UTC),
        )  # fmt: skip

    return sara, tom, stage.do(stage.cast.in_transaction(start))


def changed(stage: Stage, conversation: ConversationId, query: str, *arguments: Any) -> None:
    async def change() -> None:
        async with transaction(stage.cast.pool) as tx:
            await tx.execute(query, conversation, *arguments)
            await notify(tx, Notification(Change.CONVERSATION, conversation))

    stage.do(change())


def test_setting_up_a_group_is_told_as_it_goes(page: Page, stage: Stage, group: Group) -> None:
    sara, _, conversation = group
    enter(page, stage, sara, f"/chat/{conversation}")
    expect(page.locator("#banners")).to_contain_text("Setting up: 0 of 10 clients ready")
    assert findings(page) == []
    some = "UPDATE leg SET state = 'open', hold = NULL WHERE conversation_id = $1 AND id IN"
    changed(stage, conversation, f"{some} (SELECT id FROM leg WHERE conversation_id = $1 LIMIT 4)")
    expect(page.locator("#banners")).to_contain_text("Setting up: 4 of 10 clients ready")
    changed(stage, conversation, f"{some} (SELECT id FROM leg WHERE conversation_id = $1)")
    expect(page.locator(".banner")).to_have_count(0)


def test_a_removal_is_asked_followed_and_undone_by_adding(
    browser: Browser, page: Page, stage: Stage, group: Group
) -> None:
    sara, tom, conversation = group
    changed(stage, conversation, "UPDATE leg SET state = 'open', hold = NULL WHERE conversation_id = $1")
    stage.do(stage.cast.say(sara, conversation, "Welcome"))
    stage.do(stage.cast.carried(conversation))
    with page_of(browser, stage) as toms:
        enter(toms, stage, tom, f"/chat/{conversation}")
        toms.get_by_role("button", name="Details").click()
        expect(toms.get_by_role("list", name="Members", exact=True)).to_contain_text("Adam Young")
        expect(toms.get_by_role("button", name="Remove Adam Young")).to_have_count(0)
        enter(page, stage, sara, f"/chat/{conversation}")
        page.get_by_role("button", name="Details").click()
        page.get_by_label("Search members").fill("ada")
        members = page.locator("#members .member:visible")
        expect(members).to_have_count(1)
        page.get_by_role("button", name="Remove Adam Young").click()
        dialog = page.locator("#ask-dialog")
        expect(dialog).to_contain_text("This removes 1 message from Adam’s chat app")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        assert findings(page) == []
        dialog.get_by_role("button", name="Cancel").click()
        expect(members).to_have_count(1)
        page.get_by_role("button", name="Remove Adam Young").click()
        dialog.get_by_role("button", name="Remove Adam", exact=True).click()
        expect(members).to_have_count(0)
        for one in (page, toms):
            expect(one.get_by_role("list", name="No longer in it")).to_contain_text("Adam Young")
            expect(one.get_by_role("log")).to_contain_text("Adam Young was removed")
        rooms = "UPDATE leg SET room_id = '!' || id WHERE conversation_id = $1 AND state = 'ended'"
        changed(stage, conversation, rooms)
        for update, words in (
            ("events = 240, redacted = 160", "160 of 240 messages taken back"),
            ("redacted = 240, step = 'wait', devices_waiting = 1", "waiting for 1 phone or computer"),
            ("step = 'done', done_at = now()", "1 phone or computer has not been online and may still show"),
        ):
            changed(stage, conversation, f"UPDATE revocation SET {update} WHERE conversation_id = $1")
            for one in (page, toms):
                expect(one.get_by_role("list", name="No longer in it")).to_contain_text(words)
        assert findings(page) == []
        page.get_by_role("button", name="Add", exact=True).click()
        dialog.get_by_role("option", name="Adam Young").click()
        dialog.get_by_role("button", name="Add …").click()
        expect(dialog.get_by_role("heading", name="Add Adam Young?")).to_be_visible()
        assert findings(page) == []
        dialog.get_by_label("I have told Adam Young").check()
        dialog.get_by_role("button", name="Add", exact=True).click()
        expect(dialog).to_be_hidden()
        expect(members).to_contain_text("Adam Young")
        expect(toms.get_by_role("list", name="Members", exact=True)).to_contain_text("Adam Young")


def test_who_left_a_group_in_their_app_is_invited_again(page: Page, stage: Stage, group: Group) -> None:
    sara, _, conversation = group
    changed(stage, conversation, "UPDATE leg SET state = 'open', hold = NULL WHERE conversation_id = $1")
    enter(page, stage, sara, f"/chat/{conversation}")
    page.get_by_role("button", name="Details").click()

    async def leave(tx: Transaction) -> None:
        adam = await tx.fetchval(
            "SELECT m.person_id FROM member m JOIN person p ON p.id = m.person_id"
            " WHERE m.conversation_id = $1 AND p.role = 'client' ORDER BY m.id LIMIT 1",
            conversation,
        )
        await roster.leave(
            tx, stage.cast.keyring, person=adam, conversation=conversation, at=datetime.now(UTC)
        )

    stage.do(stage.cast.in_transaction(leave))
    left = page.get_by_role("list", name="No longer in it")
    expect(left).to_contain_text("Left by themselves")
    left.get_by_role("button", name="Invite").click()
    dialog = page.locator("#ask-dialog")
    expect(dialog).to_contain_text("can read what is written from now on, and nothing from before")
    assert findings(page) == []
    dialog.get_by_label("I have told").check()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("has been added.")
    expect(page.locator("#members .member")).to_have_count(12)
    expect(left.get_by_role("button", name="Invite")).to_have_count(0)


def test_closing_ends_it_on_every_page_and_a_colleague_leaves(
    browser: Browser, page: Page, stage: Stage, group: Group
) -> None:
    sara, tom, conversation = group
    changed(stage, conversation, "UPDATE leg SET state = 'open', hold = NULL WHERE conversation_id = $1")
    enter(page, stage, sara, f"/chat/{conversation}")
    with page_of(browser, stage) as toms:
        enter(toms, stage, tom, f"/chat/{conversation}")
        toms.get_by_label("Message", exact=True).fill("I was about to say")
        page.get_by_role("button", name="Details").click()
        page.get_by_role("button", name="Close for everybody").click()
        dialog = page.locator("#ask-dialog")
        expect(dialog).to_contain_text("10 clients are told, and can still read it.")
        dialog.get_by_role("button", name="Close conversation").click()
        for one in (page, toms):
            expect(one.get_by_label("Message", exact=True)).to_have_count(0)
            expect(one.locator("#composer-area")).to_contain_text("nothing new can be written")
            expect(one.locator("#banners")).to_contain_text("This conversation is closed")
        assert findings(toms) == []
        toms.get_by_role("button", name="Details").click()
        toms.get_by_role("button", name="Leave …").click()
        toms.locator("#ask-dialog").get_by_role("button", name="Leave").click()
        expect(toms.locator(f"#row-{conversation}")).to_have_count(0)
        expect(toms).not_to_have_url(f"{stage.url}/chat/{conversation}")


def switched(stage: Stage, actor: Person, client: Person, on: bool | None) -> None:
    async def change(tx: Transaction) -> None:
        await chat_settings.change(
            tx, actor=actor.id, switch=Switch.DIRECT_MESSAGING, level=Level.CLIENT, subject=client.id, on=on
        )

    stage.do(stage.cast.in_transaction(change))


def test_a_chat_that_is_switched_off_and_on_again_under_ones_eyes(page: Page, stage: Stage) -> None:
    sara = stage.do(stage.cast.therapist())
    amina = stage.do(stage.cast.client(of=sara))
    thread = stage.do(stage.cast.thread(sara, amina))
    enter(page, stage, sara, f"/chat/{thread}")
    page.get_by_label("Message", exact=True).fill("Before")
    switched(stage, sara, amina, on=False)
    expect(page.locator("#composer-area")).to_contain_text("Amina’s direct messaging is off.")
    expect(page.locator("#banners")).to_contain_text("They are told so".lower())
    assert findings(page) == []
    switched(stage, sara, amina, on=None)
    expect(page.get_by_label("Message", exact=True)).to_have_value("Before")
