"""Files that clients send: wanted when their message arrives, fetched later, kept sealed in chunks."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from bridge import audit
from bridge.database import Transaction
from bridge.errors import NotFound
from bridge.feed import Change, Notification, notify
from bridge.sealing import DataKey, Keyring
from bridge.standing import standing
from policies.access import Action
from policies.vocabulary import ConversationId, EntryId, PersonId

CHUNK = 2**20
"""Bytes sealed together: a file never stands whole in memory on its way to a page."""


@dataclass(frozen=True, slots=True)
class Wanted:
    id: UUID
    conversation_id: ConversationId
    entry_id: EntryId
    source: dict[str, Any]
    """Where its bytes are: an encrypted-file object, or just its address."""
    attempts: int


async def want(
    tx: Transaction, keyring: Keyring, conversation: ConversationId, entry: EntryId, source: dict[str, Any]
) -> None:
    """The file of a message is to be fetched."""
    attachment = uuid4()
    wrapped = await tx.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", conversation)
    key = keyring.unwrap(wrapped, str(conversation))
    sealed = key.seal(json.dumps(source).encode(), f"{attachment}:source")
    await tx.execute(
        "INSERT INTO attachment (id, conversation_id, entry_id, source_sealed) VALUES ($1, $2, $3, $4)",
        attachment, conversation, entry, sealed,
    )  # fmt: skip
    await notify(tx, Notification(Change.ATTACHMENT, conversation, entry))


async def due(tx: Transaction, keyring: Keyring, limit: int = 4) -> list[Wanted]:
    rows = await tx.fetch(
        "SELECT a.id, a.conversation_id, a.entry_id, a.source_sealed, a.attempts, c.wrapped_key"
        " FROM attachment a JOIN conversation c ON c.id = a.conversation_id"
        " WHERE a.state = 'wanted' AND a.next_attempt_at <= now()"
        " ORDER BY a.next_attempt_at LIMIT $1",
        limit,
    )
    return [_wanted(keyring, row) for row in rows]


def _wanted(keyring: Keyring, row: Any) -> Wanted:
    key = keyring.unwrap(row["wrapped_key"], str(row["conversation_id"]))
    source = json.loads(key.open(row["source_sealed"], f"{row['id']}:source"))
    conversation, entry = ConversationId(row["conversation_id"]), EntryId(row["entry_id"])
    return Wanted(row["id"], conversation, entry, source, row["attempts"])


async def store(tx: Transaction, keyring: Keyring, wanted: Wanted, data: bytes) -> None:
    """Nothing where its message was erased while the file was on its way."""
    if not await tx.fetchval("SELECT state = 'wanted' FROM attachment WHERE id = $1 FOR UPDATE", wanted.id):
        return
    wrapped = await tx.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", wanted.conversation_id)
    key = keyring.unwrap(wrapped, str(wanted.conversation_id))
    for n, start in enumerate(range(0, len(data), CHUNK)):
        sealed = key.seal(data[start : start + CHUNK], f"{wanted.id}:{n}")
        await tx.execute(
            "INSERT INTO attachment_chunk (attachment_id, n, sealed) VALUES ($1, $2, $3)",
            wanted.id,
            n,
            sealed,
        )
    await tx.execute(
        "UPDATE attachment SET state = 'stored', size = $2, source_sealed = NULL, error = NULL WHERE id = $1",
        wanted.id, len(data),
    )  # fmt: skip
    await notify(tx, Notification(Change.ATTACHMENT, wanted.conversation_id, wanted.entry_id))


async def failed(tx: Transaction, wanted: Wanted, error: str, again_in: float | None) -> None:
    """Again after `again_in` seconds, or (None) never."""
    await tx.execute(
        "UPDATE attachment SET attempts = attempts + 1, error = $2,"
        " state = CASE WHEN $3::float8 IS NULL THEN 'failed' ELSE state END,"
        " next_attempt_at = now() + make_interval(secs => coalesce($3::float8, 0))"
        " WHERE id = $1 AND state = 'wanted'",
        wanted.id, error, again_in,
    )  # fmt: skip
    await notify(tx, Notification(Change.ATTACHMENT, wanted.conversation_id, wanted.entry_id))


@dataclass(frozen=True, slots=True)
class State:
    """Of a message's file: wanted (on its way), stored, failed."""

    id: UUID
    state: str


async def of_entries(
    tx: Transaction, actor: PersonId, conversation: ConversationId, entries: list[EntryId]
) -> dict[EntryId, State]:
    where = await standing(tx, actor, conversation)
    where.require(Action.READ)
    rows = await tx.fetch(
        "SELECT entry_id, id, state FROM attachment WHERE entry_id = ANY($1) AND conversation_id = $2",
        entries,
        conversation,
    )
    return {EntryId(row["entry_id"]): State(row["id"], row["state"]) for row in rows}


async def find(tx: Transaction, actor: PersonId, attachment: UUID) -> tuple[ConversationId, EntryId, int]:
    """Conversation, entry and size in bytes of a stored file that `actor` may read. Raises NotFound."""
    row = await tx.fetchrow(
        "SELECT a.conversation_id, a.entry_id, a.size, e.seq, e.deleted_at FROM attachment a"
        " JOIN entry e ON e.id = a.entry_id WHERE a.id = $1 AND a.state = 'stored'",
        attachment,
    )
    if row is None:
        raise NotFound
    where = await standing(tx, actor, row["conversation_id"])
    where.require(Action.READ)
    if row["deleted_at"] is not None or row["seq"] <= where.joined_seq:
        raise NotFound
    return ConversationId(row["conversation_id"]), EntryId(row["entry_id"]), row["size"]


async def opened(tx: Transaction, keyring: Keyring, actor: PersonId, attachment: UUID) -> tuple[DataKey, int]:
    """The key of a stored file that `actor` begins to read, and into how many chunks it was put.

    Raises NotFound. Each chunk is fetched by itself: whoever reads over a slow line keeps no connection.
    """
    conversation, _, size = await find(tx, actor, attachment)
    key = (await standing(tx, actor, conversation)).key(keyring)
    await audit.read(tx, actor=actor, conversation=conversation)
    return key, -(-size // CHUNK)


async def chunk(tx: Transaction, key: DataKey, attachment: UUID, n: int) -> bytes | None:
    """For whoever has the key. None: erased meanwhile."""
    sealed = await tx.fetchval(
        "SELECT sealed FROM attachment_chunk WHERE attachment_id = $1 AND n = $2", attachment, n
    )
    return None if sealed is None else key.open(sealed, f"{attachment}:{n}")
