"""Bookings: whatever is reported, however often, a pair gets one thread and one welcome (P4, P8)."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from bridge import bookings, chat_settings, legs, messages, participants, people, timeline
from bridge.bookings import Outcome
from bridge.database import Pool, transaction
from bridge.errors import BookingConflict, Invalid, NotAllowed, PersonUnknown
from policies.chat_settings import Level, Switch
from policies.content import Text
from policies.vocabulary import Person, PersonId, PersonStatus, Role
from tests.support.people import keyring, make, pair

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


async def report(
    pool: Pool, therapist: Person, client: Person, booking: str = "b1", /, **changes: object
) -> Outcome:
    given: dict[str, object] = {
        "platform_booking_id": booking,
        "client": client.id,
        "therapist": therapist.id,
        "starts_at": NOW,
        "practice": "Ruh",
        "at": NOW,
    }
    async with transaction(pool) as tx:
        return await bookings.report(tx, KEYS, **(given | changes))  # type: ignore[arg-type]


async def said(pool: Pool, reader: Person, outcome: Outcome) -> list[str]:
    async with transaction(pool) as tx:
        page = await timeline.page(tx, KEYS, reader.id, outcome.conversation_id)
    return [line.content.body for line in page.lines if isinstance(line.content, Text)]


async def test_the_first_booking_opens_the_thread_and_says_hello(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    outcome = await report(pool, therapist, client)
    assert (outcome.new_booking, outcome.opened, outcome.welcomed) == (True, True, True)
    (welcome,) = await said(pool, therapist, outcome)
    assert "Amina" in welcome
    assert "Dr. Sara Khan" in welcome


async def test_the_welcome_is_the_therapists_and_goes_to_the_client(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    await report(pool, therapist, client)
    entry = await pool.fetchrow("SELECT author_id, automatic, kind FROM entry")
    assert tuple(entry) == (therapist.id, "welcome", "message")
    assert await pool.fetchval("SELECT count(*) FROM delivery WHERE state = 'pending'") == 1


async def test_a_therapists_own_welcome_is_the_one_that_is_sent(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        await people.set_welcome(tx, KEYS, therapist.id, "Salam {client.first_name|there}!")
    outcome = await report(pool, therapist, client)
    assert await said(pool, therapist, outcome) == ["Salam Amina!"]


async def test_the_same_booking_again_changes_nothing(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    first = await report(pool, therapist, client)
    again = await report(pool, therapist, client)
    assert again == Outcome(first.conversation_id, new_booking=False, opened=False, welcomed=False)
    assert len(await said(pool, therapist, first)) == 1


async def test_a_second_booking_says_hello_no_second_time(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    first = await report(pool, therapist, client, "b1")
    second = await report(pool, therapist, client, "b2")
    assert second == Outcome(first.conversation_id, new_booking=True, opened=False, welcomed=False)


async def test_another_therapist_says_hello_too(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        other = await make(tx, KEYS, Role.THERAPIST, "Ben", email="ben@ruh.test")
    first = await report(pool, therapist, client, "b1")
    second = await report(pool, other, client, "b2")
    assert second.welcomed
    assert second.conversation_id != first.conversation_id


@pytest.mark.parametrize("ids", [["b1"] * 8, [f"b{n}" for n in range(8)]], ids=["same id", "many ids"])
async def test_bookings_at_the_same_instant_make_one_thread_and_one_welcome(
    pool: Pool, ids: list[str]
) -> None:
    therapist, client = await pair(pool, KEYS)
    outcomes = await asyncio.gather(*(report(pool, therapist, client, booking) for booking in ids))
    assert len({outcome.conversation_id for outcome in outcomes}) == 1
    assert sum(outcome.opened for outcome in outcomes) == 1
    assert sum(outcome.welcomed for outcome in outcomes) == 1
    assert sum(outcome.new_booking for outcome in outcomes) == len(set(ids))
    assert len(await said(pool, therapist, outcomes[0])) == 1
    assert await pool.fetchval("SELECT count(*) FROM leg") == 1


async def test_one_client_booked_with_many_therapists_at_once_does_not_deadlock(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        others = [await make(tx, KEYS, Role.THERAPIST, email=f"t{n}@ruh.test") for n in range(6)]
        await people.update(tx, KEYS, client.id, status=PersonStatus.ARCHIVED)
    outcomes = await asyncio.gather(*(report(pool, other, client, str(uuid4())) for other in others))
    assert all(outcome.opened and outcome.welcomed for outcome in outcomes)


async def test_a_booking_id_belongs_to_its_pair(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        other = await make(tx, KEYS, first="Adam")
    await report(pool, therapist, client)
    with pytest.raises(BookingConflict):
        await report(pool, therapist, other)
    assert await pool.fetchval("SELECT count(*) FROM conversation WHERE kind = 'direct'") == 1


async def test_a_moved_booking_keeps_its_new_time(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    later = datetime(2026, 12, 1, 9, tzinfo=UTC)
    await report(pool, therapist, client)
    await report(pool, therapist, client, starts_at=later)
    await report(pool, therapist, client, starts_at=None)
    assert await pool.fetchval("SELECT starts_at FROM booking") == later


async def test_a_new_booking_makes_an_archived_client_active_and_an_old_one_does_not(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)

    async def status_after(booking: str) -> PersonStatus:
        async with transaction(pool) as tx:
            await people.update(tx, KEYS, client.id, status=PersonStatus.ARCHIVED)
        await report(pool, therapist, client, booking)
        async with transaction(pool) as tx:
            return (await people.get(tx, KEYS, client.id)).status

    assert await status_after("b1") is PersonStatus.ACTIVE
    assert await status_after("b1") is PersonStatus.ARCHIVED
    assert await status_after("b2") is PersonStatus.ACTIVE


async def test_a_thread_from_before_the_booking_is_kept_and_gets_its_welcome_once(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        conversation, _ = await participants.open_direct(
            tx, KEYS, therapist=therapist.id, client=client.id, at=NOW
        )
        await messages.post(
            tx, KEYS, author=therapist.id, conversation=conversation, content=Text("Hello Amina"), at=NOW
        )
    outcome = await report(pool, therapist, client)
    assert (outcome.conversation_id, outcome.opened, outcome.welcomed) == (conversation, False, True)
    assert not (await report(pool, therapist, client, "b2")).welcomed


async def test_a_booking_in_a_closed_thread_is_kept_without_a_welcome(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        await participants.open_direct(tx, KEYS, therapist=therapist.id, client=client.id, at=NOW)
        await tx.execute("UPDATE conversation SET closed_at = now()")
    outcome = await report(pool, therapist, client)
    assert (outcome.new_booking, outcome.welcomed) == (True, False)


async def test_a_booking_is_between_a_client_and_a_therapist(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    with pytest.raises(Invalid):
        await report(pool, client, client)
    with pytest.raises(Invalid):
        await report(pool, therapist, therapist)
    with pytest.raises(PersonUnknown):
        await report(pool, therapist, client, client=PersonId(uuid4()))
    assert await pool.fetchval("SELECT count(*) FROM booking") == 0


async def switch(pool: Pool, client: Person, on: bool | None) -> None:
    async with transaction(pool) as tx:
        await chat_settings.change(
            tx, actor=client.id, switch=Switch.DIRECT_MESSAGING, level=Level.CLIENT, subject=client.id, on=on
        )


async def legs_due(pool: Pool) -> int:
    await pool.execute("UPDATE account SET state = 'made'")
    async with transaction(pool) as tx:
        return len(await legs.due(tx))


async def test_with_direct_messaging_off_the_thread_is_made_and_nothing_is_said(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    await switch(pool, client, on=False)
    outcome = await report(pool, therapist, client)
    assert (outcome.new_booking, outcome.opened, outcome.welcomed) == (True, True, False)
    assert await said(pool, therapist, outcome) == []
    assert await pool.fetchval("SELECT count(*) FROM delivery") == 0
    assert await legs_due(pool) == 0, "a room would be news too"
    again = await report(pool, therapist, client)
    assert again == Outcome(outcome.conversation_id, new_booking=False, opened=False, welcomed=False)


async def test_nothing_is_lost_when_direct_messaging_is_switched_on_later(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    await switch(pool, client, on=False)
    first = await report(pool, therapist, client, "b1")
    await switch(pool, client, on=None)
    assert await legs_due(pool) == 1
    second = await report(pool, therapist, client, "b2")
    assert second == Outcome(first.conversation_id, new_booking=True, opened=False, welcomed=True)
    assert len(await said(pool, therapist, second)) == 1
    assert await pool.fetchval("SELECT count(*) FROM delivery WHERE state = 'pending'") == 1


async def test_staff_open_no_thread_with_a_client_whose_direct_messaging_is_off(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    await switch(pool, client, on=False)
    pair_of = {"therapist": therapist.id, "client": client.id, "at": NOW}
    with pytest.raises(NotAllowed, match="Amina’s direct messaging is off"):
        async with transaction(pool) as tx:
            await participants.open_direct(tx, KEYS, **pair_of)
    booked = await report(pool, therapist, client)
    async with transaction(pool) as tx:
        found = await participants.open_direct(tx, KEYS, **pair_of)
    assert found == (booked.conversation_id, False), "the one that is there can be read"


async def test_a_booking_is_nobodys_act_in_the_audit_trail(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    booked = await report(pool, therapist, client)
    started = await pool.fetchrow(
        "SELECT actor_id FROM audit WHERE action = 'started' AND conversation_id = $1", booked.conversation_id
    )
    assert started["actor_id"] is None
