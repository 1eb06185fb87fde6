"""The audit trail: who did what to which conversation, and when. Append-only, ids and codes, never content.

Rows are linked in the order of their ids: each link is a MAC over the one before and the row, under a key
that is not in the database. A row changed, taken out or put in later breaks every link after it (S3).
Linking follows behind, so that nobody who writes a message waits for the chain.
"""

import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from bridge.database import Transaction
from bridge.sealing import Keyring, standing_key


class Did(StrEnum):
    """What is recorded."""

    SIGNED_IN = "signed_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGNED_OUT = "signed_out"
    READ = "read"
    WROTE = "wrote"
    EDITED = "edited"
    DELETED = "deleted"
    RESTORED = "restored"
    ERASED = "erased"
    STARTED = "started"
    ADDED = "added"
    REMOVED = "removed"
    LEFT = "left"
    CLOSED = "closed"
    RENAMED = "renamed"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"
    CONFIRMED_TOLD = "confirmed_told"
    REVOKED = "revoked"
    REFUSED = "refused"
    SETTING_CHANGED = "setting_changed"
    IDENTITY_RELEASED = "identity_released"
    BLAST_SENT = "blast_sent"
    BLAST_STOPPED = "blast_stopped"
    SAW_DELETED = "saw_deleted"
    PERSON_CHANGED = "person_changed"


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    at: datetime
    actor_id: UUID | None
    action: str
    conversation_id: UUID | None
    subject_id: UUID | None
    detail: dict[str, Any]


_COLUMNS = "id, at, actor_id, action, conversation_id, subject_id, detail"
_LOCK = 0x52756801
BATCH = 1000


async def record(
    tx: Transaction,
    action: Did,
    *,
    actor: UUID | None = None,
    conversation: UUID | None = None,
    subject: UUID | None = None,
    **detail: str | int | bool | None,
) -> None:
    """In the transaction of what is recorded. `subject`: the person or entry that it was done to."""
    await tx.execute(
        "INSERT INTO audit (actor_id, action, conversation_id, subject_id, detail)"
        " VALUES ($1, $2, $3, $4, $5)",
        actor, action, conversation, subject, detail,
    )  # fmt: skip


async def link(tx: Transaction, keyring: Keyring) -> int:
    """Chain what came since; returns how many rows."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM audit WHERE link IS NULL ORDER BY id LIMIT $1", BATCH)
    if not rows:
        return 0
    last = await tx.fetchrow(
        "SELECT place, link FROM audit WHERE place IS NOT NULL ORDER BY place DESC LIMIT 1"
    )
    first, previous = (1, b"") if last is None else (last["place"] + 1, last["link"])
    key = await _key(tx, keyring)
    links = []
    for place, row in enumerate(rows, start=first):
        previous = _link(key, previous, place, _row(row))
        links.append((row["id"], place, previous))
    await tx.executemany("UPDATE audit SET place = $2, link = $3 WHERE id = $1", links)
    return len(rows)


async def verify(tx: Transaction, keyring: Keyring) -> tuple[int, int | None]:
    """How many links hold, and the place of the first that doesn't (None: all do).

    Rows cut off at the end leave a whole chain: compare the count with one noted earlier.
    """
    key = await _key(tx, keyring)
    previous, held = b"", 0
    async for row in tx.cursor(
        f"SELECT place, link, {_COLUMNS} FROM audit WHERE place IS NOT NULL ORDER BY place"
    ):
        previous = _link(key, previous, held + 1, _row(row))
        if row["place"] != held + 1 or not hmac.compare_digest(previous, row["link"]):
            return held, held + 1
        held += 1
    return held, None


async def page(
    tx: Transaction,
    *,
    before: int | None = None,
    conversation: UUID | None = None,
    actor: UUID | None = None,
    action: str | None = None,
    limit: int = 100,
) -> list[Row]:
    """The latest rows, newest first. Callers have asked `Action.VIEW_AUDIT`."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM audit WHERE id < $1 AND ($2::uuid IS NULL OR conversation_id = $2)"
        " AND ($3::uuid IS NULL OR actor_id = $3) AND ($4::text IS NULL OR action = $4)"
        " ORDER BY id DESC LIMIT $5",
        before if before is not None else 2**62, conversation, actor, action, limit,
    )  # fmt: skip
    return [_row(row) for row in rows]


async def _key(tx: Transaction, keyring: Keyring) -> bytes:
    return (await standing_key(tx, keyring, "audit")).derive("audit chain")


def _row(row: Any) -> Row:
    return Row(*(row[name] for name in _COLUMNS.split(", ")))


def _link(key: bytes, previous: bytes, place: int, row: Row) -> bytes:
    ids = (row.actor_id, row.conversation_id, row.subject_id)
    said = [place, row.id, row.at.isoformat(), row.action, *(str(i) if i else None for i in ids), row.detail]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, previous + text.encode(), "sha256")
