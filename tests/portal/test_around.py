"""What stands around a conversation: one reason is one line, whoever it concerns, and marks that count."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from bridge.conversations import Row
from bridge.timeline import DeliveryState, ReadMark
from policies.vocabulary import ConversationKind, Name, Person, PersonId, PersonStatus, Role
from portal import around
from portal.around import Around
from portal.marks import mark
from portal.views import DeliveryState as State
from tests.portal.test_present import AMINA, NOW, SARA, conversation, line

TOM = Person(PersonId(uuid4()), Role.TEAM_MEMBER, Name("Tom", "Reed"))


def clients(*first_names: str, **more: Any) -> tuple[Person, ...]:
    return tuple(Person(PersonId(uuid4()), Role.CLIENT, Name(name, "Doe"), **more) for name in first_names)


FIVE = clients("Amina", "Adam", "Leila", "Jonas", "Maya")


def group(**given: Any) -> Row:
    return conversation(kind=ConversationKind.COMMUNITY, others=(*FIVE, TOM), **given)


def said(found: Row) -> list[str]:
    return [banner.words for banner in around.banners(SARA, found, Around())]


def test_several_who_wait_are_one_banner() -> None:
    (words,) = said(group(holds=tuple((person.id, "no_device") for person in FIVE[:2])))
    assert words.startswith("2 people haven’t signed in to chat yet: Amina Doe and Adam Doe.")
    (words,) = said(group(holds=tuple((person.id, "no_device") for person in FIVE)))
    assert "Amina Doe, Adam Doe and 3 more" in words


def test_setting_up_counts_who_is_reached_and_leaves_out_whose_chat_is_off() -> None:
    unready = tuple(person.id for person in FIVE[:3])
    assert said(group(unready=unready))[0].startswith("Setting up: 2 of 5 clients ready.")
    assert said(group(unready=unready, silenced=unready)) == []
    assert said(group(unready=unready, closed=True)) == ["This conversation is closed. It can still be read."]


def test_archived_clients_are_named() -> None:
    gone = clients("Una", "Wei", status=PersonStatus.ARCHIVED)
    assert said(conversation(others=gone[:1])) == [
        "Una Doe is archived. You can still write to each other here."
    ]
    assert said(group()) == []
    (words,) = said(conversation(kind=ConversationKind.COMMUNITY, others=(*FIVE, *gone)))
    assert words.startswith("2 people are archived: Una Doe and Wei Doe.")


def test_a_groups_row_says_only_what_needs_somebody() -> None:
    assert around.row_state(group(holds=((FIVE[0].id, "no_device"),))) == ("", False)
    assert around.row_state(group(holds=((FIVE[0].id, "identity_changed"),))) == ("1 on hold", True)
    everybody = tuple((person.id, "no_device") for person in FIVE)
    assert around.row_state(group(holds=everybody)) == ("waiting to sign in", False)


def test_only_the_organiser_has_what_changes_the_roster() -> None:
    for organiser in (True, False):
        found = around.participants(SARA, group(is_organiser=organiser, holds=((FIVE[0].id, "left"),)))
        assert [p.may_remove for p in found] == [False, *[organiser] * 6]
        assert [p.may_invite for p in found] == [False, organiser, *[False] * 5]
    assert found[0].what == "Therapist · You"


def test_seen_by_many_is_a_count_with_the_names_behind_it() -> None:
    recipients = {person.id: person for person in FIVE}
    deliveries = tuple(DeliveryState(person.id, "sent", None, 0) for person in FIVE)
    reads = tuple(ReadMark(person.id, 9, NOW + timedelta(minutes=n)) for n, person in enumerate(FIVE[:2]))
    found = mark(line(deliveries=deliveries), reads, recipients, {})
    assert (found.state, found.words, len(found.seen)) == (State.SEEN, "Seen by 2 of 5", 2)


def test_a_failure_is_not_hidden_by_those_who_have_seen_it() -> None:
    recipients = {AMINA.id: AMINA, FIVE[1].id: FIVE[1]}
    deliveries = (DeliveryState(AMINA.id, "sent", None, 0), DeliveryState(FIVE[1].id, "failed", None, 0))
    reads = (ReadMark(AMINA.id, 9, datetime(2026, 11, 23, tzinfo=UTC)),)
    found = mark(line(deliveries=deliveries), reads, recipients, {})
    assert found.state is State.FAILED
    assert found.words.startswith("Not delivered to Adam Doe")
