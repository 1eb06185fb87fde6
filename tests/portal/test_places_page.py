"""The pages beside the chat, in a browser: deleted messages and the audit trail."""

from datetime import UTC, datetime
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from bridge import audit, messages
from bridge.database import Transaction
from policies.vocabulary import Role
from tests.portal.stage import Stage, enter, page_of
from tests.portal.test_accessible import SIZES, findings


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_deleted_message_is_restored_and_the_trail_has_it(
    browser: Browser, stage: Stage, size: str, scheme: Literal["light", "dark"]
) -> None:
    cast = stage.cast
    tom = stage.do(cast.person(Role.TEAM_MEMBER, "Tom", "Reed"))
    ida = stage.do(cast.person(Role.CLIENT_CARE, "Ida", f"Berg{size}{scheme}"))
    alex = stage.do(cast.person(Role.ADMINISTRATOR, "Alex", "Marsh"))
    thread = stage.do(cast.thread(tom, stage.do(cast.client())))
    entry = stage.do(cast.say(tom, thread, "See you on Thursday"))

    async def delete(tx: Transaction) -> None:
        await messages.delete(
            tx, cast.keyring, author=tom.id, conversation=thread, entry=entry, at=datetime.now(UTC)
        )
        await audit.link(tx, cast.keyring)

    stage.do(cast.in_transaction(delete))
    width, height = SIZES[size]
    viewport = {"width": width, "height": height}
    with page_of(browser, stage, viewport=viewport, color_scheme=scheme) as page:
        enter(page, stage, ida, "/chat?list")
        page.get_by_role("link", name="Deleted").click()
        card = page.locator(f"#d-{entry}")
        expect(card).to_contain_text("See you on Thursday")
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        card.get_by_role("button", name="Restore …").click()
        question = page.get_by_role("alertdialog")
        expect(question).to_contain_text("everybody who had it gets it again")
        question.get_by_role("button", name="Restore message").click()
        expect(page.get_by_text("The message is back in its conversation")).to_be_visible()
        expect(card).to_have_count(0)
        assert findings(page) == []
    with page_of(browser, stage, viewport=viewport, color_scheme=scheme) as page:
        enter(page, stage, alex, "/chat?list")
        page.get_by_role("link", name="Audit").click()
        page.get_by_role("button", name="Check the whole trail").click()
        expect(page.locator("#check")).to_contain_text("entries hold.")
        assert findings(page) == []
        page.get_by_label("Who").select_option(label=ida.name.full)
        page.get_by_label("What").select_option(label="Restored a message")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator("tbody tr")).to_have_count(1)
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
