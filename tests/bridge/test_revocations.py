"""Taking a leg back, as far as the database goes: who sees it, what is counted, what is recorded once."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from bridge import audit, participants, revocations, roster
from bridge.database import Pool, transaction
from bridge.errors import NotAllowed, NotFound
from bridge.revocations import Work
from policies.removal import Parting, Progress, Step
from policies.vocabulary import ConversationId, ConversationKind, LegId, Person, Role
from tests.bridge.test_rosters import KEYS, NOW, Practice
from tests.support.people import make


class Removal:
    """A group of three, one of whom was removed from a room that was made."""

    def __init__(self, practice: Practice, group: ConversationId) -> None:
        self.practice, self.group, self.pool = practice, group, practice.pool

    @classmethod
    async def of_one(cls, pool: Pool, *, made: bool = True) -> "Removal":
        practice = await Practice.with_clients(pool, "Amina", "Adam", "Jane")
        removal = cls(practice, await practice.group())
        if made:
            await pool.execute("UPDATE leg SET room_id = '!' || id, state = 'open', hold = NULL")
        await removal.remove(practice.clients[0])
        return removal

    async def remove(self, client: Person) -> None:
        async with transaction(self.pool) as tx:
            await roster.remove(
                tx, KEYS, actor=self.practice.therapist.id, conversation=self.group, person=client.id, at=NOW
            )

    async def work(self) -> Work:
        async with transaction(self.pool) as tx:
            return await revocations.load(tx, await self._leg(self.practice.clients[0]))

    async def _leg(self, client: Person) -> LegId:
        found = await self.pool.fetchval(
            "SELECT l.id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.person_id = $1"
            " AND l.conversation_id = $2",
            client.id, self.group,
        )  # fmt: skip
        return LegId(found)

    async def do(self, act: Any, *args: Any, **given: Any) -> Any:
        work = await self.work()
        async with transaction(self.pool) as tx:
            return await act(tx, work, *args, **given)

    async def put_out(self, devices: int | None = None) -> None:
        await self.do(revocations.leave)
        await self.do(
            revocations.parted, Parting.PUT_OUT, at=NOW, patience=timedelta(days=7), devices=devices
        )

    async def told(self) -> Progress:
        """What the members panel has."""
        async with transaction(self.pool) as tx:
            found = await revocations.of_conversation(tx, self.practice.therapist.id, self.group)
        return found[0].progress

    async def counts(self) -> tuple[int | None, int]:
        progress = (await self.work()).progress
        return progress.events, progress.redacted


async def test_nobody_outside_and_no_client_sees_who_was_removed(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    removed, other, _ = removal.practice.clients
    async with transaction(pool) as tx:
        outsider = await make(tx, KEYS, Role.THERAPIST, "Omar", "Ali", email="omar@ruh.test")
        for nobody in (removed, outsider):
            with pytest.raises(NotFound):
                await revocations.of_conversation(tx, nobody.id, removal.group)
        with pytest.raises(NotAllowed):
            await revocations.of_conversation(tx, other.id, removal.group)


async def test_the_panel_tells_how_far_it_is(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    assert await removal.told() == Progress(Step.REDACT)
    await removal.do(revocations.counted, 240, "newest")
    await removal.do(revocations.went_back, 40, "older")
    assert await removal.told() == Progress(Step.REDACT, events=240, redacted=40)
    await removal.do(revocations.went_back, 200, None)
    await removal.put_out()
    await removal.do(revocations.still_waiting, 2, timedelta(seconds=20))
    told = await removal.told()
    assert (told.step, told.redacted, told.devices_waiting) == (Step.WAIT, 240, 2)


async def test_after_a_crash_the_room_is_the_truth(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    await removal.do(revocations.counted, 240, "newest")
    await removal.do(revocations.went_back, 40, "older")
    # Thirty more were redacted and not noted.
    await removal.do(revocations.counted, 170, "newest")
    assert await removal.counts() == (240, 70)


async def test_what_the_client_wrote_meanwhile_is_counted_too(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    await removal.do(revocations.counted, 3, "newest")
    await removal.do(revocations.went_back, 3, None)
    await removal.do(revocations.counted, 2, "newest")
    assert await removal.counts() == (5, 3)
    await removal.do(revocations.went_back, 2, None)
    await removal.do(revocations.swept, 1)
    assert await removal.counts() == (6, 6)


async def test_a_step_is_left_once_and_recorded_once(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    work = await removal.work()
    for _ in range(2):
        async with transaction(pool) as tx:
            await revocations.leave(tx, work)
    assert (await removal.work()).step is Step.KICK
    async with transaction(pool) as tx:
        rows = await audit.page(tx, conversation=removal.group, action=audit.Did.REVOKED)
    assert [(row.subject_id, row.detail["step"]) for row in rows] == [
        (removal.practice.clients[0].id, "redact")
    ]


async def test_waiting_ends_at_the_deadline_that_was_set_with_the_leaving(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    await removal.put_out()
    progress = (await removal.work()).progress
    assert (progress.step, progress.kicked_at, progress.wait_until) == (
        Step.WAIT, NOW, NOW + timedelta(days=7),
    )  # fmt: skip


async def test_a_file_that_stands_in_another_leg_stays(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    leg, other = [await removal._leg(client) for client in removal.practice.clients[:2]]
    async with transaction(pool) as tx:
        await revocations.remember_media(tx, leg, ["mxc://ruh.test/own", "mxc://ruh.test/shared"])
        await revocations.remember_media(tx, leg, ["mxc://ruh.test/own"])
        await revocations.remember_media(tx, other, ["mxc://ruh.test/shared"])
    assert await removal.do(revocations.media_left) == ["mxc://ruh.test/own"]
    await removal.remove(removal.practice.clients[1])
    assert len(await removal.do(revocations.media_left)) == 2


async def test_a_file_is_counted_once(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    async with transaction(pool) as tx:
        await revocations.remember_media(tx, (await removal.work()).leg_id, ["mxc://ruh.test/own"])
    for _ in range(2):
        await removal.do(revocations.media_deleted, "mxc://ruh.test/own")
    assert (await removal.work()).progress.media_deleted == 1
    assert await removal.do(revocations.media_left) == []


async def test_two_who_remove_the_same_person_at_once_remove_them_once(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam", "Jane")
    removal = Removal(practice, await practice.group())
    outcomes = await asyncio.gather(
        *(removal.remove(practice.clients[0]) for _ in range(2)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, NotAllowed)]
    assert [error.code for error in refused] == ["not_in"]
    assert await pool.fetchval("SELECT count(*) FROM revocation") == 1


async def test_somebody_back_has_a_leg_of_their_own_and_the_old_one_goes_on(pool: Pool) -> None:
    removal = await Removal.of_one(pool)
    back, old = removal.practice.clients[0], (await removal.work()).leg_id
    async with transaction(pool) as tx:
        await roster.add(
            tx, KEYS, actor=removal.practice.therapist.id, conversation=removal.group, person=back.id,
            told=True, at=NOW,
        )  # fmt: skip
    legs = await pool.fetch(
        "SELECT l.id, l.state, l.room_id FROM leg l JOIN member m ON m.id = l.member_id"
        " WHERE m.person_id = $1 AND l.conversation_id = $2",
        back.id, removal.group,
    )  # fmt: skip
    new = [leg for leg in legs if leg["id"] != old]
    assert [(leg["state"], leg["room_id"]) for leg in new] == [("wanted", None)]
    async with transaction(pool) as tx:
        assert await revocations.due(tx, 10) == [old]


class Left:
    """A client who left their one-to-one thread in their app."""

    def __init__(self, pool: Pool, therapist: Person, client: Person, thread: ConversationId) -> None:
        self.pool, self.therapist, self.client, self.thread = pool, therapist, client, thread

    @classmethod
    async def made(cls, pool: Pool) -> "Left":
        practice = await Practice.with_clients(pool, "Amina")
        async with transaction(pool) as tx:
            thread = await roster.start(
                tx, KEYS, actor=practice.therapist.id, kind=ConversationKind.BLAST,
                others=[practice.clients[0].id], at=NOW,
            )  # fmt: skip
        await pool.execute("UPDATE leg SET room_id = '!' || id, state = 'open', hold = 'left'")
        return cls(pool, practice.therapist, practice.clients[0], thread)

    async def invite(self, actor: Person) -> None:
        async with transaction(self.pool) as tx:
            await participants.invite_again(
                tx, KEYS, actor=actor.id, conversation=self.thread, person=self.client.id, at=NOW
            )

    async def state(self) -> str:
        return str(await self.pool.fetchval("SELECT state FROM leg WHERE conversation_id = $1", self.thread))


async def test_who_left_their_thread_is_asked_back_into_the_same_room(pool: Pool) -> None:
    left = await Left.made(pool)
    await left.invite(left.therapist)
    assert await left.state() == "wanted"
    with pytest.raises(NotAllowed):
        await left.invite(left.therapist)


async def test_only_the_organiser_asks_them_back_and_only_who_left(pool: Pool) -> None:
    left = await Left.made(pool)
    async with transaction(pool) as tx:
        outsider = await make(tx, KEYS, Role.THERAPIST, email=uuid4().hex)
    with pytest.raises(NotFound):
        await left.invite(outsider)
    with pytest.raises(NotAllowed):
        await left.invite(left.client)
    await pool.execute("UPDATE leg SET hold = NULL")
    with pytest.raises(NotAllowed):
        await left.invite(left.therapist)
    assert await left.state() == "open"
