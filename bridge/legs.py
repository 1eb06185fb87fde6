"""Legs: one member's encrypted room for one conversation, and how far it is made."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bridge.database import Transaction
from bridge.feed import Change, Notification, notify
from policies.vocabulary import ConversationId, ConversationKind, LegId, MatrixUserId, PersonId, RoomId


@dataclass(frozen=True, slots=True)
class Leg:
    id: LegId
    conversation_id: ConversationId
    person_id: PersonId
    user_id: MatrixUserId
    room_id: RoomId | None
    state: str
    hold: str | None
    kind: ConversationKind
    organiser_id: PersonId
    attempts: int = 0


_SELECT = (
    "SELECT l.id, l.conversation_id, m.person_id, l.user_id, l.room_id, l.state, l.hold, c.kind,"
    " c.organiser_id, l.attempts FROM leg l JOIN member m ON m.id = l.member_id"
    " JOIN conversation c ON c.id = l.conversation_id"
)


def _leg(row: Any) -> Leg:
    return Leg(**{**row, "kind": ConversationKind(row["kind"])})


async def get(tx: Transaction, leg: LegId) -> Leg:
    return _leg(await tx.fetchrow(_SELECT + " WHERE l.id = $1", leg))


async def by_rooms(tx: Transaction, rooms: Collection[str]) -> dict[str, Leg]:
    """The legs among these rooms. One that is still being made hears its client too: they are in the room
    before it counts as open, and what they say meanwhile must not be nobody's."""
    rows = await tx.fetch(_SELECT + " WHERE l.room_id = ANY($1) AND l.state <> 'ended'", list(rooms))
    return {row["room_id"]: _leg(row) for row in rows}


async def wanted(tx: Transaction, limit: int = 50) -> list[Leg]:
    """Legs to be made, the ones that waited longest first. Not before their account exists."""
    rows = await tx.fetch(
        _SELECT + " JOIN account a ON a.person_id = m.person_id AND a.state = 'made'"
        " WHERE l.state = 'wanted' AND l.next_attempt_at <= now() ORDER BY l.next_attempt_at LIMIT $1",
        limit,
    )
    return [_leg(row) for row in rows]


async def set_room(tx: Transaction, leg: LegId, room_id: str) -> None:
    await tx.execute("UPDATE leg SET room_id = $2 WHERE id = $1 AND room_id IS NULL", leg, room_id)


async def set_joined(tx: Transaction, leg: LegId, puppet: UUID) -> None:
    await tx.execute(
        "UPDATE occupant SET joined_at = now() WHERE leg_id = $1 AND puppet_id = $2", leg, puppet
    )


async def joined(tx: Transaction, leg: LegId) -> set[UUID]:
    rows = await tx.fetch("SELECT puppet_id FROM occupant WHERE leg_id = $1 AND joined_at IS NOT NULL", leg)
    return {row["puppet_id"] for row in rows}


async def set_open(tx: Transaction, leg: Leg) -> None:
    await tx.execute(
        "UPDATE leg SET state = 'open', attempts = 0, error = NULL WHERE id = $1 AND state = 'wanted'", leg.id
    )
    await notify(tx, Notification(Change.CONVERSATION, leg.conversation_id))


async def failed(tx: Transaction, leg: LegId, error: str, pause_seconds: float) -> None:
    """Not this time; again after the pause."""
    await tx.execute(
        "UPDATE leg SET attempts = attempts + 1, error = $2,"
        " next_attempt_at = now() + make_interval(secs => $3) WHERE id = $1",
        leg, error, pause_seconds,
    )  # fmt: skip


async def set_hold(tx: Transaction, leg: LegId, hold: str | None) -> bool:
    """Hold a leg's deliveries, or let them go; True when that changed anything."""
    conversation = await tx.fetchval(
        "UPDATE leg SET hold = $2 WHERE id = $1 AND hold IS DISTINCT FROM $2 RETURNING conversation_id",
        leg,
        hold,
    )
    if conversation is not None:
        await notify(tx, Notification(Change.CONVERSATION, ConversationId(conversation)))
    return conversation is not None


async def of_users(tx: Transaction, user_ids: Collection[str]) -> list[Leg]:
    rows = await tx.fetch(_SELECT + " WHERE l.user_id = ANY($1) AND l.state <> 'ended'", list(user_ids))
    return [_leg(row) for row in rows]


async def open_organised_by(tx: Transaction, person: PersonId) -> list[Leg]:
    rows = await tx.fetch(_SELECT + " WHERE c.organiser_id = $1 AND l.state = 'open'", person)
    return [_leg(row) for row in rows]


async def held_users(tx: Transaction) -> list[str]:
    rows = await tx.fetch("SELECT DISTINCT user_id FROM leg WHERE hold IS NOT NULL AND state <> 'ended'")
    return [row["user_id"] for row in rows]
