"""The administrator's view of the audit trail: who did what and when, never what was said (S3).

Entries are ids and codes; here they get the names of people and plain words. Conversations keep their short
id: their titles are nothing for somebody who isn't in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from quart import Blueprint, Response, abort, g, request

from bridge import audit, people
from bridge.audit import Did, Fault, Row, Verified
from bridge.communities import EVERYBODY
from bridge.database import transaction
from bridge.people import Kind
from policies.access import Action
from policies.vocabulary import Person, PersonId
from portal import present
from portal.chat import html
from portal.security import identity, is_fragment, require, signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("trail", __name__)

PAGE = 100

WORDS: Mapping[Did, str] = {
    Did.SIGNED_IN: "Signed in",
    Did.SIGN_IN_REFUSED: "Sign-in refused",
    Did.SIGNED_OUT: "Signed out",
    Did.READ: "Read a conversation",
    Did.WROTE: "Wrote a message",
    Did.EDITED: "Edited a message",
    Did.DELETED: "Deleted a message",
    Did.SAW_DELETED: "Saw a deleted message",
    Did.RESTORED: "Restored a message",
    Did.ERASED: "Erased a deleted message for good",
    Did.STARTED: "Started a conversation",
    Did.CONFIRMED_TOLD: "Confirmed that clients know of each other",
    Did.ADDED: "Added somebody",
    Did.REMOVED: "Removed somebody",
    Did.LEFT: "Left",
    Did.REVOKED: "Took back a copy",
    Did.CLOSED: "Closed a conversation",
    Did.RENAMED: "Changed a title",
    Did.ARCHIVED: "Archived a conversation",
    Did.UNARCHIVED: "Unarchived a conversation",
    Did.IDENTITY_RELEASED: "Released held messages",
    Did.BLAST_SENT: "Sent a message blast",
    Did.BLAST_STOPPED: "Stopped a message blast",
    Did.SETTING_CHANGED: "Changed a chat setting",
    Did.PERSON_CHANGED: "Changed a person",
    Did.GROUP_CHANGED: "Changed a group of clients",
    Did.REFUSED: "Was refused",
}
_FAULTS: Mapping[Fault, str] = {
    Fault.MISSING: "is missing",
    Fault.ALTERED: "was altered, or put in later",
    Fault.BACKDATED: "is dated earlier than what stands before it",
    Fault.NOT_AS_NOTED: "isn’t as it was noted",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The page's filters, and where it begins."""

    actor: PersonId | None
    action: str | None
    conversation: UUID | None
    before: int | None

    def after(self, last: int) -> str:
        """The address of the next page."""
        given = {"actor": self.actor, "action": self.action, "conversation": self.conversation}
        return urlencode({name: value for name, value in (given | {"before": last}).items() if value})


@dataclass(frozen=True, slots=True)
class Line:
    at: datetime
    actor_id: UUID | None
    actor: str
    what: str
    detail: str
    about: str
    conversation: UUID | None


@blueprint.get("/audit")
@signed_in
async def page() -> Response:
    require(Action.VIEW_AUDIT)
    wired, asked = services(), _asked(request.args)
    async with transaction(wired.pool) as tx:
        rows = await audit.page(
            tx, before=asked.before, conversation=asked.conversation, actor=asked.actor,
            action=asked.action, limit=PAGE + 1,
        )  # fmt: skip
        end, unlinked = await audit.end(tx)
        ids = {PersonId(i) for row in rows for i in (row.actor_id, row.subject_id) if i is not None}
        persons = await people.get_many(tx, wired.keyring, ids)
        staff = await people.search(
            tx, wired.keyring, g.me, "", kinds=frozenset({Kind.STAFF}), limit=EVERYBODY
        )
    offered = {person.id: person for person in (g.me, *staff)}
    if asked.actor is not None and asked.actor in persons:
        offered[asked.actor] = persons[asked.actor]
    return html(
        render(
            "audit.html",
            me=present.me(g.me),
            csrf=g.session.csrf,
            place="/audit",
            rows=[_line(row, persons) for row in rows[:PAGE]],
            more=asked.after(rows[PAGE - 1].id) if len(rows) > PAGE else "",
            end=end,
            unlinked=unlinked,
            people=sorted(map(present.choice, offered.values()), key=lambda one: one.name.casefold()),
            actions=[(did.value, words) for did, words in WORDS.items()],
            actor=asked.actor,
            action=asked.action,
            conversation=asked.conversation,
        )
    )


def _asked(given: Mapping[str, str]) -> Asked:
    """What no page of ours asked for is a bad request."""
    action, before = given.get("action", ""), given.get("before", "")
    actor, conversation = (identity(given.get(name, "")) for name in ("actor", "conversation"))
    if action and action not in set(Did):
        abort(400)
    if before and not (before.isdecimal() and int(before) < 2**62):
        abort(400)
    if (given.get("actor") and actor is None) or (given.get("conversation") and conversation is None):
        abort(400)
    return Asked(
        PersonId(actor) if actor else None, action or None, conversation, int(before) if before else None
    )


def _line(row: Row, persons: Mapping[PersonId, Person]) -> Line:
    actor = persons.get(PersonId(row.actor_id)) if row.actor_id else None
    about = persons.get(PersonId(row.subject_id)) if row.subject_id else None
    return Line(
        row.at,
        row.actor_id,
        actor.name.full if actor else "Ruh itself" if row.actor_id is None else present.SOMEBODY,
        WORDS.get(Did(row.action), row.action) if row.action in set(Did) else row.action,
        ", ".join(f"{name.replace('_', ' ')}: {_value(value)}" for name, value in row.detail.items()),
        about.name.full if about else "",
        row.conversation_id,
    )


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "none" if value is None else str(value).replace("_", " ")
    return text[:8] if identity(text) else text


@blueprint.post("/audit/check")
@signed_in
async def check() -> Response:
    """Goes through the whole chain, link by link."""
    require(Action.VIEW_AUDIT)
    wired = services()
    async with transaction(wired.pool) as tx:
        found = await audit.verify(tx, wired.keyring)
    words, ok = verdict(found), found.fault is None
    if is_fragment():
        return html(render("parts/audit_check.html", words=words, ok=ok))
    return html(
        render(
            "error.html",
            heading="The audit trail",
            words=words,
            retry_after=None,
            action="Back to the trail",
            action_url="/audit",
        )
    )


def verdict(found: Verified) -> str:
    if found.fault is not None:
        return (
            f"The trail doesn’t hold: entry {found.held + 1:,} {_FAULTS[found.fault]}. "
            f"The {found.held:,} before it hold. Please tell the operator at once."
        )
    if found.head is None:
        return "Nothing is linked yet, so there is nothing to check."
    return (
        f"All {found.held:,} entries hold. Note the last link, {found.head}, somewhere else: with it, the "
        "operator can show later that nothing was cut off."
    )
