"""No serious finding of axe-core in any state, in both colour schemes, from a phone to a wide screen."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect

from policies.vocabulary import ConversationId, Person, Role
from tests.portal.stage import Stage, enter, page_of

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
SERIOUS = {"serious", "critical"}
SIZES = {"phone": (360, 720), "tablet": (820, 1000), "wide": (1920, 1000)}


def findings(page: Page) -> list[str]:
    """Through the debugger, which the page's own policy doesn't bind."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result: dict[str, Any] = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{v['id']}: {node['target']} {node['failureSummary']}"
        for v in result["violations"]
        if v["impact"] in SERIOUS
        for node in v["nodes"]
    ]


@pytest.fixture(scope="module")
def people(stage: Stage) -> tuple[Person, ConversationId]:
    """A therapist with something of everything in her list and her timeline."""
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina, adam = stage.do(cast.client(of=sara)), stage.do(cast.client("Adam", "Young", of=sara))
    held = stage.do(cast.thread(sara, adam))
    stage.do(cast.say(sara, held, "Hello", timedelta(days=3)))
    stage.do(cast.hold(held, "identity_changed"))
    stage.do(cast.say(adam, held, "Hello?", timedelta(days=1)))
    thread = stage.do(cast.thread(sara, amina))
    asked = stage.do(cast.say(amina, thread, "How **are** you? https://ruh.example", timedelta(days=2)))
    stage.do(cast.say(sara, thread, "1. Well\n2. _Very_ well", timedelta(days=1), reply_to=asked))
    stage.do(cast.carried(thread))
    stage.do(cast.read(amina, thread))
    stage.do(cast.say(sara, thread, "See you"))
    return sara, thread


@pytest.mark.parametrize(
    ("size", "scheme"), [("phone", "light"), ("phone", "dark"), ("tablet", "light"), ("wide", "dark")]
)
def test_the_chat_page(
    browser: Browser,
    stage: Stage,
    people: tuple[Person, ConversationId],
    size: str,
    scheme: Literal["light", "dark"],
) -> None:
    sara, thread = people
    width, height = SIZES[size]
    viewport = {"width": width, "height": height}
    with page_of(browser, stage, viewport=viewport, color_scheme=scheme) as page:
        page.goto("/sign-in")
        assert findings(page) == []
        enter(page, stage, sara, f"/chat/{thread}")
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Details").click()
        assert findings(page) == []
        page.get_by_role("button", name="Close details").click()
        page.goto("/chat?list")
        page.get_by_role("button", name="New", exact=True).click()
        expect(page.get_by_role("dialog").get_by_role("option").first).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert findings(page) == []


def test_the_other_states(page: Page, stage: Stage, people: tuple[Person, ConversationId]) -> None:
    sara, thread = people
    enter(page, stage, sara, f"/chat/{thread}")
    line = page.locator(".message.is-own").last
    line.hover()
    line.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Edit message")).to_be_visible()
    assert findings(page) == []
    page.keyboard.press("Escape")
    line.hover()
    line.get_by_role("button", name="Delete").click()
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.locator("#me-button").click()
    assert findings(page) == []
    page.get_by_role("button", name="Keyboard shortcuts").click()
    assert findings(page) == []
    page.goto(f"/chat/{uuid4()}")
    assert findings(page) == []


def test_somebody_without_any_conversation_sees_where_to_begin(page: Page, stage: Stage) -> None:
    enter(page, stage, stage.do(stage.cast.person(Role.TEAM_MEMBER, "Omar", "Farouk")))
    assert findings(page) == []
    page.get_by_role("button", name="Start a conversation").click()
    expect(page.get_by_role("dialog").get_by_role("option").first).to_be_visible()
    assert findings(page) == []
