"""How a blast has fared, in words: as a whole, and with each client (C5)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from markupsafe import Markup

from bridge.blasts import Blast, Recipient
from policies.content import preview
from policies.vocabulary import Person, PersonId
from portal.bodies import plain, words
from portal.naming import disc
from portal.views import Disc


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a blast has fared with one client, in words."""

    id: UUID
    name: str
    disc: Disc
    words: str
    at: datetime | None = None
    thread: UUID | None = None
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """``sent`` of ``count`` are done with, whatever came of it; ``got`` have it."""

    id: UUID
    title: str
    own_title: bool
    at: datetime
    words: Markup
    running: bool
    summary: str
    counts: tuple[str, ...]
    sent: int
    got: int
    count: int
    outcomes: tuple[Outcome, ...]
    archived: bool | None = None
    """Whether its unanswered threads are put away; None: there are none."""


def shown(found: Blast, persons: dict[PersonId, Person], *, archived: bool | None = None) -> Page:
    running = found.state == "running"
    outcomes = [_outcome(recipient, persons[recipient.client]) for recipient in found.recipients]
    count = len(outcomes)
    sent = sum(1 for recipient in found.recipients if recipient.state != "pending")
    got = sum(1 for recipient in found.recipients if recipient.state == "started")
    return Page(
        id=found.id,
        title=found.title or preview(plain(found.content), limit=60),
        own_title=found.title is not None,
        at=found.created_at,
        words=words(found.content),
        running=running,
        summary=_summary(found.state, sent, got, count),
        counts=_counts(found.recipients),
        sent=sent,
        got=got,
        count=count,
        outcomes=tuple(outcomes),
        archived=archived,
    )


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _summary(state: str, sent: int, got: int, count: int) -> str:
    if state == "running":
        return f"Reaching {sent} of {_people(count)}"
    if state == "stopped":
        return f"Stopped. {got} of {_people(count)} got it."
    return f"Sent to {_people(got)}" if got == count else f"Sent to {got} of {_people(count)}"


def _counts(recipients: tuple[Recipient, ...]) -> tuple[str, ...]:
    """ "20 delivered", "5 seen", …: what there is none of isn't said."""
    counted = [
        (sum(1 for r in recipients if r.answered), "answered"),
        (sum(1 for r in recipients if r.read_at and not r.answered), "seen"),
        (sum(1 for r in recipients if _is_delivered(r) and not r.read_at and not r.answered), "delivered"),
        (sum(1 for r in recipients if _waits(r) == "no_device"), "waiting to sign in"),
        (sum(1 for r in recipients if _waits(r) == "unsigned"), "waiting to verify their app"),
        (sum(1 for r in recipients if _waits(r) in ("identity_changed", "left")), "on hold"),
        (sum(1 for r in recipients if r.state == "started" and r.delivery in _LOST), "not delivered"),
        (sum(1 for r in recipients if r.state == "skipped"), "skipped"),
        (sum(1 for r in recipients if r.state == "stopped"), "not sent"),
    ]
    return tuple(f"{count} {what}" for count, what in counted if count)


_LOST = ("failed", "cancelled", None)


def _is_delivered(recipient: Recipient) -> bool:
    return recipient.state == "started" and recipient.delivery == "sent"


def _waits(recipient: Recipient) -> str | None:
    on_its_way = recipient.state == "started" and recipient.delivery in ("pending", "prepared")
    return recipient.hold if on_its_way else None


_SKIPPED = {
    "chat_off": "Skipped: {name}’s chat is off",
    "archived": "Skipped: {name} is archived",
}
_HELD = {
    "no_device": "Waiting: {name} hasn’t signed in to chat yet",
    "unsigned": "Waiting: {name} hasn’t verified their app yet",
    "identity_changed": "On hold: {name}’s security details have changed",
    "left": "On hold: {name} left the chat in their app",
}


def _outcome(recipient: Recipient, person: Person) -> Outcome:
    name = person.name.first or person.name.full

    def said(words: str, at: datetime | None = None, warn: bool = False) -> Outcome:
        return Outcome(
            person.id, person.name.full, disc(person), words.format(name=name), at,
            recipient.conversation_id, warn,
        )  # fmt: skip

    match recipient.state:
        case "pending":
            return said("Not sent yet")
        case "stopped":
            return said("Not sent: you stopped the blast")
        case "skipped":
            return said(_SKIPPED.get(recipient.reason or "", "Skipped: {name} can’t be reached"), warn=True)
    if recipient.answered:
        return said("Answered")
    if recipient.read_at is not None:
        return said("Seen", recipient.read_at)
    if _is_delivered(recipient):
        return said("Delivered")
    if held := _waits(recipient):
        return said(_HELD[held], warn=held != "no_device")
    if recipient.delivery in _LOST:
        return said("Not delivered. Please write to {name} in their thread.", warn=True)
    return said("Sending")
