"""A person's conversations, as the list shows them, and what the organiser may change about one.

Titles and last words are opened for one page of the list only; the order comes from an index, so the
list costs the same however many conversations there are. A search opens the titles of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bridge import audit, people, roster
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import Invalid, SealBroken
from bridge.journal import unseal
from bridge.sealing import DataKey, Keyring
from bridge.standing import allowed, standing
from policies import naming
from policies.access import Action
from policies.content import Content, clean_text
from policies.searching import folded_words, matches
from policies.vocabulary import (
    ConversationId,
    ConversationKind,
    EntryId,
    Member,
    Person,
    PersonId,
    PersonStatus,
)


@dataclass(frozen=True, slots=True)
class LastLine:
    id: EntryId
    author_id: PersonId | None
    content: Content | None
    """None: deleted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation in somebody's list. `others`: the members but the reader, by joining."""

    id: ConversationId
    kind: ConversationKind
    title: str
    has_own_title: bool
    is_organiser: bool
    others: tuple[Person, ...]
    last: LastLine | None
    last_seq: int
    at: datetime
    unread: bool
    read_seq: int
    holds: tuple[tuple[PersonId, str], ...]
    """Members whom nothing reaches now, and why: no_device, identity_changed, left."""
    closed: bool

    @property
    def has_archived_client(self) -> bool:
        return any(person.status is PersonStatus.ARCHIVED for person in self.others)


_SELECT = """
SELECT c.id, c.kind, c.organiser_id, c.wrapped_key, c.title_sealed, c.last_message_seq,
    c.closed_at IS NOT NULL AS closed, m.read_seq, m.joined_seq, m.last_message_at AS at,
    e.id AS last_id, e.author_id, e.sealed, e.deleted_at, x.id AS edit_id, x.sealed AS edit_sealed,
    ARRAY(SELECT o.person_id FROM member o WHERE o.conversation_id = c.id AND o.removed_at IS NULL
          ORDER BY o.joined_at, o.id) AS roster,
    ARRAY(SELECT ROW(lm.person_id, l.hold) FROM leg l JOIN member lm ON lm.id = l.member_id
          WHERE l.conversation_id = c.id AND l.hold IS NOT NULL AND l.state <> 'ended') AS holds
FROM member m
JOIN conversation c ON c.id = m.conversation_id
LEFT JOIN entry e ON e.id = c.last_message_id AND e.seq > m.joined_seq
LEFT JOIN entry x ON x.id = e.edit_id
WHERE m.person_id = $1 AND m.removed_at IS NULL AND m.archived_at IS NULL
"""


async def list_for(
    tx: Transaction,
    keyring: Keyring,
    actor: PersonId,
    *,
    search: str = "",
    before: tuple[datetime, ConversationId] | None = None,
    limit: int = 40,
) -> list[Row]:
    """The next `limit` conversations by latest message (M11); `before` is the last row one has.

    `search` finds words that begin a word of the title or of a member's name (C14).
    """
    query = _SELECT
    arguments: list[object] = [actor]
    if search.strip():
        query += f" AND c.id = ANY(${len(arguments) + 1})"
        arguments.append(await _matching(tx, keyring, actor, search))
    if before is not None:
        query += (
            f" AND (m.last_message_at, m.conversation_id) < (${len(arguments) + 1}, ${len(arguments) + 2})"
        )
        arguments += list(before)
    query += f" ORDER BY m.last_message_at DESC, m.conversation_id DESC LIMIT {int(limit)}"
    return await _rows(tx, keyring, actor, await tx.fetch(query, *arguments))


async def one(tx: Transaction, keyring: Keyring, actor: PersonId, conversation: ConversationId) -> Row:
    """One conversation as its member sees it in the list. Raises NotFound for an outsider."""
    await standing(tx, actor, conversation)
    rows = await tx.fetch(
        _SELECT.replace(" AND m.archived_at IS NULL", "") + " AND c.id = $2", actor, conversation
    )
    return (await _rows(tx, keyring, actor, rows))[0]


async def rename(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, title: str
) -> None:
    """The organiser's own title, seen by staff only (C9); an empty one brings the default back."""
    await allowed(tx, actor, conversation, Action.RENAME)
    title = " ".join(clean_text(title).split())
    if len(title) > naming.TITLE_LIMIT:
        raise Invalid(
            "too_long", f"A title can have up to {naming.TITLE_LIMIT} characters; this one has {len(title)}."
        )
    await roster.entitle(tx, keyring, conversation, title or None)
    await audit.record(tx, Did.RENAMED, actor=actor, conversation=conversation)


async def staff_of(tx: Transaction, conversation: ConversationId) -> list[PersonId]:
    """Who in the portal is concerned when this conversation changes."""
    rows = await tx.fetch(
        "SELECT m.person_id FROM member m JOIN person p ON p.id = m.person_id"
        " WHERE m.conversation_id = $1 AND m.removed_at IS NULL AND p.role <> 'client'",
        conversation,
    )
    return [PersonId(row["person_id"]) for row in rows]


async def _matching(tx: Transaction, keyring: Keyring, actor: PersonId, search: str) -> list[UUID]:
    rows = await tx.fetch(
        "SELECT c.id, c.wrapped_key, c.title_sealed, ARRAY(SELECT o.person_id FROM member o"
        " WHERE o.conversation_id = c.id AND o.removed_at IS NULL AND o.person_id <> $1) AS roster"
        " FROM member m JOIN conversation c ON c.id = m.conversation_id"
        " WHERE m.person_id = $1 AND m.removed_at IS NULL AND m.archived_at IS NULL",
        actor,
    )
    persons = await people.get_many(tx, keyring, {p for row in rows for p in row["roster"]})
    wanted = folded_words(search)

    def texts(row: Any) -> str:
        names = " ".join(persons[p].name.full for p in row["roster"] if p in persons)
        return f"{_own_title(keyring, row) or ''} {names}"

    return [row["id"] for row in rows if matches(wanted, folded_words(texts(row)))]


async def _rows(tx: Transaction, keyring: Keyring, actor: PersonId, rows: Sequence[Any]) -> list[Row]:
    persons = await people.get_many(tx, keyring, {PersonId(p) for row in rows for p in row["roster"]})
    return [_row(keyring, actor, row, persons) for row in rows]


def _row(keyring: Keyring, actor: PersonId, row: Any, persons: dict[PersonId, Person]) -> Row:
    roster = [Member(persons[p], n) for n, p in enumerate(row["roster"]) if p in persons]
    kind, organiser = ConversationKind(row["kind"]), PersonId(row["organiser_id"])
    own_title = _own_title(keyring, row)
    last = None
    if row["last_id"] is not None:
        last = LastLine(EntryId(row["last_id"]), row["author_id"], _last_content(keyring, row))
    return Row(
        ConversationId(row["id"]), kind, naming.title(own_title, kind, roster, actor, organiser),
        own_title is not None, organiser == actor, tuple(m.person for m in roster if m.person.id != actor),
        last, row["last_message_seq"], row["at"],
        row["last_message_seq"] > max(row["read_seq"], row["joined_seq"]), row["read_seq"],
        tuple((PersonId(person), hold) for person, hold in row["holds"]), row["closed"],
    )  # fmt: skip


def _own_title(keyring: Keyring, row: Any) -> str | None:
    if row["title_sealed"] is None:
        return None
    return _key(keyring, row).open(row["title_sealed"], f"{row['id']}:title").decode()


def _last_content(keyring: Keyring, row: Any) -> Content | None:
    sealed, entry = (
        (row["edit_sealed"], row["edit_id"]) if row["edit_id"] else (row["sealed"], row["last_id"])
    )
    if row["deleted_at"] is not None or sealed is None:
        return None
    try:
        return unseal(_key(keyring, row), row["id"], entry, sealed)
    except SealBroken:
        return None


def _key(keyring: Keyring, row: Any) -> DataKey:
    return keyring.unwrap(row["wrapped_key"], str(row["id"]))
