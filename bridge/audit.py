"""The audit trail: who did what to which conversation, and when. Append-only, ids and codes, never content.

Rows are linked in the order of their ids: each link is a MAC over the one before and the row, under a key
that is not in the database. A row changed, taken out or put in later breaks every link after it (S3).
Linking follows a second behind, so that nobody who writes a message waits for the chain.
"""

import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from bridge.database import Transaction
from bridge.errors import Kept
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
    GROUP_CHANGED = "group_changed"


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    at: datetime
    actor_id: UUID | None
    action: str
    conversation_id: UUID | None
    subject_id: UUID | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of the chain. Noted somewhere else, it shows later that nothing was cut off or redone."""

    place: int
    link: bytes

    def __str__(self) -> str:
        return f"{self.place}:{self.link[:8].hex()}"


class Fault(StrEnum):
    """What is wrong at the first place that doesn't hold."""

    MISSING = "missing"
    ALTERED = "altered"
    BACKDATED = "backdated"
    NOT_AS_NOTED = "not_as_noted"


@dataclass(frozen=True, slots=True)
class Verified:
    """So many links hold. `fault`: what is wrong with the one after them, None: there is none."""

    held: int
    head: Head | None
    fault: Fault | None
    unlinked: int
    """Rows too young to be in the chain: nothing proves them yet."""


_COLUMNS = "id, at, actor_id, action, conversation_id, subject_id, detail"
_LOCK = 0x52756801
BATCH = 1000
READ_AGAIN = timedelta(minutes=10)
"""Somebody who goes on reading is recorded anew after this long."""
_LATE = timedelta(hours=1)
"""A transaction commits seconds after its rows were dated; what is dated longer before what was linked
earlier was put in by somebody."""


async def record(
    tx: Transaction,
    action: Did,
    *,
    actor: UUID | None = None,
    conversation: UUID | None = None,
    subject: UUID | None = None,
    **detail: str | int | bool | None,
) -> None:
    """In the transaction of what is recorded. `subject`: the person or entry that it was done to.

    What is written to the journal is recorded by the statement that appends it (`bridge.journal`).
    """
    await tx.execute(
        "INSERT INTO audit (actor_id, action, conversation_id, subject_id, detail)"
        " VALUES ($1, $2, $3, $4, $5)",
        actor, action, conversation, subject, detail,
    )  # fmt: skip


async def record_each(
    tx: Transaction, action: Did, rows: list[tuple[UUID, UUID]], *, actor: UUID | None = None
) -> None:
    """The same for several (conversation, subject) at once."""
    await tx.execute(
        "INSERT INTO audit (actor_id, action, conversation_id, subject_id)"
        " SELECT $1, $2, * FROM unnest($3::uuid[], $4::uuid[])",
        actor, action, [row[0] for row in rows], [row[1] for row in rows],
    )  # fmt: skip


READ_ONCE = f"""INSERT INTO audit (actor_id, action, conversation_id)
    SELECT $1, '{Did.READ}', $2 WHERE NOT EXISTS (SELECT FROM audit WHERE action = '{Did.READ}'
        AND actor_id = $1 AND conversation_id = $2
        AND at > now() - interval '{READ_AGAIN.total_seconds():.0f} s')"""
"""$1 the person, $2 the conversation; also a part of the statement that moves a mark (`bridge.receipts`)."""


async def read(tx: Transaction, *, actor: UUID, conversation: UUID) -> None:
    """Somebody has a conversation before their eyes: once, until `READ_AGAIN` has passed."""
    await tx.execute(READ_ONCE, actor, conversation)


def refusal(actor: UUID, action: str, conversation: UUID | None, code: str) -> Kept:
    """That somebody was refused something; recorded after the refusal has taken its transaction back."""
    return Kept(
        "INSERT INTO audit (actor_id, action, conversation_id, detail) VALUES ($1, $2, $3, $4)",
        (actor, Did.REFUSED, conversation, {"action": action, "code": code}),
    )


async def link(tx: Transaction, keyring: Keyring) -> tuple[int, Head] | None:
    """Chain what came since, up to `BATCH` rows: how many, and the new end. None: nothing came."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM audit WHERE link IS NULL ORDER BY id LIMIT $1", BATCH)
    if not rows:
        return None
    last = await tx.fetchrow(
        "SELECT place, link FROM audit WHERE place IS NOT NULL ORDER BY place DESC LIMIT 1"
    )
    head = Head(0, b"") if last is None else Head(last["place"], last["link"])
    key = await _key(tx, keyring)
    made = []
    for row in rows:
        head = _next(key, head, _row(row))
        made.append((row["id"], head.place, head.link))
    await tx.execute(
        "UPDATE audit SET place = x.place, link = x.link"
        " FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS x(id, place, link) WHERE audit.id = x.id",
        *zip(*made, strict=True),
    )
    return len(made), head


async def end(tx: Transaction) -> tuple[Head | None, int]:
    """The last link of the chain, and how many rows are too young to be in it."""
    last = await tx.fetchrow(
        "SELECT place, link FROM audit WHERE place IS NOT NULL ORDER BY place DESC LIMIT 1"
    )
    unlinked: int = await tx.fetchval("SELECT count(*) FROM audit WHERE link IS NULL")
    return Head(last["place"], last["link"]) if last else None, unlinked


async def has_unlinked(tx: Transaction) -> bool:
    return await tx.fetchval("SELECT true FROM audit WHERE link IS NULL LIMIT 1") is True


async def verify(tx: Transaction, keyring: Keyring, noted: tuple[int, str] | None = None) -> Verified:
    """Go through the whole chain, in one snapshot. `noted`: an old head's place, and how its link begins.

    Without a noted head nobody can tell a chain from one that was cut off, or unlinked from some place on
    and linked again: whoever may do that to the table needs no key.
    """
    key = await _key(tx, keyring)
    head, latest, fault = Head(0, b""), None, None
    async for row in tx.cursor(
        f"SELECT place, link, {_COLUMNS} FROM audit WHERE place IS NOT NULL ORDER BY place", prefetch=500
    ):
        expected = _next(key, head, _row(row))
        latest = max(latest or row["at"], row["at"])
        if row["place"] != expected.place:
            fault = Fault.MISSING
        elif not hmac.compare_digest(expected.link, row["link"]):
            fault = Fault.ALTERED
        elif row["at"] < latest - _LATE:
            fault = Fault.BACKDATED
        elif noted and noted[0] == expected.place and not expected.link.hex().startswith(noted[1]):
            fault = Fault.NOT_AS_NOTED
        if fault is not None:
            break
        head = expected
    if fault is None and noted and noted[0] > head.place:
        fault = Fault.MISSING
    unlinked = await tx.fetchval("SELECT count(*) FROM audit WHERE link IS NULL")
    return Verified(head.place, head if head.place else None, fault, unlinked)


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


def _next(key: bytes, head: Head, row: Row) -> Head:
    """The link of a row that stands behind `head`."""
    place = head.place + 1
    ids = (row.actor_id, row.conversation_id, row.subject_id)
    said = [place, row.id, row.at.isoformat(), row.action, *(str(i) if i else None for i in ids), row.detail]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return Head(place, hmac.digest(key, head.link + text.encode(), "sha256"))
