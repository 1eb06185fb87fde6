"""Legs: one member's encrypted room for one conversation, and how far it is made."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bridge import puppets
from bridge.database import Transaction
from bridge.feed import Change, Notification, notify
from bridge.puppets import Puppet
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


@dataclass(frozen=True, slots=True)
class Seat:
    """A puppet's place in a leg."""

    puppet: Puppet
    person_id: PersonId | None
    joined_at: datetime | None
    leaving: bool
    named: bytes | None
    """What is kept of the name that the homeserver has for them (`appservice.masks`)."""


async def due(tx: Transaction, limit: int = 50, *, besides: Collection[LegId] = ()) -> list[Leg]:
    """Legs to be made or changed, `besides` those that are: the ones that waited longest first, a blast's
    after all others. Not before their account exists, and no new room for somebody whose chat is off: they
    get it when it is on again (P5)."""
    rows = await tx.fetch(
        _SELECT + " JOIN account a ON a.person_id = m.person_id AND a.state = 'made'"
        " WHERE (l.state = 'wanted' AND NOT l.silenced OR l.state = 'open' AND l.seats_due)"
        " AND l.next_attempt_at <= now() AND l.id <> ALL($2)"
        " ORDER BY c.kind = 'blast', l.next_attempt_at LIMIT $1",
        limit, list(besides),
    )  # fmt: skip
    return [_leg(row) for row in rows]


async def begin(tx: Transaction, leg: LegId) -> datetime | None:
    """A mark for `brought`; None when the leg has ended. It stays due until then, so that after a crash it is
    done again."""
    mark: datetime | None = await tx.fetchval(
        "SELECT next_attempt_at FROM leg WHERE id = $1 AND state <> 'ended'", leg
    )
    return mark


async def brought(tx: Transaction, leg: Leg, begun: datetime, *, again_in: float | None) -> None:
    """Done, or (`again_in` seconds) something has to wait for the outbox. Where the mark has moved, something
    was changed meanwhile: due at once."""
    await tx.execute(
        "UPDATE leg SET attempts = 0, error = NULL,"
        " seats_due = next_attempt_at <> $3 OR $2::float8 IS NOT NULL,"
        " next_attempt_at = CASE WHEN next_attempt_at <> $3 THEN now()"
        " ELSE now() + make_interval(secs => coalesce($2::float8, 0)) END WHERE id = $1",
        leg.id, again_in, begun,
    )  # fmt: skip
    await notify(tx, Notification(Change.CONVERSATION, leg.conversation_id))


async def is_wanted(tx: Transaction, leg: LegId) -> bool:
    return bool(await tx.fetchval("SELECT state = 'wanted' FROM leg WHERE id = $1", leg))


async def seats(tx: Transaction, leg: LegId) -> list[Seat]:
    """The assistant first."""
    rows = await tx.fetch(
        "SELECT o.puppet_id, o.person_id, o.joined_at, o.leaving, p.display_name_set FROM occupant o"
        " JOIN puppet p ON p.id = o.puppet_id WHERE o.leg_id = $1 ORDER BY p.kind <> 'assistant', p.user_id",
        leg,
    )
    found = {puppet.id: puppet for puppet in await puppets.of_leg(tx, leg)}
    return [Seat(found[row["puppet_id"]], *row[1:]) for row in rows]


async def unseat(tx: Transaction, leg: LegId, puppet: UUID) -> None:
    """They are out of the room; unless they were given the seat again meanwhile."""
    await tx.execute("DELETE FROM occupant WHERE leg_id = $1 AND puppet_id = $2 AND leaving", leg, puppet)
    await tx.execute(
        "WITH again AS (UPDATE occupant SET joined_at = NULL WHERE leg_id = $1 AND puppet_id = $2"
        " RETURNING leg_id) UPDATE leg SET seats_due = true, next_attempt_at = now() FROM again"
        " WHERE leg.id = again.leg_id",
        leg, puppet,
    )  # fmt: skip


async def is_frozen(tx: Transaction, leg: LegId) -> bool:
    return bool(await tx.fetchval("SELECT frozen_at IS NOT NULL FROM leg WHERE id = $1", leg))


async def set_room(tx: Transaction, leg: LegId, room_id: str) -> None:
    await tx.execute("UPDATE leg SET room_id = $2 WHERE id = $1 AND room_id IS NULL", leg, room_id)


async def set_joined(tx: Transaction, leg: LegId, puppets: Collection[UUID]) -> None:
    await tx.execute(
        "UPDATE occupant SET joined_at = now() WHERE leg_id = $1 AND puppet_id = ANY($2)", leg, list(puppets)
    )


async def set_open(tx: Transaction, leg: Leg) -> None:
    await tx.execute(
        "UPDATE leg SET state = 'open', attempts = 0, error = NULL WHERE id = $1 AND state = 'wanted'", leg.id
    )
    await notify(tx, Notification(Change.CONVERSATION, leg.conversation_id))


async def failed(tx: Transaction, leg: LegId, error: str, pause_seconds: float) -> None:
    """Not this time; again after the pause."""
    await tx.execute(
        "UPDATE leg SET attempts = attempts + 1, error = $2, seats_due = state <> 'wanted',"
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


async def hears_unverified(tx: Transaction, leg: LegId, device_id: str) -> bool:
    """A device speaks there that its owner's identity hasn't signed; True the first time."""
    first = await tx.fetchval(
        "INSERT INTO unverified_told (leg_id, device_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        " RETURNING true",
        leg, device_id,
    )  # fmt: skip
    return first is True


async def of_users(tx: Transaction, user_ids: Collection[str]) -> list[Leg]:
    rows = await tx.fetch(_SELECT + " WHERE l.user_id = ANY($1) AND l.state <> 'ended'", list(user_ids))
    return [_leg(row) for row in rows]


async def open_organised_by(tx: Transaction, person: PersonId) -> list[Leg]:
    rows = await tx.fetch(_SELECT + " WHERE c.organiser_id = $1 AND l.state = 'open'", person)
    return [_leg(row) for row in rows]


async def held_users(tx: Transaction) -> list[str]:
    rows = await tx.fetch("SELECT DISTINCT user_id FROM leg WHERE hold IS NOT NULL AND state <> 'ended'")
    return [row["user_id"] for row in rows]


async def held_with_devices(tx: Transaction) -> list[str]:
    """Whose legs wait for a device although they have one: its signature may still have been on its way."""
    rows = await tx.fetch(
        "SELECT DISTINCT l.user_id FROM leg l JOIN crypto_device d ON d.user_id = l.user_id AND NOT d.gone"
        " WHERE l.hold = 'no_device' AND l.state <> 'ended'"
    )
    return [row["user_id"] for row in rows]
