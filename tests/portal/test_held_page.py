"""What waits and why, in a browser: who has to do what, and the question before anything is let go."""

import pytest
from playwright.sync_api import Page, expect

from bridge.database import transaction
from bridge.feed import Change, Notification, notify
from policies.vocabulary import ConversationId, Person
from tests.portal.stage import Stage, enter
from tests.portal.test_accessible import findings

Pair = tuple[Person, Person, ConversationId]


@pytest.fixture
def pair(stage: Stage) -> Pair:
    """Sara has written to Amina."""
    sara = stage.do(stage.cast.therapist())
    amina = stage.do(stage.cast.client(of=sara))
    thread = stage.do(stage.cast.thread(sara, amina))
    stage.do(stage.cast.say(sara, thread, "Are you there?"))
    return sara, amina, thread


def identity(
    stage: Stage, thread: ConversationId, offered: str, *, pinned: str = "known", devices: int = 0
) -> None:
    """What the homeserver says of the client's keys from now on; none of their devices is signed."""

    async def change() -> None:
        async with transaction(stage.cast.pool) as tx:
            user = await tx.fetchval("SELECT user_id FROM leg WHERE conversation_id = $1", thread)
            await tx.execute(
                "INSERT INTO crypto_user (user_id, state, master_key, offered_master_key)"
                " VALUES ($1, $2, $3, $4) ON CONFLICT (user_id) DO UPDATE SET"
                " offered_master_key = excluded.offered_master_key",
                user, "pinned" if pinned == offered else "changed", pinned, offered,
            )  # fmt: skip
            for n in range(devices):
                await tx.execute(
                    "INSERT INTO crypto_device (user_id, device_id, curve25519, ed25519, signed)"
                    " VALUES ($1, $2, $2, $2, false)",
                    user, str(n),
                )  # fmt: skip
            await notify(tx, Notification(Change.CONVERSATION, thread))

    stage.do(change())


def test_what_changes_while_one_asks_is_asked_again_and_not_released(
    page: Page, stage: Stage, pair: Pair
) -> None:
    sara, _, thread = pair
    identity(stage, thread, "first")
    stage.do(stage.cast.hold(thread, "identity_changed"))
    enter(page, stage, sara, f"/chat/{thread}")
    page.get_by_role("button", name="Release …").click()
    dialog = page.locator("#ask-dialog")
    question = dialog.get_by_role("heading", name="Is this still Amina Yusuf?")
    expect(question).to_be_visible()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    first = dialog.locator("code").inner_text()
    assert findings(page) == []
    identity(stage, thread, "second")
    dialog.get_by_role("button", name="Release", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("nothing has been released")
    code = dialog.locator("code:visible")
    expect(code).not_to_have_text(first)
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    assert findings(page) == []
    expect(page.locator(".message.is-own")).to_contain_text("Held")
    dialog.get_by_role("button", name="Release", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".toast")).to_contain_text("What was waiting for Amina Yusuf is on its way.")
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


def test_who_has_signed_in_without_verifying_is_told_apart(page: Page, stage: Stage, pair: Pair) -> None:
    sara, _, thread = pair
    stage.do(stage.cast.hold(thread, "no_device"))
    enter(page, stage, sara, f"/chat/{thread}")
    expect(page.locator(".banner")).to_contain_text("hasn’t signed in to chat yet")
    identity(stage, thread, "known", devices=1)
    expect(page.locator(".banner")).to_contain_text("hasn’t verified the app they use")
    expect(page.locator(".banner")).to_contain_text("Ask them to verify it")
    expect(page.locator(".message.is-own")).to_contain_text("Waiting for Amina Yusuf to verify their app")
    page.get_by_role("button", name="Details").click()
    expect(page.locator("#members")).to_contain_text("hasn’t verified their app yet")
    assert findings(page) == []
    page.reload()
    expect(page.locator(".row .badge")).to_have_text("app not verified")


def test_who_left_in_their_app_is_invited_again_once(page: Page, stage: Stage, pair: Pair) -> None:
    sara, _, thread = pair
    stage.do(stage.cast.hold(thread, "left"))
    enter(page, stage, sara, f"/chat/{thread}")
    page.get_by_role("button", name="Details").click()
    members = page.locator("#members")
    expect(members).to_contain_text("left the chat in their app")
    assert findings(page) == []
    members.get_by_role("button", name="Invite Amina Yusuf again").click()
    expect(page.locator(".toast")).to_contain_text("Amina Yusuf has been invited again.")
    expect(page.get_by_role("log")).to_contain_text("Amina Yusuf was invited back into this chat")
    expect(page.locator(".banner")).to_contain_text("waits until they accept")
    expect(members).to_contain_text("invited again")
    expect(page.get_by_role("button", name="Invite")).to_have_count(0)
    assert findings(page) == []


def test_the_banner_invites_too(page: Page, stage: Stage, pair: Pair) -> None:
    sara, _, thread = pair
    stage.do(stage.cast.hold(thread, "left"))
    enter(page, stage, sara, f"/chat/{thread}")
    page.locator(".banner").get_by_role("button", name="Invite again").click()
    expect(page.locator(".banner")).to_contain_text("waits until they accept")
