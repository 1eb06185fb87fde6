"""A page of a conversation as one of its members may read it.

Three queries whatever the length of the journal: entries by their index, what belongs to them, receipts.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bridge import audit
from bridge.database import Transaction
from bridge.errors import SealBroken
from bridge.journal import unseal
from bridge.sealing import DataKey, Keyring
from bridge.standing import Standing, standing
from policies.access import Action
from policies.content import Content, Reaction
from policies.vocabulary import ConversationId, EntryId, EntryKind, PersonId


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """How far an entry is on its way to one member."""

    person_id: PersonId
    state: str
    hold: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class ReadMark:
    person_id: PersonId
    seq: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ReactionOf:
    id: EntryId
    key: str
    person_id: PersonId | None


@dataclass(frozen=True, slots=True)
class ReplyTo:
    id: EntryId
    author_id: PersonId | None
    content: Content | None
    """None: deleted, or from before the reader joined."""


@dataclass(frozen=True, slots=True)
class Line:
    """A message or a notice with all that is shown beside it."""

    id: EntryId
    seq: int
    kind: EntryKind
    author_id: PersonId | None
    content: Content | None
    """None: deleted, or its seal is broken (`unreadable`)."""
    posted_at: datetime
    automatic: str | None
    edited_at: datetime | None
    deleted_at: datetime | None
    unreadable: bool
    request_id: UUID | None
    reply_to: ReplyTo | None
    reactions: tuple[ReactionOf, ...]
    deliveries: tuple[DeliveryState, ...]
    restored_at: datetime | None = None
    """It was deleted, and Client Care has brought it back."""


@dataclass(frozen=True, slots=True)
class Page:
    conversation_id: ConversationId
    lines: tuple[Line, ...]
    """Oldest first."""
    has_older: bool
    reads: tuple[ReadMark, ...]
    """Marks of other members, oldest first: the first whose seq reaches a line tells when it was read."""


_SELECT = """
SELECT e.id, e.seq, e.kind, e.author_id, e.sealed, e.posted_at, e.automatic, e.deleted_at, e.request_id,
    e.restored_at,
    x.id AS edit_id, x.sealed AS edit_sealed, x.posted_at AS edited_at,
    r.id AS reply_id, r.author_id AS reply_author, r.seq AS reply_seq, r.deleted_at AS reply_deleted,
    r.sealed AS reply_sealed, rx.id AS reply_edit_id, rx.sealed AS reply_edit_sealed
FROM entry e
LEFT JOIN entry x ON x.id = e.edit_id
LEFT JOIN entry r ON r.id = e.target_id
LEFT JOIN entry rx ON rx.id = r.edit_id
WHERE e.conversation_id = $1 AND e.kind IN ('message', 'notice') AND e.seq > $2
"""


async def page(
    tx: Transaction,
    keyring: Keyring,
    actor: PersonId,
    conversation: ConversationId,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> Page:
    """The last `limit` lines, those before a seq, or (catching up) the first ones after a seq.

    That they were read goes into the audit trail, once in a while.
    """
    where = await standing(tx, actor, conversation)
    where.require(Action.READ)
    await audit.read(tx, actor=actor, conversation=conversation)
    if after is not None:
        rows = await tx.fetch(
            _SELECT + " ORDER BY e.seq LIMIT $3", conversation, max(after, where.joined_seq), limit
        )
        return await _page(tx, keyring, where, rows, has_older=True)
    rows = await tx.fetch(
        _SELECT + " AND e.seq < $4 ORDER BY e.seq DESC LIMIT $3",
        conversation, where.joined_seq, limit + 1, before if before is not None else 2**62,
    )  # fmt: skip
    return await _page(tx, keyring, where, rows[:limit][::-1], has_older=len(rows) > limit)


async def some(
    tx: Transaction,
    keyring: Keyring,
    actor: PersonId,
    conversation: ConversationId,
    entries: Sequence[EntryId],
) -> Page:
    """Just these lines, as they are now: what a live page refreshes."""
    where = await standing(tx, actor, conversation)
    where.require(Action.READ)
    rows = await tx.fetch(
        _SELECT + " AND e.id = ANY($3) ORDER BY e.seq", conversation, where.joined_seq, list(entries)
    )
    return await _page(tx, keyring, where, rows, has_older=True)


async def _page(
    tx: Transaction, keyring: Keyring, where: Standing, rows: Sequence[Any], *, has_older: bool
) -> Page:
    if not rows:
        return Page(where.conversation_id, (), has_older, ())
    key = where.key(keyring)
    ids = [row["id"] for row in rows]
    reactions = await _reactions(tx, key, where, ids)
    deliveries = await _deliveries(tx, ids, [row["id"] for row in rows if row["restored_at"] is not None])
    reads = await tx.fetch(
        "SELECT person_id, seq, at FROM receipt WHERE conversation_id = $1 AND person_id <> $2 AND seq >= $3"
        " ORDER BY seq LIMIT 2000",
        where.conversation_id, where.person_id, rows[0]["seq"],
    )  # fmt: skip
    return Page(
        where.conversation_id,
        tuple(_line(key, where, row, reactions[row["id"]], deliveries[row["id"]]) for row in rows),
        has_older,
        tuple(ReadMark(PersonId(r["person_id"]), r["seq"], r["at"]) for r in reads),
    )


async def _reactions(
    tx: Transaction, key: DataKey, where: Standing, ids: list[UUID]
) -> dict[UUID, list[ReactionOf]]:
    found: dict[UUID, list[ReactionOf]] = defaultdict(list)
    for row in await tx.fetch(
        "SELECT id, target_id, author_id, sealed FROM entry"
        " WHERE target_id = ANY($1) AND kind = 'reaction' AND deleted_at IS NULL ORDER BY seq",
        ids,
    ):
        content, _ = _open(key, where, row["id"], row["sealed"])
        if isinstance(content, Reaction):
            found[row["target_id"]].append(ReactionOf(EntryId(row["id"]), content.key, row["author_id"]))
    return found


async def _deliveries(
    tx: Transaction, ids: list[UUID], restored: list[UUID]
) -> dict[UUID, list[DeliveryState]]:
    found: dict[UUID, list[DeliveryState]] = defaultdict(list)
    back = await _restorations(tx, restored) if restored else {}
    ids = [back.get(entry, entry) for entry in ids]
    messages = {restoration: message for message, restoration in back.items()}
    for row in await tx.fetch(
        "SELECT d.entry_id, d.state, d.attempts, l.hold, m.person_id FROM delivery d"
        " JOIN leg l ON l.id = d.leg_id JOIN member m ON m.id = l.member_id"
        " WHERE d.entry_id = ANY($1) AND d.state <> 'origin'",
        ids,
    ):
        found[messages.get(row["entry_id"], row["entry_id"])].append(
            DeliveryState(PersonId(row["person_id"]), row["state"], row["hold"], row["attempts"])
        )
    return found


async def _restorations(tx: Transaction, messages: list[UUID]) -> dict[UUID, UUID]:
    """As what each of them last came back: from then on its way is that entry's."""
    rows = await tx.fetch(
        "SELECT target_id, id FROM entry WHERE target_id = ANY($1) AND kind = 'restoration' ORDER BY seq",
        messages,
    )
    return {row["target_id"]: row["id"] for row in rows}


def _line(
    key: DataKey, where: Standing, row: Any, reactions: list[ReactionOf], deliveries: list[DeliveryState]
) -> Line:
    content, unreadable = None, False
    if row["deleted_at"] is None:
        content, unreadable = _current(key, where, row, "")
    return Line(
        EntryId(row["id"]), row["seq"], EntryKind(row["kind"]), row["author_id"], content, row["posted_at"],
        row["automatic"], row["edited_at"], row["deleted_at"], unreadable, row["request_id"],
        _reply(key, where, row), tuple(reactions), tuple(deliveries), row["restored_at"],
    )  # fmt: skip


def _reply(key: DataKey, where: Standing, row: Any) -> ReplyTo | None:
    if row["reply_id"] is None:
        return None
    content = None
    if row["reply_deleted"] is None and row["reply_seq"] > where.joined_seq:
        content, _ = _current(key, where, row, "reply_")
    return ReplyTo(EntryId(row["reply_id"]), row["reply_author"], content)


def _current(key: DataKey, where: Standing, row: Any, prefix: str) -> tuple[Content | None, bool]:
    """The words in force: those of the last edit, if there is one."""
    if row[f"{prefix}edit_sealed"] is not None:
        return _open(key, where, row[f"{prefix}edit_id"], row[f"{prefix}edit_sealed"])
    return _open(key, where, row[f"{prefix}id"], row[f"{prefix}sealed"])


def _open(key: DataKey, where: Standing, entry: UUID, sealed: bytes | None) -> tuple[Content | None, bool]:
    if sealed is None:
        return None, False
    try:
        return unseal(key, where.conversation_id, entry, sealed), False
    except (SealBroken, KeyError, ValueError):
        return None, True
