"""A person's conversations, as the list shows them, and what the organiser may change about one.

Titles and last words are opened for one page of the list only; the order comes from an index, so the
list costs the same however many conversations there are. A search opens the titles of all of them.

The threads of a blast that nobody has answered yet stand in their sender's list as one row (C5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bridge import audit, directory, identities, people, roster
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import Invalid, NotFound, SealBroken
from bridge.journal import unseal
from bridge.list_filters import EVERYTHING_ACTIVE, KINDS, Filter, Visibility, Which
from bridge.sealing import DataKey, Keyring
from bridge.standing import allowed
from policies import naming
from policies.access import Action
from policies.content import Content, check_title
from policies.searching import folded_words, matches
from policies.vocabulary import (
    ConversationId,
    ConversationKind,
    EntryId,
    Member,
    Person,
    PersonId,
    PersonStatus,
    Refusal,
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
    """Members whom nothing reaches now, and why: no_device, unsigned, identity_changed, left."""
    closed: bool
    archived: bool = False
    """Put away by the reader."""
    muted: bool = False
    """The reader wants no notifications of it (N2)."""
    silenced: tuple[PersonId, ...] = ()
    """Members whose chat is off (P5)."""
    unready: tuple[PersonId, ...] = ()
    """Members whom the conversation hasn't been set up for yet."""
    blast: UUID | None = None
    """The reader's blast that opened this thread (C5)."""
    answered: bool = False
    """Its client has written."""
    former: tuple[Person, ...] = ()
    """Who was in it and isn't any more: what they said keeps their name (C8)."""
    together: int = 0
    """In a list: the row stands for so many unanswered threads of that blast; 0: for itself."""

    @property
    def has_archived_client(self) -> bool:
        return any(person.status is PersonStatus.ARCHIVED for person in self.others)


_SELECT = f"""
SELECT c.id, c.kind, c.organiser_id, c.wrapped_key, c.title_sealed, c.last_message_seq,
    c.closed_at IS NOT NULL AS closed, m.read_seq, m.joined_seq, m.last_message_at AS at,
    m.archived_at IS NOT NULL AS archived, m.muted,
    CASE WHEN c.organiser_id = $1 THEN c.blast_id END AS blast_id, c.answered,
    e.id AS last_id, e.author_id, e.sealed, e.deleted_at, x.id AS edit_id, x.sealed AS edit_sealed,
    ARRAY(SELECT ROW(o.person_id, o.removed_at IS NULL) FROM member o WHERE o.conversation_id = c.id
          ORDER BY o.joined_at, o.id) AS everybody,
    ARRAY(SELECT ROW(lm.person_id, {identities.HOLD}, l.silenced, l.state = 'wanted') FROM leg l
          JOIN member lm ON lm.id = l.member_id
          WHERE l.conversation_id = c.id AND l.state <> 'ended'
            AND (l.hold IS NOT NULL OR l.silenced OR l.state = 'wanted') ORDER BY lm.joined_at, lm.id) AS legs
FROM member m
JOIN conversation c ON c.id = m.conversation_id
LEFT JOIN entry e ON e.id = c.last_message_id AND e.seq > m.joined_seq
LEFT JOIN entry x ON x.id = e.edit_id
WHERE m.person_id = $1 AND m.removed_at IS NULL
"""
# One conversation brings its people along; in a list of many, most would come again and again.
_ONE = _SELECT.replace(
    "SELECT c.id,",
    f"SELECT ARRAY(SELECT {directory.PEOPLE} FROM member o JOIN person p ON p.id = o.person_id"
    " WHERE o.conversation_id = c.id) AS people, c.id,",
    1,
)
_SHOWN = {
    Visibility.ACTIVE: " AND {m}.archived_at IS NULL",
    Visibility.ARCHIVED: " AND {m}.archived_at IS NOT NULL",
    Visibility.ALL: "",
}
_BY_THEMSELVES = " AND (c.blast_id IS NULL OR c.answered OR c.organiser_id <> $1)"
_ALONE = """
    (SELECT m.conversation_id AS id, m.last_message_at AS at, 0::bigint AS together
     FROM member m JOIN conversation c ON c.id = m.conversation_id
     WHERE m.person_id = $1 AND m.removed_at IS NULL{where}
     ORDER BY m.last_message_at DESC, m.conversation_id DESC LIMIT {limit})
"""
# Of each blast of the reader's, the latest of its unanswered threads stands for all of them.
_HEADS = """
    SELECT id, at, together FROM (
        SELECT DISTINCT ON (c.blast_id) c.id, m.last_message_at AS at,
            count(*) OVER (PARTITION BY c.blast_id) AS together
        FROM conversation c JOIN member m ON m.conversation_id = c.id AND m.person_id = $1
            AND m.removed_at IS NULL
        WHERE c.blast_id IS NOT NULL AND NOT c.answered AND c.organiser_id = $1{where}
        ORDER BY c.blast_id, m.last_message_at DESC, c.id DESC) head
    WHERE {after}
"""
# The other unanswered threads of the same blast that the same list shows.
_SAME_BLAST = """
    FROM conversation c2 JOIN member m2 ON m2.conversation_id = c2.id
    WHERE c2.blast_id = c.blast_id AND NOT c2.answered AND m2.person_id = $1 AND m2.removed_at IS NULL
"""


async def list_for(
    tx: Transaction,
    keyring: Keyring,
    actor: PersonId,
    *,
    only: Filter = EVERYTHING_ACTIVE,
    before: tuple[datetime, ConversationId] | None = None,
    limit: int = 40,
) -> list[Row]:
    """The next `limit` conversations by latest message (M11); `before` is the last row one has.

    A search shows each thread of a blast by itself: it looks for one person.
    """
    arguments: list[object] = [actor]

    def given(value: object) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    where = _SHOWN[only.visibility].format(m="m")
    if only.which is not Which.ALL:
        where += f" AND c.kind = ANY({given([kind.value for kind in KINDS[only.which]])})"
    after = "true"
    if before is not None:
        at, conversation = before
        after = f"(at, id) < ({given(at)}, {given(conversation)})"
    if only.search.strip():
        found = given(await _matching(tx, keyring, actor, only.search))
        alone, heads = f"{where} AND c.id = ANY({found})", None
    else:
        alone, heads = where + _BY_THEMSELVES, _HEADS.format(where=where, after=after)
    ended = after.replace("(at, id)", "(m.last_message_at, m.conversation_id)")
    page = "SELECT * FROM " + _ALONE.format(where=f"{alone} AND {ended}", limit=int(limit)) + " alone"
    # The page is found by its index before anything is looked up for it.
    query = (
        f"WITH page AS MATERIALIZED ({page}{f' UNION ALL ({heads})' if heads else ''}"
        f" ORDER BY at DESC, id DESC LIMIT {int(limit)})"
        + _SELECT.replace("SELECT c.id,", "SELECT page.together, c.id,", 1).replace(
            "WHERE m.person_id", "JOIN page ON page.id = c.id WHERE m.person_id", 1
        )
        + " ORDER BY m.last_message_at DESC, m.conversation_id DESC"
    )
    return await _rows(tx, keyring, actor, await tx.fetch(query, *arguments))


async def of_blast(
    tx: Transaction, keyring: Keyring, actor: PersonId, blast: UUID, visibility: Visibility
) -> Row | None:
    """The one row that stands for a blast's unanswered threads; None when there is none left."""
    same = _SAME_BLAST + _SHOWN[visibility].format(m="m2")
    query = (
        _SELECT.replace("SELECT c.id,", f"SELECT (SELECT count(*) {same}) AS together, c.id,", 1)
        + _SHOWN[visibility].format(m="m")
        + " AND c.blast_id = $2 AND NOT c.answered AND c.organiser_id = $1"
        " ORDER BY m.last_message_at DESC, m.conversation_id DESC LIMIT 1"
    )
    rows = await _rows(tx, keyring, actor, await tx.fetch(query, actor, blast))
    return rows[0] if rows else None


async def one(tx: Transaction, keyring: Keyring, actor: PersonId, conversation: ConversationId) -> Row:
    """One conversation as its member sees it in the list. Raises NotFound for an outsider."""
    row = await tx.fetchrow(_ONE + " AND c.id = $2", actor, conversation)
    if row is None:
        raise NotFound
    return _row(keyring, actor, row, directory.to_people(keyring, row["people"]))


async def rename(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, title: str
) -> None:
    """The organiser's own title, seen by staff only (C9); an empty one brings the default back."""
    await allowed(tx, actor, conversation, Action.RENAME)
    checked = check_title(title)
    if isinstance(checked, Refusal):
        raise Invalid(checked.code, checked.words)
    await roster.entitle(tx, keyring, conversation, checked or None)
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
        " WHERE m.person_id = $1 AND m.removed_at IS NULL",
        actor,
    )
    persons = await people.get_many(tx, keyring, {p for row in rows for p in row["roster"]})
    wanted = folded_words(search)

    def texts(row: Any) -> str:
        names = " ".join(persons[p].name.full for p in row["roster"] if p in persons)
        return f"{_own_title(keyring, row) or ''} {names}"

    return [row["id"] for row in rows if matches(wanted, folded_words(texts(row)))]


async def _rows(tx: Transaction, keyring: Keyring, actor: PersonId, rows: Sequence[Any]) -> list[Row]:
    everybody = {PersonId(person) for row in rows for person, _ in row["everybody"]}
    persons = await people.get_many(tx, keyring, everybody)
    return [_row(keyring, actor, row, persons) for row in rows]


def _row(keyring: Keyring, actor: PersonId, row: Any, persons: dict[PersonId, Person]) -> Row:
    current = [person for person, is_in in row["everybody"] if is_in and person in persons]
    former = dict.fromkeys(p for p, is_in in row["everybody"] if not is_in and p in persons)
    roster = [Member(persons[person], n) for n, person in enumerate(current)]
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
        tuple((PersonId(person), hold) for person, hold, *_ in row["legs"] if hold), row["closed"],
        row["archived"], row["muted"],
        tuple(PersonId(person) for person, _, silenced, _ in row["legs"] if silenced),
        tuple(PersonId(person) for person, _, _, wanted in row["legs"] if wanted),
        row["blast_id"], row["answered"],
        tuple(persons[p] for p in former if p not in current and p != actor), row.get("together", 0),
    )  # fmt: skip


def _own_title(keyring: Keyring, row: Any) -> str | None:
    if row["title_sealed"] is None:
        return None
    try:
        return _key(keyring, row).open(row["title_sealed"], f"{row['id']}:title").decode()
    except SealBroken:
        return None  # erased with its conversation, whose row still stands in the list


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
