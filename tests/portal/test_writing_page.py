"""The message box loses nothing and sends once; lists, drafts, keys and dialogs do what they say."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from policies.content import MAX_TEXT
from policies.vocabulary import ConversationId, Person
from tests.portal.stage import PASSWORD, Stage, enter, page_of

Pair = tuple[Person, Person, ConversationId]


@pytest.fixture
def pair(stage: Stage) -> Pair:
    sara = stage.do(stage.cast.therapist())
    amina = stage.do(stage.cast.client(of=sara))
    return sara, amina, stage.do(stage.cast.thread(sara, amina))


def test_enter_sends_shift_enter_breaks_and_enter_continues_a_list(
    page: Page, stage: Stage, pair: Pair
) -> None:
    enter(page, stage, pair[0])
    box = page.get_by_label("Message", exact=True)
    box.click()
    page.keyboard.type("Until Thursday:")
    page.keyboard.press("Shift+Enter")
    page.get_by_role("button", name="Ordered list").click()
    page.keyboard.type("sleep")
    page.keyboard.press("Enter")
    page.keyboard.type("walk")
    expect(box).to_have_value("Until Thursday:\n1. sleep\n2. walk")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(box).to_have_value("Until Thursday:\n1. sleep\n2. walk\n")
    page.keyboard.type("Good ")
    page.keyboard.press("Control+b")
    page.keyboard.type("luck")
    expect(box).to_have_value("Until Thursday:\n1. sleep\n2. walk\nGood **luck**")
    page.keyboard.press("Enter")
    expect(box).to_have_value("")
    sent = page.locator(".message.is-own:not(.is-pending)")
    expect(sent.locator("ol li")).to_have_count(2)
    expect(sent.locator("strong")).to_have_text("luck")
    expect(page.locator(".is-pending")).to_have_count(0)


def test_a_draft_is_kept_per_conversation_over_reload_and_sign_in(
    page: Page, stage: Stage, pair: Pair
) -> None:
    sara, _, thread = pair
    adam = stage.do(stage.cast.client("Adam", "Young", of=sara))
    other = stage.do(stage.cast.thread(sara, adam))
    enter(page, stage, sara, f"/chat/{thread}")
    box = page.get_by_label("Message", exact=True)
    box.fill("I wanted to say that")
    page.locator(f"#row-{other} a").click()
    expect(page).to_have_url(re.compile(str(other)))
    expect(box).to_have_value("")
    page.go_back()
    expect(page).to_have_url(re.compile(str(thread)))
    expect(box).to_have_value("I wanted to say that")
    page.reload()
    expect(box).to_have_value("I wanted to say that")
    page.context.clear_cookies()
    box.press("End")
    page.keyboard.type(" and more")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.get_by_label("Email").fill(stage.do(stage.cast.email_of(sara)))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(str(thread)))
    # It was being sent when the session ended: now it goes, once.
    expect(page.locator(".message.is-own:not(.is-pending)")).to_have_count(1)
    expect(page.locator(".message.is-own")).to_contain_text("I wanted to say that and more")


def test_too_long_a_message_is_refused_in_words_and_kept(page: Page, stage: Stage, pair: Pair) -> None:
    enter(page, stage, pair[0])
    box = page.get_by_label("Message", exact=True)
    box.fill("a" * (MAX_TEXT - 10))
    expect(page.get_by_text("10 characters left")).to_be_visible()
    box.fill("a" * (MAX_TEXT + 1))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("up to 5,000 characters")
    expect(box).to_have_value("a" * (MAX_TEXT + 1))
    expect(page.locator(".message")).to_have_count(0)


def test_editing_and_deleting_ones_own_message(page: Page, stage: Stage, pair: Pair) -> None:
    sara, amina, thread = pair
    entry = stage.do(stage.cast.say(sara, thread, "See you on Thursday"))
    stage.do(stage.cast.say(amina, thread, "Yes"))
    enter(page, stage, sara)
    line = page.locator(f"#m-{entry}")
    line.hover()
    line.get_by_role("button", name="Edit").click()
    line.get_by_label("Edit message").fill("See you on Friday")
    line.get_by_role("button", name="Save").click()
    expect(line).to_contain_text("See you on Friday")
    expect(line).to_contain_text("Edited")
    line.hover()
    line.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(line).to_contain_text("See you on Friday")
    line.hover()
    line.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete message").click()
    expect(line).to_contain_text("You deleted this message")
    assert page.locator(".message:not(.is-own) [aria-label='Delete']").count() == 0


def test_replying_quotes_the_message(page: Page, stage: Stage, pair: Pair) -> None:
    sara, amina, thread = pair
    entry = stage.do(stage.cast.say(amina, thread, "Could we meet earlier?"))
    enter(page, stage, sara)
    line = page.locator(f"#m-{entry}")
    line.hover()
    line.get_by_role("button", name="Reply").click()
    expect(page.get_by_text("Replying to Amina Yusuf")).to_be_visible()
    page.keyboard.type("At three?")
    page.keyboard.press("Enter")
    own = page.locator(".message.is-own:not(.is-pending)")
    expect(own.locator(".reply-to")).to_contain_text("Could we meet earlier?")
    expect(page.get_by_text("Replying to Amina Yusuf")).to_be_hidden()


def test_new_finds_a_client_and_opens_the_one_thread_with_them(page: Page, stage: Stage, pair: Pair) -> None:
    sara = pair[0]
    leila = stage.do(stage.cast.client("Leila", "Haddad", of=sara))
    stage.do(stage.cast.client("Somebody", "Elses"))
    enter(page, stage, sara)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="New conversation")
    expect(dialog.get_by_role("option", name="Amina Yusuf")).to_be_visible()
    expect(dialog.get_by_role("option", name="Somebody Elses")).to_have_count(0)
    start = dialog.get_by_role("button", name="Start Conversation")
    expect(start).to_be_disabled()
    dialog.get_by_label("Search people").fill("lei")
    expect(dialog.get_by_role("option")).to_have_count(1)
    dialog.get_by_role("option", name="Leila Haddad").click()
    expect(dialog.locator(".chip")).to_contain_text("Leila Haddad")
    start.click()
    expect(page.get_by_role("heading", name="Leila Haddad", exact=True)).to_be_visible()
    made = page.url
    page.get_by_role("button", name="New", exact=True).click()
    page.get_by_label("Search people").fill("leila")
    expect(dialog.get_by_role("option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    start.click()
    expect(page).to_have_url(made)
    assert leila.name.full not in page.url


def test_renaming_in_place_and_back_to_the_default(page: Page, stage: Stage, pair: Pair) -> None:
    enter(page, stage, pair[0])
    page.get_by_role("button", name="Amina Yusuf").click()
    page.get_by_label("Title").fill("Thursdays, 16:00")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Thursdays, 16:00")).to_be_visible()
    expect(page.locator(f"#row-{pair[2]} .row-title")).to_have_text("Thursdays, 16:00")
    page.get_by_role("button", name="Thursdays, 16:00").click()
    expect(page.get_by_label("Title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Thursdays, 16:00")).to_be_visible()
    page.get_by_role("button", name="Thursdays, 16:00").click()
    page.get_by_label("Title").fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Amina Yusuf")).to_be_visible()


def test_the_keys_move_between_conversations_and_stay_quiet_while_typing(
    page: Page, stage: Stage, pair: Pair
) -> None:
    sara, _, thread = pair
    adam = stage.do(stage.cast.client("Adam", "Young", of=sara))
    other = stage.do(stage.cast.thread(sara, adam))
    stage.do(stage.cast.say(sara, thread, "Older", timedelta(hours=1)))
    stage.do(stage.cast.say(adam, other, "Newer"))
    enter(page, stage, sara)
    expect(page).to_have_url(re.compile(str(other)))
    page.get_by_label("Message", exact=True).click()
    page.keyboard.type("jnk?")
    expect(page).to_have_url(re.compile(str(other)))
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile(str(thread)))
    expect(page.get_by_role("log")).to_contain_text("Older")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("k")
    expect(page).to_have_url(re.compile(str(other)))
    expect(page.get_by_role("log")).to_contain_text("Newer")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search", exact=True)).to_be_focused()
    page.keyboard.type("adam")
    expect(page.locator(".row-title")).to_have_text(["Adam Young"])


def test_held_messages_say_why_and_are_released_after_a_confirmation(
    page: Page, stage: Stage, pair: Pair
) -> None:
    sara, _, thread = pair
    enter(page, stage, sara)
    stage.do(stage.cast.say(sara, thread, "Are you there?"))
    own = page.locator(".message.is-own")
    expect(own.get_by_label("Sending")).to_be_visible()
    stage.do(stage.cast.hold(thread, "identity_changed"))
    expect(own).to_contain_text("Held: Amina Yusuf’s security details have changed")
    expect(page.locator(".row .badge")).to_have_text("on hold")
    page.get_by_role("button", name="Release …").click()
    page.locator("#ask-dialog").get_by_role("button", name="Release").click()
    expect(own.get_by_label("Sending")).to_be_visible()
    expect(page.locator(".banner")).to_have_count(0)
    stage.do(stage.cast.hold(thread, "no_device"))
    expect(own).to_contain_text("Waiting for Amina Yusuf to sign in")
    expect(page.locator(".banner")).to_contain_text("hasn’t signed in to chat yet")


def test_on_a_phone_list_and_conversation_take_turns(browser: Browser, stage: Stage, pair: Pair) -> None:
    sara, amina, thread = pair
    stage.do(stage.cast.say(amina, thread, "Hello"))
    with page_of(browser, stage, viewport={"width": 360, "height": 720}, has_touch=True) as page:
        enter(page, stage, sara)
        expect(page.get_by_label("Message", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="New", exact=True)).to_be_hidden()
        page.get_by_label("Back to the list").click()
        expect(page.get_by_role("button", name="New", exact=True)).to_be_visible()
        expect(page.get_by_label("Message", exact=True)).to_be_hidden()
        page.locator(f"#row-{thread} a").click()
        expect(page.get_by_label("Message", exact=True)).to_be_visible()
        page.go_back()
        expect(page.get_by_role("button", name="New", exact=True)).to_be_visible()
