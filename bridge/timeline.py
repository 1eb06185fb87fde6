"""A page of a conversation as one of its members may read it.

As many queries whatever the length of the journal: entries by their index, each with what belongs to it.
Lines that are shown anew cost one: a live page asks for them at every message.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bridge import audit
from bridge.database import Transaction
from bridge.errors import NotFound, SealBroken
from bridge.journal import unseal
from bridge.sealing import DataKey, Keyring
from bridge.standing import COLUMNS, MEMBER, Standing, from_row, standing
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


# Since it was restored, a message's way is that of what it last came back as.
_LINES = """
SELECT e.id, e.seq, e.kind, e.author_id, e.sealed, e.posted_at, e.automatic, e.deleted_at, e.request_id,
    e.restored_at,
    x.id AS edit_id, x.sealed AS edit_sealed, x.posted_at AS edited_at,
    r.id AS reply_id, r.author_id AS reply_author, r.seq AS reply_seq, r.deleted_at AS reply_deleted,
    r.sealed AS reply_sealed, rx.id AS reply_edit_id, rx.sealed AS reply_edit_sealed,
    ARRAY(SELECT ROW(a.id, a.author_id, a.sealed) FROM entry a
          WHERE a.target_id = e.id AND a.kind = 'reaction' AND a.deleted_at IS NULL
          ORDER BY a.seq) AS reactions,
    ARRAY(SELECT ROW(dm.person_id, d.state, dl.hold, d.attempts) FROM delivery d
          JOIN leg dl ON dl.id = d.leg_id JOIN member dm ON dm.id = dl.member_id
          WHERE d.state <> 'origin' AND d.entry_id = CASE WHEN e.restored_at IS NULL THEN e.id ELSE
              coalesce((SELECT b.id FROM entry b WHERE b.target_id = e.id AND b.kind = 'restoration'
                        ORDER BY b.seq DESC LIMIT 1), e.id) END) AS deliveries
FROM entry e
LEFT JOIN entry x ON x.id = e.edit_id
LEFT JOIN entry r ON r.id = e.target_id
LEFT JOIN entry rx ON rx.id = r.edit_id
WHERE e.kind IN ('message', 'notice')
"""
_SELECT = _LINES + " AND e.conversation_id = $1 AND e.seq > $2"
_READS = """
SELECT person_id, seq, at FROM receipt WHERE conversation_id = $1 AND person_id <> $2 AND seq >= {first}
ORDER BY seq LIMIT 2000
"""
# The oldest of the lines brings the marks along.
_SOME = f"""
SELECT {COLUMNS}, line.*, CASE WHEN line.seq = min(line.seq) OVER () THEN ARRAY(
    SELECT ROW(person_id, seq, at) FROM ({_READS.format(first="line.seq")}) marks) END AS reads
{MEMBER} LEFT JOIN LATERAL (
    {_LINES} AND e.conversation_id = c.id AND e.seq > m.joined_seq AND e.id = ANY($3)) line ON true
ORDER BY line.seq
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
        has_older = True
    else:
        rows = await tx.fetch(
            _SELECT + " AND e.seq < $4 ORDER BY e.seq DESC LIMIT $3",
            conversation, where.joined_seq, limit + 1, before if before is not None else 2**62,
        )  # fmt: skip
        rows, has_older = rows[:limit][::-1], len(rows) > limit
    if not rows:
        return Page(where.conversation_id, (), has_older, ())
    reads = await tx.fetch(_READS.format(first="$3"), conversation, actor, rows[0]["seq"])
    return _page(keyring, where, rows, reads, has_older=has_older)


async def some(
    tx: Transaction,
    keyring: Keyring,
    actor: PersonId,
    conversation: ConversationId,
    entries: Sequence[EntryId],
) -> Page:
    """Just these lines, as they are now: what a live page refreshes. Raises NotFound for an outsider."""
    rows = await tx.fetch(_SOME, conversation, actor, list(entries))
    if not rows:
        raise NotFound
    where = from_row(rows[0])
    where.require(Action.READ)
    if rows[0]["id"] is None:
        rows = []
    return _page(keyring, where, rows, rows[0]["reads"] if rows else (), has_older=True)


def _page(
    keyring: Keyring, where: Standing, rows: Sequence[Any], reads: Iterable[Any], *, has_older: bool
) -> Page:
    key = _key(where, keyring)
    return Page(
        where.conversation_id,
        tuple(_line(key, where, row) for row in rows),
        has_older,
        tuple(ReadMark(PersonId(person), seq, at) for person, seq, at in reads),
    )


def _key(where: Standing, keyring: Keyring) -> DataKey | None:
    """None: the conversation has been erased with its key, and only that there were lines is left."""
    return None if where.wrapped_key is None else where.key(keyring)


def _line(key: DataKey | None, where: Standing, row: Any) -> Line:
    content, unreadable = None, False
    if row["deleted_at"] is None:
        content, unreadable = _current(key, where, row, "")
    return Line(
        EntryId(row["id"]), row["seq"], EntryKind(row["kind"]), row["author_id"], content, row["posted_at"],
        row["automatic"], row["edited_at"], row["deleted_at"], unreadable, row["request_id"],
        _reply(key, where, row), tuple(_reactions(key, where, row)),
        tuple(DeliveryState(PersonId(person), *how) for person, *how in row["deliveries"]),
        row["restored_at"],
    )  # fmt: skip


def _reactions(key: DataKey | None, where: Standing, row: Any) -> Iterator[ReactionOf]:
    for entry, author, sealed in row["reactions"]:
        content, _ = _open(key, where, entry, sealed)
        if isinstance(content, Reaction):
            yield ReactionOf(EntryId(entry), content.key, author)


def _reply(key: DataKey | None, where: Standing, row: Any) -> ReplyTo | None:
    if row["reply_id"] is None:
        return None
    content = None
    if row["reply_deleted"] is None and row["reply_seq"] > where.joined_seq:
        content, _ = _current(key, where, row, "reply_")
    return ReplyTo(EntryId(row["reply_id"]), row["reply_author"], content)


def _current(key: DataKey | None, where: Standing, row: Any, prefix: str) -> tuple[Content | None, bool]:
    """The words in force: those of the last edit, if there is one."""
    if row[f"{prefix}edit_sealed"] is not None:
        return _open(key, where, row[f"{prefix}edit_id"], row[f"{prefix}edit_sealed"])
    return _open(key, where, row[f"{prefix}id"], row[f"{prefix}sealed"])


def _open(
    key: DataKey | None, where: Standing, entry: UUID, sealed: bytes | None
) -> tuple[Content | None, bool]:
    if sealed is None or key is None:
        return None, sealed is not None
    try:
        return unseal(key, where.conversation_id, entry, sealed), False
    except (SealBroken, KeyError, ValueError):
        return None, True
