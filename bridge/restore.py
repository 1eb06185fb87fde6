"""Deleted messages, as long as they can be brought back; then their words are destroyed (M8).

Client Care sees and restores them, in conversations of anybody. A restored message stands again in its place
in the portal. In Matrix a redaction can't be undone, so the journal gets a *restoration*: an entry with the
words in force, which goes to every leg that had the message (or would have, had it not been deleted first) as
a new event. From then on edits, reactions and deletions aim at that event (`outbox.load`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bridge import audit, directory, journal
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import Invalid, NotAllowed, NotFound, SealBroken
from bridge.journal import Draft, unseal
from bridge.sealing import Keyring
from policies import access, naming
from policies.access import Action
from policies.content import Content
from policies.vocabulary import (
    ConversationId,
    ConversationKind,
    EntryId,
    EntryKind,
    Member,
    Person,
    PersonId,
    Refusal,
)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deleted message that can be restored until `erase_at`."""

    id: EntryId
    conversation_id: ConversationId
    title: str
    author: Person | None
    content: Content | None
    """None: its seal is broken."""
    posted_at: datetime
    deleted_at: datetime
    deleted_by: Person | None
    erase_at: datetime


_DELETED = """
SELECT e.id, e.conversation_id, e.author_id, e.sealed, e.posted_at, e.deleted_at, e.deleted_by, e.erase_at,
    x.id AS edit_id, x.sealed AS edit_sealed, c.kind, c.organiser_id, c.wrapped_key, c.title_sealed,
    ARRAY(SELECT m.person_id FROM member m WHERE m.conversation_id = c.id
          ORDER BY m.joined_at, m.id) AS roster
FROM entry e JOIN conversation c ON c.id = e.conversation_id LEFT JOIN entry x ON x.id = e.edit_id
WHERE e.erase_at > $1 AND e.sealed IS NOT NULL AND e.kind = 'message' AND e.deleted_at IS NOT NULL
    AND ($2::uuid IS NULL OR e.conversation_id = $2)
    AND ($3::timestamptz IS NULL OR (e.erase_at, e.id) < ($3, $4::uuid))
ORDER BY e.erase_at DESC, e.id DESC LIMIT $5
"""


async def deleted(
    tx: Transaction,
    keyring: Keyring,
    actor: PersonId,
    *,
    at: datetime,
    conversation: ConversationId | None = None,
    before: tuple[datetime, EntryId] | None = None,
    limit: int = 50,
) -> list[Deleted]:
    """What was deleted, the latest first; `before`: (erase_at, id) of the last one that the page has.

    That the actor saw each of them goes into the audit trail. Raises NotAllowed for all but Client Care.
    """
    await _may(tx, keyring, actor, Action.SEE_DELETED, conversation)
    rows = await tx.fetch(_DELETED, at, conversation, *(before or (None, None)), limit)
    ids = {p for row in rows for p in (*row["roster"], row["author_id"], row["deleted_by"]) if p is not None}
    persons = await directory.get_many(tx, keyring, ids)
    found = [_deleted(keyring, actor, row, persons) for row in rows]
    seen: list[tuple[UUID, UUID]] = [(row.conversation_id, row.id) for row in found]
    await audit.record_each(tx, Did.SAW_DELETED, seen, actor=actor)
    return found


def _deleted(keyring: Keyring, actor: PersonId, row: Any, persons: dict[PersonId, Person]) -> Deleted:
    roster = [Member(persons[p], n) for n, p in enumerate(row["roster"]) if p in persons]
    conversation = ConversationId(row["conversation_id"])
    try:
        key = keyring.unwrap(row["wrapped_key"], str(conversation))
        own = row["title_sealed"] and key.open(row["title_sealed"], f"{conversation}:title").decode()
        content = _in_force(keyring, row)
    except SealBroken:
        own, content = None, None
    return Deleted(
        EntryId(row["id"]), conversation,
        naming.title(own, ConversationKind(row["kind"]), roster, actor, PersonId(row["organiser_id"])),
        persons.get(row["author_id"]), content, row["posted_at"], row["deleted_at"],
        persons.get(row["deleted_by"]), row["erase_at"],
    )  # fmt: skip


async def restore(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, entry: EntryId, at: datetime
) -> ConversationId:
    """Bring a message back, in the portal and in every leg; returns where it is.

    Raises NotAllowed for all but Client Care, NotFound, or Invalid: it isn't deleted, or too long.
    """
    conversation = await tx.fetchval(
        "SELECT conversation_id FROM entry WHERE id = $1 AND kind = 'message'", entry
    )
    await _may(tx, keyring, actor, Action.RESTORE, conversation)
    if conversation is None:
        raise NotFound
    await journal.in_turn(tx, conversation)
    row = await tx.fetchrow(
        "WITH back AS (UPDATE entry SET deleted_at = NULL, deleted_by = NULL, erase_at = NULL,"
        " restored_at = $2, restored_by = $3"
        " WHERE id = $1 AND deleted_at IS NOT NULL AND erase_at > $2 AND sealed IS NOT NULL RETURNING *)"
        " SELECT b.id, b.conversation_id, b.author_id, b.sealed, x.id AS edit_id, x.sealed AS edit_sealed,"
        " c.wrapped_key FROM back b JOIN conversation c ON c.id = b.conversation_id"
        " LEFT JOIN entry x ON x.id = b.edit_id",
        entry, at, actor,
    )  # fmt: skip
    if row is None:
        raise await _too_late(tx, entry)
    content = _in_force(keyring, row)
    key = keyring.unwrap(row["wrapped_key"], str(conversation))
    draft = Draft(EntryKind.RESTORATION, at, content, actor, entry, to_clients=False)
    restoration = await journal.append(tx, key, conversation, draft)
    await tx.execute(_DELIVERIES, restoration.id, entry, row["author_id"])
    return ConversationId(conversation)


# By the author's face or mask where it sits in the leg; in a closed room nobody but the assistant can write.
_DELIVERIES = """
INSERT INTO delivery (leg_id, entry_id, puppet_id)
SELECT l.id, $1, coalesce(own.puppet_id, assistant.puppet_id)
FROM delivery d
JOIN leg l ON l.id = d.leg_id AND l.state <> 'ended' AND NOT l.silenced
JOIN member m ON m.id = l.member_id AND m.removed_at IS NULL
JOIN occupant assistant ON assistant.leg_id = l.id AND assistant.person_id IS NULL
LEFT JOIN occupant own ON own.leg_id = l.id AND own.person_id = $3 AND NOT own.leaving AND l.frozen_at IS NULL
WHERE d.entry_id = $2 AND (d.state IN ('sent', 'origin') OR d.state = 'cancelled' AND d.error = 'deleted')
"""


async def _too_late(tx: Transaction, entry: EntryId) -> Invalid:
    if await tx.fetchval("SELECT deleted_at IS NULL FROM entry WHERE id = $1", entry):
        return Invalid("not_deleted", "This message isn’t deleted any more. Somebody may have restored it.")
    return Invalid("erased", "This message was deleted too long ago. It has been erased for good.")


async def _may(
    tx: Transaction, keyring: Keyring, actor: PersonId, action: Action, conversation: ConversationId | None
) -> None:
    person = await directory.get(tx, keyring, actor)
    verdict = access.decide(action, person.role)
    if isinstance(verdict, Refusal):
        refused = NotAllowed(verdict.code, verdict.words)
        refused.kept = audit.refusal(actor, action, conversation, verdict.code)
        raise refused


def _in_force(keyring: Keyring, row: Any) -> Content:
    """The words of the last edit, if there is one."""
    key = keyring.unwrap(row["wrapped_key"], str(row["conversation_id"]))
    if row["edit_sealed"] is not None:
        return unseal(key, row["conversation_id"], row["edit_id"], row["edit_sealed"])
    return unseal(key, row["conversation_id"], row["id"], row["sealed"])


async def erase_due(tx: Transaction, *, at: datetime, limit: int = 100) -> int:
    """Destroy what was deleted long enough ago: its words, those of its edits, and its files. Returns of how
    many messages."""
    rows = await tx.fetch(
        "UPDATE entry SET sealed = NULL WHERE id IN (SELECT id FROM entry"
        " WHERE erase_at <= $1 AND erase_at IS NOT NULL AND sealed IS NOT NULL"
        " ORDER BY erase_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id, conversation_id",
        at, limit,
    )  # fmt: skip
    if not rows:
        return 0
    await _erase_what_hangs_on(tx, [row["id"] for row in rows])
    await audit.record_each(tx, Did.ERASED, [(row["conversation_id"], row["id"]) for row in rows])
    return len(rows)


async def _erase_what_hangs_on(tx: Transaction, messages: Sequence[UUID]) -> None:
    await tx.execute(
        "UPDATE entry SET sealed = NULL WHERE target_id = ANY($1)"
        " AND kind IN ('edit', 'restoration', 'reaction')",
        messages,
    )
    await tx.execute(
        "WITH gone AS (UPDATE attachment SET state = 'failed', error = 'erased', source_sealed = NULL"
        " WHERE entry_id = ANY($1) RETURNING id)"
        " DELETE FROM attachment_chunk WHERE attachment_id IN (SELECT id FROM gone)",
        messages,
    )
