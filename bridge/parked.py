"""Events of a leg that could not become entries: kept as ciphertext, tried again, shown by id (M13).

What is settled, or came in clear and won't be tried again, is kept without its content: a deleted message's
words must not live on here, and words in the clear nowhere (S2).
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bridge.database import Transaction

FOREVER = None
ENCRYPTED = "m.room.encrypted"
_ENVELOPE = frozenset({"event_id", "type", "sender", "room_id", "origin_server_ts", "state_key"})


@dataclass(frozen=True, slots=True)
class Parked:
    room_id: str
    event_id: str
    sender: str
    reason: str
    raw: dict[str, Any]
    attempts: int
    notice_id: UUID | None


_COLUMNS = "room_id, event_id, sender, reason, raw, attempts, notice_id"


async def park(
    tx: Transaction,
    *,
    leg: UUID | None,
    room_id: str,
    event: dict[str, Any],
    reason: str,
    again_in: float | None,
) -> bool:
    """Keep it; `again_in` seconds until it is tried again, None when that can't help. False: kept before."""
    if again_in is FOREVER and event.get("type") != ENCRYPTED:
        event = {name: value for name, value in event.items() if name in _ENVELOPE}
    content = event.get("content")
    session = content.get("session_id") if isinstance(content, dict) else None
    if not (isinstance(session, str) and session.isascii() and session.isprintable()):
        session = None
    made = await tx.fetchval(
        "INSERT INTO parked_event"
        " (room_id, event_id, leg_id, sender, reason, raw, session_id, next_attempt_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8::float8))"
        " ON CONFLICT DO NOTHING RETURNING event_id",
        room_id, event["event_id"], leg, event["sender"], reason, json.dumps(event), session, again_in,
    )  # fmt: skip
    return made is not None


def _parked(row: Any) -> Parked:
    return Parked(**{**row, "raw": json.loads(row["raw"])})


async def one(tx: Transaction, room_id: str, event_id: str) -> Parked | None:
    """A parked event that is still open."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM parked_event WHERE room_id = $1 AND event_id = $2 AND resolved_at IS NULL",
        room_id, event_id,
    )  # fmt: skip
    return row and _parked(row)


async def due(tx: Transaction, limit: int = 50) -> list[Parked]:
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM parked_event WHERE resolved_at IS NULL AND next_attempt_at <= now()"
        " ORDER BY next_attempt_at LIMIT $1",
        limit,
    )
    return [_parked(row) for row in rows]


async def of_session(tx: Transaction, room_id: str, session_id: str) -> list[Parked]:
    """Those that wait for this Megolm session, in the order they came."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM parked_event WHERE resolved_at IS NULL AND room_id = $1"
        " AND session_id = $2 ORDER BY received_at, event_id FOR UPDATE",
        room_id, session_id,
    )  # fmt: skip
    return [_parked(row) for row in rows]


async def settled(tx: Transaction, room_id: str, event_id: str) -> None:
    """Nothing more will come of it."""
    await tx.execute(
        "UPDATE parked_event SET resolved_at = now(), next_attempt_at = NULL, raw = '{}'"
        " WHERE room_id = $1 AND event_id = $2",
        room_id, event_id,
    )  # fmt: skip


async def resolved(tx: Transaction, parked: Parked) -> None:
    """It became an entry after all; its notice goes."""
    await settled(tx, parked.room_id, parked.event_id)
    if parked.notice_id is not None:
        await tx.execute("UPDATE entry SET deleted_at = now() WHERE id = $1", parked.notice_id)


async def tried(tx: Transaction, parked: Parked, reason: str, again_in: float | None) -> None:
    await tx.execute(
        "UPDATE parked_event SET attempts = attempts + 1, reason = $3,"
        " next_attempt_at = now() + make_interval(secs => $4::float8) WHERE room_id = $1 AND event_id = $2",
        parked.room_id, parked.event_id, reason, again_in,
    )  # fmt: skip


async def set_notice(tx: Transaction, room_id: str, event_id: str, notice: UUID) -> None:
    await tx.execute(
        "UPDATE parked_event SET notice_id = $3 WHERE room_id = $1 AND event_id = $2",
        room_id,
        event_id,
        notice,
    )
