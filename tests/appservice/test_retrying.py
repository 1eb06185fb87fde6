"""What could not be read is tried again, less and less often, and at some time no more."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from appservice import receive, sync
from appservice.context import Context
from appservice.crypto.errors import DecryptionError, MissingSession, Replayed
from bridge import legs, parked, participants, roster
from bridge.database import Pool, Transaction, transaction
from bridge.legs import Leg
from bridge.parked import Parked
from policies.vocabulary import RoomId
from tests.support.people import SERVER_NAME, keyring, pair

ROOM = RoomId("!room:ruh.test")


@dataclass
class UnreadableTo:
    """A machine that opens nothing, for this reason."""

    reason: DecryptionError

    async def decrypt_event(self, tx: Transaction, room_id: str, event: Any) -> None:
        raise self.reason


def context(pool: Pool, reason: DecryptionError) -> Context:
    nobody = cast(Any, None)
    return Context(pool, keyring(), nobody, cast(Any, UnreadableTo(reason)), nobody, SERVER_NAME)


async def a_leg(pool: Pool) -> Leg:
    therapist, client = await pair(pool, keyring())
    async with transaction(pool) as tx:
        conversation, _ = await participants.open_direct(
            tx, keyring(), therapist=therapist.id, client=client.id, at=datetime.now(UTC)
        )
        leg = await tx.fetchval("SELECT id FROM leg WHERE conversation_id = $1", conversation)
        await legs.set_room(tx, leg, ROOM)
        return await legs.get(tx, leg)


async def parked_event(pool: Pool, reason: DecryptionError) -> Parked:
    leg = await a_leg(pool)
    event = {"event_id": "$1", "sender": leg.user_id, "type": "m.room.encrypted", "content": {"x": 1}}
    async with transaction(pool) as tx:
        await receive.take(tx, context(pool, reason), leg, event)
        found = await parked.one(tx, ROOM, "$1")
    assert found is not None
    return found


async def due_in(pool: Pool) -> timedelta | None:
    found: timedelta | None = await pool.fetchval("SELECT next_attempt_at - now() FROM parked_event")
    return found


async def test_a_missing_key_is_looked_for_again_after_the_pause(pool: Pool) -> None:
    event = await parked_event(pool, MissingSession())
    async with transaction(pool) as tx:
        assert not await sync.retry(tx, context(pool, MissingSession()), event, 600)
    due = await due_in(pool)
    assert due is not None
    assert timedelta(minutes=9) < due <= timedelta(minutes=10)


async def test_after_the_last_pause_it_is_left_alone(pool: Pool) -> None:
    event = await parked_event(pool, MissingSession())
    async with transaction(pool) as tx:
        assert not await sync.retry(tx, context(pool, MissingSession()), event, None)
    assert await due_in(pool) is None


@pytest.mark.parametrize("pause", [600.0, None])
async def test_what_can_not_get_better_is_not_tried_again(pool: Pool, pause: float | None) -> None:
    event = await parked_event(pool, Replayed())
    assert await due_in(pool) is None
    async with transaction(pool) as tx:
        assert not await sync.retry(tx, context(pool, Replayed()), event, pause)
    assert await due_in(pool) is None


async def test_somebody_removed_while_their_message_was_looked_for_stops_nothing(pool: Pool) -> None:
    """What is said of the message has nowhere to stand any more; the others' come next."""
    event = await parked_event(pool, MissingSession())
    async with transaction(pool) as tx:
        leg = (await legs.by_rooms(tx, [ROOM]))[ROOM]
        await roster.remove(
            tx, keyring(), actor=leg.organiser_id, conversation=leg.conversation_id, person=leg.person_id,
            at=datetime.now(UTC),
        )  # fmt: skip
        said = await pool.fetchval("SELECT last_seq FROM conversation")
        await receive.show_parked(tx, context(pool, MissingSession()), leg, event)
        assert await pool.fetchval("SELECT last_seq FROM conversation") == said
