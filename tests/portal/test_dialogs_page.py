"""Each dialog by keyboard alone: opened, walked through, left with Escape, and the focus is where it was."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from playwright.sync_api import Locator, Page, expect

from bridge import blasts, communities, messages
from bridge.database import Transaction
from policies.content import Text
from policies.vocabulary import ConversationId, Person, Role
from tests.portal.stage import Stage, enter
from tests.portal.test_accessible import findings

Place = tuple[Person, str]
_OUTSIDE = """() => {
    const here = document.activeElement;
    return here === document.body || here.closest("dialog[open]") ? "" : here.outerHTML;
}"""


@pytest.fixture(scope="module")
def places(stage: Stage) -> Iterator[dict[str, Place]]:
    """Who goes where, for each of the dialogs."""
    cast = stage.cast
    sara = stage.do(cast.therapist())
    tom = stage.do(cast.person(Role.TEAM_MEMBER, "Tom", "Reed"))
    ida = stage.do(cast.person(Role.CLIENT_CARE, "Ida", "Berg"))
    amina, adam = stage.do(cast.client(of=sara)), stage.do(cast.client("Adam", "Young", of=sara))
    thread = stage.do(cast.thread(sara, amina))
    entry = stage.do(cast.say(sara, thread, "See you"))

    async def make(tx: Transaction) -> tuple[ConversationId, UUID]:
        group = await communities.start(
            tx, cast.keyring, actor=sara, others=[amina.id, adam.id, tom.id], told=True, title="Mondays",
            at=datetime.now(UTC),
        )  # fmt: skip
        blast = await blasts.send(
            tx, cast.keyring, actor=sara.id, clients=[amina.id, adam.id], content=Text("Closed"), title="",
            at=datetime.now(UTC),
        )  # fmt: skip
        deleted = await messages.post(
            tx, cast.keyring, author=tom.id, conversation=group, content=Text("Oh"), at=datetime.now(UTC)
        )
        await messages.delete(
            tx, cast.keyring, author=tom.id, conversation=group, entry=deleted.entry_id, at=datetime.now(UTC)
        )
        return group, blast

    group, blast = stage.do(cast.in_transaction(make))
    stage.do(cast.hold(thread, "identity_changed"))
    yield {
        "thread": (sara, f"/chat/{thread}"),
        "message": (sara, f"/chat/{thread}#m-{entry}"),
        "group": (sara, f"/chat/{group}"),
        "member": (tom, f"/chat/{group}"),
        "blast": (sara, f"/blasts/{blast}"),
        "switches": (ida, "/settings/chat"),
        "deleted": (ida, "/deleted"),
    }

    async def stop(tx: Transaction) -> None:
        await blasts.stop(tx, actor=sara.id, blast=blast, at=datetime.now(UTC))

    stage.do(cast.in_transaction(stop))


def details(page: Page) -> Locator:
    page.get_by_role("button", name="Details").click()
    return page.locator("#details")


def line(page: Page) -> Locator:
    own = page.locator(".message.is-own").last
    own.focus()
    return own


OPENERS: dict[str, tuple[str, Callable[[Page], Locator]]] = {
    "new": ("thread", lambda page: page.get_by_role("button", name="New", exact=True)),
    "delete": ("message", lambda page: line(page).get_by_role("button", name="Delete")),
    "release": ("thread", lambda page: page.get_by_role("button", name="Release …")),
    "add": ("group", lambda page: details(page).get_by_role("button", name="Add", exact=True)),
    "remove": ("group", lambda page: details(page).get_by_role("button", name="Remove Adam Young …")),
    "close": ("group", lambda page: details(page).get_by_role("button", name="Close for everybody …")),
    "leave": ("member", lambda page: details(page).get_by_role("button", name="Leave …")),
    "stop": ("blast", lambda page: page.get_by_role("button", name="Stop …")),
    "switch": (
        "switches",
        lambda page: page.get_by_role("group", name="Direct messaging, everyone").get_by_role(
            "button", name="Off"
        ),
    ),
    "restore": ("deleted", lambda page: page.get_by_role("button", name="Restore …").first),
}


@pytest.mark.parametrize("name", OPENERS)
def test_a_dialog_takes_the_focus_keeps_it_and_gives_it_back(
    page: Page, stage: Stage, places: dict[str, Place], name: str
) -> None:
    where, find = OPENERS[name]
    person, path = places[where]
    enter(page, stage, person)
    page.goto(path)
    opener = find(page)
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog).to_have_count(1)
    expect(dialog.locator(":focus")).to_have_count(1)
    expect(dialog).to_have_accessible_name(dialog.locator("h2:visible").inner_text())
    assert findings(page) == []
    for _ in range(9):
        page.keyboard.press("Tab")
        assert page.evaluate(_OUTSIDE) == ""
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_the_list_of_keys_gives_the_focus_back_to_where_it_was_opened(
    page: Page, stage: Stage, places: dict[str, Place]
) -> None:
    enter(page, stage, *places["thread"])
    page.locator("#me-button").press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#keys-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#me-button")).to_be_focused()


def test_escape_leaves_all_steps_of_new_and_what_was_written_is_kept(
    page: Page, stage: Stage, places: dict[str, Place]
) -> None:
    enter(page, stage, *places["thread"])
    opener = page.get_by_role("button", name="New", exact=True)
    opener.press("Enter")
    dialog = page.locator("#new-dialog")
    dialog.get_by_role("option", name="All my active clients").click()
    dialog.get_by_role("button", name="Message Blast").press("Enter")
    dialog.get_by_label("Message", exact=True).fill("Closed on Monday")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
    opener.press("Enter")
    expect(dialog.get_by_role("heading", name="New conversation")).to_be_visible()
    expect(dialog.locator(".chip")).to_have_count(0)
    dialog.get_by_role("option", name="All my active clients").click()
    dialog.get_by_role("button", name="Message Blast").press("Enter")
    expect(dialog.get_by_label("Message", exact=True)).to_have_value("Closed on Monday")


def test_after_a_removal_the_keyboard_goes_on_from_the_details(
    page: Page, stage: Stage, places: dict[str, Place]
) -> None:
    enter(page, stage, *places["group"])
    details(page).get_by_role("button", name="Remove Tom Reed …").press("Enter")
    page.locator("#ask-dialog").get_by_role("button", name="Remove Tom").press("Enter")
    expect(page.locator(".toast")).to_contain_text("Tom Reed has been removed.")
    expect(page.locator("#members")).not_to_contain_text("Tom Reed")
    expect(page.get_by_role("button", name="Close details")).to_be_focused()
