"""The list in a browser: what is put away and comes back, and what its filters show while things change."""

from datetime import timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from policies.vocabulary import ConversationId, Person, Role
from tests.portal.stage import Stage, enter
from tests.portal.test_accessible import findings

Talks = tuple[Person, Person, ConversationId, ConversationId]


@pytest.fixture
def talks(stage: Stage) -> Talks:
    """Sara's threads with Amina (the later one) and with Adam."""
    cast = stage.cast
    sara = stage.do(cast.person(Role.TEAM_MEMBER, "Sara", "Khan"))
    amina, adam = stage.do(cast.client()), stage.do(cast.client("Adam", "Young"))
    older, later = stage.do(cast.thread(sara, adam)), stage.do(cast.thread(sara, amina))
    stage.do(cast.say(adam, older, "Hello", timedelta(hours=1)))
    stage.do(cast.say(amina, later, "Good morning"))
    return sara, amina, later, older


def test_archiving_by_key_can_be_undone_and_a_clients_message_brings_it_back(
    page: Page, stage: Stage, talks: Talks
) -> None:
    sara, amina, later, _ = talks
    enter(page, stage, sara, f"/chat/{later}")
    rows = page.locator("#rows .row-title")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("e")
    expect(rows).to_have_text(["Adam Young"])
    expect(page.locator("#banners")).to_contain_text("You archived this conversation.")
    page.get_by_role("button", name="Undo").click()
    expect(rows).to_have_text(["Amina Yusuf", "Adam Young"])
    expect(page.locator(".banner")).to_have_count(0)
    page.keyboard.press("e")
    expect(rows).to_have_text(["Adam Young"])
    stage.do(stage.cast.say(amina, later, "Are you there?"))
    expect(rows).to_have_text(["Amina Yusuf", "Adam Young"])
    expect(page.locator(".banner")).to_have_count(0)


def test_what_is_archived_is_found_and_taken_back(page: Page, stage: Stage, talks: Talks) -> None:
    sara, _, later, _ = talks
    enter(page, stage, sara, f"/chat/{later}")
    rows = page.locator("#rows .row-title")
    page.get_by_role("button", name="Details").click()
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(rows).to_have_text(["Adam Young"])
    page.get_by_label("Visibility").select_option("Archived")
    expect(rows).to_have_text(["Amina Yusuf"])
    assert findings(page) == []
    page.get_by_label("Visibility").select_option("All")
    expect(rows).to_have_text(["Amina Yusuf", "Adam Young"])
    page.get_by_role("searchbox", name="Search", exact=True).fill("ami")
    expect(rows).to_have_text(["Amina Yusuf"])
    page.get_by_label("Visibility").select_option("Active")
    expect(page.locator(".list-foot")).to_contain_text("look among all")
    page.get_by_role("searchbox", name="Search", exact=True).fill("")
    page.get_by_label("Visibility").select_option("Archived")
    expect(rows).to_have_text(["Amina Yusuf"])
    page.locator("#banners").get_by_role("button", name="Unarchive Conversation").click()
    expect(page.locator(".list-foot")).to_contain_text("Nothing is archived here.")
    page.get_by_label("Visibility").select_option("Active")
    expect(rows).to_have_text(["Amina Yusuf", "Adam Young"])


def test_a_kind_stays_filtered_while_others_are_written_to(page: Page, stage: Stage, talks: Talks) -> None:
    sara, amina, later, _ = talks
    last = uuid4().hex[:8]
    stage.do(stage.cast.person(Role.TEAM_MEMBER, "Tom", last))
    enter(page, stage, sara)
    rows = page.locator("#rows .row-title")
    page.get_by_label("Kind").select_option("Team")
    expect(page.locator(".list-foot")).to_contain_text("There is no conversation of this kind yet.")
    stage.do(stage.cast.say(amina, later, "Hello?"))
    page.get_by_role("button", name="New", exact=True).click()
    page.get_by_label("Search people").fill(last)
    page.get_by_role("option", name=f"Tom {last}").click()
    page.get_by_role("button", name="Start Staff Chat").click()
    expect(page.get_by_role("heading", name=f"Tom {last}")).to_be_visible()
    expect(page.locator("html[data-live]")).to_be_attached()
    page.get_by_label("Kind").select_option("Team")
    expect(rows).to_have_text([f"Tom {last}"])
    page.get_by_label("Kind").select_option("One-to-one")
    expect(rows).to_have_text(["Amina Yusuf", "Adam Young"])
