"""A blast's page: how far it has come, and its outcome for each client; it can be stopped half-way (C5).

Only its sender has it; to anybody else there is no such page.
"""

from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, Response, g, request

from bridge import archiving, blasts, conversations, people
from bridge.blasts import Blast, Recipient
from bridge.database import Transaction, transaction
from bridge.list_filters import Visibility
from policies.content import preview
from policies.vocabulary import Person, PersonId
from portal import chat, reading, views
from portal.bodies import plain, words
from portal.chat import html
from portal.hub import hub
from portal.naming import disc
from portal.security import Answer, is_fragment, signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("blasts", __name__)


@blueprint.get("/blasts/<uuid:blast>")
@signed_in
async def page(blast: UUID) -> Response:
    mark, wired = hub().mark(), services()
    async with transaction(wired.pool) as tx:
        shown = await _shown(tx, blast)
        if is_fragment():
            return html(render("parts/blast.html", blast=shown, mark=mark))
        rows = await reading.rows(tx, wired.keyring, g.me)
    return html(chat.whole(rows, None, mark, pane="talk", blast=shown))


@blueprint.get("/blasts/<uuid:blast>/progress")
@signed_in
async def progress(blast: UUID) -> Response:
    """What of the page changes."""
    async with transaction(services().pool) as tx:
        return html(render("parts/blast_progress.html", blast=await _shown(tx, blast)))


@blueprint.post("/blasts/<uuid:blast>/stop")
@signed_in
async def stop(blast: UUID) -> Response:
    """Once more changes nothing: whoever has it keeps it, the others are left out."""
    async with transaction(services().pool) as tx:
        await blasts.stop(tx, actor=g.me.id, blast=blast, at=datetime.now(UTC))
        return html(render("parts/blast_progress.html", blast=await _shown(tx, blast)))


@blueprint.post("/blasts/<uuid:blast>/archive")
@signed_in
async def archive(blast: UUID) -> Answer:
    away, wired = (await request.form).get("away", "1") == "1", services()
    async with transaction(wired.pool) as tx:
        await blasts.of(tx, wired.keyring, actor=g.me.id, blast=blast)
        await archiving.archive_blast(tx, actor=g.me.id, blast=blast, at=datetime.now(UTC), away=away)
    return Response(status=204)


async def _shown(tx: Transaction, blast: UUID) -> views.Blast:
    """Raises NotFound for anybody but its sender."""
    keyring = services().keyring
    found = await blasts.of(tx, keyring, actor=g.me.id, blast=blast)
    persons = await people.get_many(tx, keyring, {recipient.client for recipient in found.recipients})
    row = await conversations.of_blast(tx, keyring, g.me.id, blast, Visibility.ALL)
    return shown(found, persons, archived=row.archived if row else None)


def shown(found: Blast, persons: dict[PersonId, Person], *, archived: bool | None = None) -> views.Blast:
    running = found.state == "running"
    outcomes = [_outcome(recipient, persons[recipient.client]) for recipient in found.recipients]
    count = len(outcomes)
    sent = sum(1 for recipient in found.recipients if recipient.state != "pending")
    got = sum(1 for recipient in found.recipients if recipient.state == "started")
    return views.Blast(
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
    "identity_changed": "On hold: {name}’s security details have changed",
    "left": "On hold: {name} left the chat in their app",
}


def _outcome(recipient: Recipient, person: Person) -> views.Outcome:
    name = person.name.first or person.name.full

    def said(words: str, at: datetime | None = None, warn: bool = False) -> views.Outcome:
        return views.Outcome(
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
