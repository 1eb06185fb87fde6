"""What happens while the page is open shows there by itself: once, in order, and in the reader's words."""

import re
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Browser, Page, expect

from bridge import messages
from bridge.feed import Change, Notification, announce
from policies.content import Reaction, Text
from tests.portal.stage import Stage, enter, page_of


def test_a_message_goes_out_and_the_answer_comes_in_without_reload(page: Page, stage: Stage) -> None:
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina = stage.do(cast.client(of=sara))
    thread = stage.do(cast.thread(sara, amina))
    enter(page, stage, sara)
    page.get_by_label("Message", exact=True).fill("How did you sleep?")
    page.get_by_role("button", name="Send").click()
    own = page.locator(".message.is-own")
    expect(own).to_have_count(1)
    expect(own).to_contain_text("How did you sleep?")
    expect(own.get_by_label("Sending")).to_be_visible()
    stage.do(cast.carried(thread))
    expect(own.get_by_label("not seen yet")).to_be_visible()
    stage.do(cast.read(amina, thread))
    expect(own.get_by_label("Seen", exact=True)).to_be_visible()
    expect(own.get_by_label("Seen", exact=True)).to_have_attribute("title", re.compile("Amina Yusuf"))
    stage.do(cast.say(amina, thread, "Better, thank you."))
    expect(page.locator(".message:not(.is-own)")).to_contain_text("Better, thank you.")
    expect(page.locator(".row-preview").first).to_have_text("Better, thank you.")
    expect(page.locator(".message")).to_have_count(2)


def test_edits_deletions_and_reactions_of_the_client_show_at_once(page: Page, stage: Stage) -> None:
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina = stage.do(cast.client(of=sara))
    thread = stage.do(cast.thread(sara, amina))
    entry = stage.do(cast.say(amina, thread, "Thursday at for"))
    enter(page, stage, sara)
    line = page.locator(f"#m-{entry}")
    expect(line).to_contain_text("Thursday at for")
    about = {"author": amina.id, "conversation": thread, "entry": entry, "at": datetime.now(UTC)}
    stage.do(
        cast.in_transaction(
            lambda tx: messages.edit(tx, cast.keyring, content=Text("Thursday at four"), **about)
        )
    )
    expect(line).to_contain_text("Thursday at four")
    expect(line).to_contain_text("Edited")
    stage.do(
        cast.in_transaction(lambda tx: messages.react(tx, cast.keyring, reaction=Reaction("+1"), **about))
    )
    expect(line.locator(".reaction")).to_contain_text("+1")
    stage.do(cast.in_transaction(lambda tx: messages.delete(tx, cast.keyring, **about)))
    expect(line).to_contain_text("Message deleted by Amina Yusuf")
    expect(line).not_to_contain_text("Thursday")


def test_what_arrives_elsewhere_moves_up_bold_with_a_dot_and_opening_reads_it(
    page: Page, stage: Stage
) -> None:
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina, adam = stage.do(cast.client(of=sara)), stage.do(cast.client("Adam", "Young", of=sara))
    with_adam = stage.do(cast.thread(sara, adam))
    with_amina = stage.do(cast.thread(sara, amina))
    stage.do(cast.say(sara, with_adam, "Good morning", timedelta(hours=2)))
    stage.do(cast.say(sara, with_amina, "Hello", timedelta(hours=1)))
    enter(page, stage, sara)
    expect(page.locator(".row-title").first).to_have_text("Amina Yusuf")
    stage.do(cast.say(adam, with_adam, "Running late"))
    expect(page.locator(".row-title").first).to_have_text("Adam Young")
    row = page.locator(f"#row-{with_adam} a")
    expect(row).to_have_class(re.compile("is-unread"))
    expect(row.get_by_label("Unread")).to_be_visible()
    row.click()
    expect(page).to_have_url(re.compile(f"/chat/{with_adam}$"))
    expect(page.get_by_role("log")).to_contain_text("Running late")
    expect(row).not_to_have_class(re.compile("is-unread"))


def test_typing_shows_both_ways(page: Page, stage: Stage) -> None:
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina = stage.do(cast.client(of=sara))
    thread = stage.do(cast.thread(sara, amina))
    enter(page, stage, sara)
    expect(page.locator("#timeline[data-ready]")).to_be_attached()
    on = Notification(Change.TYPING, thread, person=amina.id, on=True)
    stage.do(announce(cast.pool, on))
    expect(page.get_by_text("Amina Yusuf is typing")).to_be_visible()
    stage.do(cast.say(amina, thread, "Here I am"))
    expect(page.get_by_text("Amina Yusuf is typing")).to_have_count(0)


def test_a_page_that_was_without_connection_catches_up_by_itself(browser: Browser, stage: Stage) -> None:
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina = stage.do(cast.client(of=sara))
    thread = stage.do(cast.thread(sara, amina))
    first = stage.do(cast.say(amina, thread, "Before"))
    with page_of(browser, stage) as page:
        enter(page, stage, sara)
        expect(page.locator(f"#m-{first}")).to_be_visible()
        page.context.set_offline(True)
        page.evaluate("window.dispatchEvent(new Event('offline'))")
        page.get_by_label("Message", exact=True).fill("Written without connection")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_text("Sending …")).to_be_visible()
        for n in range(3):
            stage.do(cast.say(amina, thread, f"Meanwhile {n}"))
        page.context.set_offline(False)
        expect(page.locator(".message:not(.is-pending)")).to_have_count(5)
        expect(page.locator(".is-pending")).to_have_count(0)
        shown = page.locator(".message .words").all_inner_texts()
        assert sorted(shown) == sorted(
            ["Before", "Meanwhile 0", "Meanwhile 1", "Meanwhile 2", "Written without connection"]
        )


def test_nothing_jumps_while_somebody_reads_further_up(page: Page, stage: Stage) -> None:
    cast = stage.cast
    sara = stage.do(cast.therapist())
    amina = stage.do(cast.client(of=sara))
    thread = stage.do(cast.thread(sara, amina))
    for n in range(120):
        stage.do(cast.say(amina, thread, f"Line {n}", timedelta(minutes=200 - n)))
    stage.do(cast.read(sara, thread))
    enter(page, stage, sara)
    box = page.locator("#timeline")
    expect(page.get_by_role("log").get_by_text("Line 119", exact=True)).to_be_in_viewport()
    for line in ("Line 75", "Line 25"):
        page.get_by_role("log").get_by_text(line, exact=True).scroll_into_view_if_needed()
    expect(page.locator("#beginning")).to_be_attached()
    page.get_by_role("log").get_by_text("Line 30", exact=True).scroll_into_view_if_needed()
    top = page.get_by_role("log").get_by_text("Line 30", exact=True).bounding_box()
    stage.do(cast.say(amina, thread, "And one more"))
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert page.get_by_role("log").get_by_text("Line 30", exact=True).bounding_box() == top
    page.get_by_role("button", name="1 new").click()
    expect(page.get_by_role("log").get_by_text("And one more")).to_be_in_viewport()
    numbers = [int(text.split()[1]) for text in box.locator(".words").all_inner_texts()[:-1]]
    assert numbers == list(range(120))
