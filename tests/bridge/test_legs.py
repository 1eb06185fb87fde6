"""A leg and its room find each other from the moment the room is known."""

from datetime import UTC, datetime
from uuid import UUID

from bridge import legs, participants
from bridge.database import Pool, Transaction, transaction
from policies.vocabulary import LegId
from tests.support.people import keyring, pair

ROOM = "!room:ruh.test"


async def a_leg(tx: Transaction, pool: Pool) -> LegId:
    """One whose room is made and whose id is stored, as after a crash before the last step."""
    therapist, client = await pair(pool, keyring())
    conversation, _ = await participants.open_direct(
        tx, keyring(), therapist=therapist.id, client=client.id, at=datetime.now(UTC)
    )
    found: UUID = await tx.fetchval("SELECT id FROM leg WHERE conversation_id = $1", conversation)
    await legs.set_room(tx, LegId(found), ROOM)
    return LegId(found)


async def test_what_a_client_says_in_a_room_that_is_still_being_made_is_heard(pool: Pool) -> None:
    async with transaction(pool) as tx:
        leg = await a_leg(tx, pool)
        assert (await legs.by_rooms(tx, [ROOM]))[ROOM].id == leg


async def test_a_leg_that_ended_hears_nothing_more(pool: Pool) -> None:
    async with transaction(pool) as tx:
        leg = await a_leg(tx, pool)
        await tx.execute("UPDATE leg SET state = 'ended' WHERE id = $1", leg)
        assert await legs.by_rooms(tx, [ROOM]) == {}
