"""Settings in a browser: switching off after a question, and notifications that the browser is asked for."""

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from policies.vocabulary import Role
from tests.portal.stage import Stage, enter, page_of
from tests.portal.test_accessible import SIZES, findings

FAKE = """
window.shown = [];
window.Notification = class extends EventTarget {
  static permission = localStorage.getItem("permission") ?? "default";
  static async requestPermission() {
    Notification.permission = "granted";
    localStorage.setItem("permission", "granted");
    return "granted";
  }
  constructor(title, options) {
    super();
    window.shown.push([title, options.body ?? "", options.tag]);
  }
};
"""


@pytest.fixture
def asked(browser: Browser, stage: Stage) -> Iterator[Page]:
    """A page whose browser says yes when it is asked, and notes what it is given to show."""
    with page_of(browser, stage) as page:
        page.add_init_script(FAKE)
        yield page


def test_a_notification_says_that_there_is_a_message_and_nothing_else(asked: Page, stage: Stage) -> None:
    cast, page = stage.cast, asked
    sara = stage.do(cast.therapist())
    amina, adam = stage.do(cast.client(of=sara)), stage.do(cast.client("Adam", "Young", of=sara))
    thread, other = stage.do(cast.thread(sara, amina)), stage.do(cast.thread(sara, adam))
    enter(page, stage, sara)
    page.goto("/settings")
    browser_switch = page.get_by_label("In this browser")
    expect(browser_switch).not_to_be_checked()
    browser_switch.check()
    expect(page.locator(".toast")).to_contain_text("Saved.")
    assert findings(page) == []
    enter(page, stage, sara, f"/chat/{thread}")
    stage.do(cast.say(amina, thread, "For the open one"))
    expect(page.get_by_role("log")).to_contain_text("For the open one")
    stage.do(cast.say(adam, other, "A secret"))
    page.wait_for_function("window.shown.length > 0")
    assert page.evaluate("window.shown") == [["New message", "", str(other)]]
    expect(page).to_have_title(re.compile(r"^\(1\) "))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_settings_pages(
    browser: Browser, stage: Stage, size: str, scheme: Literal["light", "dark"]
) -> None:
    ida = stage.do(stage.cast.person(Role.CLIENT_CARE, "Ida", "Berg"))
    last = f"Y{size}{scheme}"
    stage.do(stage.cast.client("Adam", last))
    width, height = SIZES[size]
    with page_of(browser, stage, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
        enter(page, stage, ida)
        page.goto("/settings")
        assert findings(page) == []
        page.get_by_role("link", name="Chat", exact=True).last.click()
        page.get_by_label("Search clients").fill(last)
        page.get_by_role("link", name=f"Adam {last}").click()
        expect(page.get_by_text("Direct messaging is on for everyone.")).to_be_visible()
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        switch = page.get_by_role("group", name=f"Direct messaging, Adam {last}")
        switch.get_by_role("button", name="Off").click()
        dialog = page.locator("#ask-dialog")
        expect(dialog).to_contain_text("They keep what they could read")
        assert findings(page) == []
        dialog.get_by_role("button", name="Switch off").click()
        expect(page.get_by_text("Direct messaging is off for this client.")).to_be_visible()
        switch.get_by_role("button", name="Not set here").click()
        expect(page.get_by_text("Direct messaging is on for everyone.")).to_be_visible()
