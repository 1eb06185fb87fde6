"""Browser notifications: asked for on a click, quiet for what is read, and without a word of it (N2)."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from policies.vocabulary import ConversationId, Person
from tests.portal.stage import Stage, enter, page_of
from tests.portal.test_accessible import findings

FAKE = """
window.shown = [];
window.asked = 0;
window.Notification = class extends EventTarget {
  static get permission() { return localStorage.getItem("permission") ?? "default"; }
  static async requestPermission() {
    window.asked += 1;
    localStorage.setItem("permission", localStorage.getItem("answer") ?? "granted");
    return Notification.permission;
  }
  constructor(title, options) {
    super();
    window.shown.push([title, options.body ?? "", options.tag]);
    document.documentElement.dataset.shown = window.shown.length;
  }
};
"""
"""A browser that notes what it is given to show, and that says yes unless told otherwise."""

Talks = tuple[Person, Person, Person, ConversationId, ConversationId]


@pytest.fixture
def asked(browser: Browser, stage: Stage) -> Iterator[Page]:
    with page_of(browser, stage) as page:
        page.context.add_init_script(FAKE)
        yield page


@pytest.fixture
def talks(stage: Stage) -> Talks:
    """Sara's threads with Amina and with Adam."""
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina, adam = stage.do(cast.client(of=sara)), stage.do(cast.client("Adam", "Young", of=sara))
    return sara, amina, adam, stage.do(cast.thread(sara, amina)), stage.do(cast.thread(sara, adam))


def shown(page: Page) -> list[ConversationId]:
    """Of which conversations; each notification says the same, and nothing more."""
    found = page.evaluate("window.shown")
    assert all(notice[:2] == ["New message", ""] for notice in found)
    return [notice[2] for notice in found]


def turned_on(page: Page, stage: Stage, person: Person, path: str) -> None:
    enter(page, stage, person, path)
    page.evaluate("localStorage.setItem('permission', 'granted')")
    enter(page, stage, person, path)


def test_the_browser_is_asked_on_a_click_and_tells_at_once(asked: Page, stage: Stage, talks: Talks) -> None:
    page, (sara, amina, adam, thread, other) = asked, talks
    enter(page, stage, sara, f"/chat/{thread}")
    offer = page.locator("#notices-offer")
    expect(offer).to_be_visible()
    assert findings(page) == []
    assert page.evaluate("window.asked") == 0
    offer.get_by_role("button", name="Turn on notifications").click()
    expect(offer).to_be_hidden()
    expect(page.locator(".toast")).to_contain_text("Notifications are on.")
    assert page.evaluate("window.asked") == 1
    expect(page.locator("html[data-live]")).to_be_attached()
    stage.do(stage.cast.say(amina, thread, "For the open one"))
    expect(page.get_by_role("log")).to_contain_text("For the open one")
    stage.do(stage.cast.say(adam, other, "A secret"))
    expect(page.locator("html[data-shown='1']")).to_be_attached()
    assert shown(page) == [str(other)]
    expect(page).to_have_title(re.compile(r"^\(1\) "))


def test_the_settings_ask_too(asked: Page, stage: Stage, talks: Talks) -> None:
    page, sara = asked, talks[0]
    enter(page, stage, sara)
    page.goto("/settings")
    switch = page.get_by_label("In this browser")
    expect(switch).not_to_be_checked()
    assert page.evaluate("window.asked") == 0
    switch.check()
    expect(page.locator(".toast")).to_contain_text("Saved.")
    expect(switch).to_be_checked()
    assert findings(page) == []


def test_who_says_not_now_is_not_offered_it_again_and_never_asked(
    asked: Page, stage: Stage, talks: Talks
) -> None:
    page, (sara, _, adam, thread, other) = asked, talks
    enter(page, stage, sara, f"/chat/{thread}")
    offer = page.locator("#notices-offer")
    offer.get_by_role("button", name="Not now").click()
    expect(offer).to_be_hidden()
    expect(page.get_by_role("searchbox", name="Search", exact=True)).to_be_focused()
    page.reload()
    expect(page.locator("html[data-live]")).to_be_attached()
    expect(offer).to_be_hidden()
    stage.do(stage.cast.say(adam, other, "Hello"))
    expect(page.locator(f"#row-{other} .is-unread")).to_be_visible()
    assert (page.evaluate("window.asked"), shown(page)) == (0, [])


def test_a_browser_that_says_no_is_told_how_to_change_it(asked: Page, stage: Stage, talks: Talks) -> None:
    page, (sara, _, _, thread, _) = asked, talks
    enter(page, stage, sara, f"/chat/{thread}")
    page.evaluate("localStorage.setItem('answer', 'denied')")
    page.get_by_role("button", name="Turn on notifications").click()
    expect(page.locator(".toast")).to_contain_text("Your browser doesn’t allow it.")
    expect(page.locator("#notices-offer")).to_be_hidden()


@pytest.mark.parametrize("switch", ["New messages in one-to-one chats", "In this browser"])
def test_a_switch_that_is_turned_off_elsewhere_holds_at_once(
    asked: Page, stage: Stage, talks: Talks, switch: str
) -> None:
    page, (sara, _, adam, thread, other) = asked, talks
    turned_on(page, stage, sara, f"/chat/{thread}")
    settings = page.context.new_page()
    settings.goto("/settings")
    settings.get_by_label(switch).uncheck()
    expect(settings.locator(".toast")).to_contain_text("Saved.")
    stage.do(stage.cast.say(adam, other, "Nobody is told"))
    expect(page.locator(f"#row-{other} .is-unread")).to_be_visible()
    settings.get_by_label(switch).check()
    expect(settings.locator(".toast")).to_have_count(2)
    stage.do(stage.cast.say(adam, other, "Somebody is told"))
    expect(page.locator("html[data-shown='1']")).to_be_attached()
    assert shown(page) == [str(other)]


def test_one_conversation_can_be_quiet(asked: Page, stage: Stage, talks: Talks) -> None:
    page, (sara, amina, adam, thread, other) = asked, talks
    turned_on(page, stage, sara, f"/chat/{other}")
    page.get_by_role("button", name="Details").click()
    with page.expect_response("**/notifications"):
        page.get_by_label("Notifications for this conversation").uncheck()
    enter(page, stage, sara, f"/chat/{thread}")
    stage.do(stage.cast.say(adam, other, "Nobody is told"))
    expect(page.locator(f"#row-{other} .is-unread")).to_be_visible()
    stage.do(stage.cast.say(amina, thread, "Read at once"))
    expect(page.get_by_role("log")).to_contain_text("Read at once")
    assert shown(page) == []


def test_what_is_read_in_one_window_is_not_told_by_another(asked: Page, stage: Stage, talks: Talks) -> None:
    first, (sara, amina, _, thread, other) = asked, talks
    turned_on(first, stage, sara, f"/chat/{other}")
    second = first.context.new_page()
    enter(second, stage, sara, f"/chat/{thread}")
    expect(second.locator("html[data-live]")).to_be_attached()
    first.evaluate("document.hasFocus = () => false")
    for n in range(3):
        stage.do(stage.cast.say(amina, thread, f"Line {n}"))
    expect(second.get_by_role("log")).to_contain_text("Line 2")
    first.wait_for_timeout(400)
    assert (shown(first), shown(second)) == ([], [])
