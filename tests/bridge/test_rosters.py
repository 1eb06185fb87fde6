"""Rosters, chat settings and blasts, as far as the database goes."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from bridge import blasts, bookings, chat_settings, client_groups, journal, messages, roster, timeline
from bridge.database import Pool, transaction
from bridge.errors import NotAllowed, NotFound
from policies.chat_settings import Level, Switch
from policies.content import Notice, Text
from policies.membership import MAX_MASKS_AT_ONCE
from policies.vocabulary import ConversationId, ConversationKind, Person, PersonId, Role
from tests.support.people import keyring, make

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


class Practice:
    """A therapist with clients whom they know."""

    def __init__(self, pool: Pool, therapist: Person, clients: list[Person]) -> None:
        self.pool, self.therapist, self.clients = pool, therapist, clients

    @classmethod
    async def with_clients(cls, pool: Pool, *first_names: str) -> "Practice":
        async with transaction(pool) as tx:
            therapist = await make(tx, KEYS, Role.THERAPIST, "Sara", "Khan", email=f"{uuid4().hex}@ruh.test")
            clients = [await make(tx, KEYS, Role.CLIENT, name, "Doe") for name in first_names]
            for client in clients:
                await bookings.report(
                    tx, KEYS, platform_booking_id=uuid4().hex, client=client.id, therapist=therapist.id,
                    starts_at=None, practice="Ruh", at=NOW,
                )  # fmt: skip
        return cls(pool, therapist, clients)

    async def group(self) -> ConversationId:
        async with transaction(self.pool) as tx:
            return await roster.start(
                tx, KEYS, actor=self.therapist.id, kind=ConversationKind.COMMUNITY,
                others=[client.id for client in self.clients], told=True, at=NOW,
            )  # fmt: skip

    async def post(self, author: Person, conversation: ConversationId, text: str) -> messages.Posted:
        async with transaction(self.pool) as tx:
            return await messages.post(
                tx, KEYS, author=author.id, conversation=conversation, content=Text(text), at=NOW
            )

    async def reads(self, reader: Person, conversation: ConversationId) -> list[str]:
        async with transaction(self.pool) as tx:
            page = await timeline.page(tx, KEYS, reader.id, conversation)
        return [line.content.body for line in page.lines if isinstance(line.content, Text)]

    async def switch(self, switch: Switch, level: Level, subject: PersonId | None, on: bool | None) -> None:
        async with transaction(self.pool) as tx:
            await chat_settings.change(
                tx, actor=self.therapist.id, switch=switch, level=level, subject=subject, on=on
            )

    async def deliveries(self, posted: messages.Posted) -> set[PersonId]:
        rows = await self.pool.fetch(
            "SELECT m.person_id FROM delivery d JOIN leg l ON l.id = d.leg_id"
            " JOIN member m ON m.id = l.member_id WHERE d.entry_id = $1 AND d.state = 'pending'",
            posted.entry_id,
        )
        return {PersonId(row["person_id"]) for row in rows}


async def test_nothing_more_goes_to_who_was_removed(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam", "Jane")
    amina, adam, jane = practice.clients
    group = await practice.group()
    before = await practice.post(practice.therapist, group, "before")
    async with transaction(pool) as tx:
        await roster.remove(tx, KEYS, actor=practice.therapist.id, conversation=group, person=adam.id, at=NOW)
    after = await practice.post(practice.therapist, group, "after")
    assert await practice.deliveries(before) == {amina.id, jane.id}
    assert await practice.deliveries(after) == {amina.id, jane.id}
    with pytest.raises(NotFound):
        await practice.reads(adam, group)
    assert await pool.fetchval("SELECT count(*) FROM revocation WHERE person_id = $1", adam.id) == 1


async def test_somebody_added_reads_what_is_said_from_then_on(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam")
    group = await practice.group()
    await practice.post(practice.therapist, group, "before")
    async with transaction(pool) as tx:
        late = await make(tx, KEYS, Role.CLIENT, "Late", "Doe")
        await roster.add(
            tx, KEYS, actor=practice.therapist.id, conversation=group, person=late.id, told=True, at=NOW
        )
    posted = await practice.post(practice.therapist, group, "after")
    assert await practice.reads(late, group) == ["after"]
    assert late.id in await practice.deliveries(posted)


async def told_the_roster(pool: Pool, conversation: ConversationId) -> list[set[UUID]]:
    """Whom each notice of it goes to, in order."""
    rows = await pool.fetch(
        "SELECT e.id, e.sealed FROM entry e WHERE conversation_id = $1 AND kind = 'notice' ORDER BY seq",
        conversation,
    )
    wrapped = await pool.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", conversation)
    key = KEYS.unwrap(wrapped, str(conversation))
    told = []
    for row in rows:
        content = journal.unseal(key, conversation, row["id"], row["sealed"])
        if isinstance(content, Notice) and content.code == "roster":
            found = await pool.fetch(
                "SELECT m.person_id FROM delivery d JOIN leg l ON l.id = d.leg_id"
                " JOIN member m ON m.id = l.member_id WHERE d.entry_id = $1", row["id"],
            )  # fmt: skip
            assert len(content.params["people"]) > MAX_MASKS_AT_ONCE
            told.append({member["person_id"] for member in found})
    return told


async def test_in_a_large_group_everybody_is_told_who_is_in_it(pool: Pool) -> None:
    """Their masks come only when they speak."""
    practice = await Practice.with_clients(pool, *(f"N{n}" for n in range(MAX_MASKS_AT_ONCE + 1)))
    *first, last = practice.clients
    practice.clients = first
    conversation = await practice.group()
    assert await told_the_roster(pool, conversation) == []
    async with transaction(pool) as tx:
        await roster.add(
            tx,
            KEYS,
            actor=practice.therapist.id,
            conversation=conversation,
            person=last.id,
            at=NOW,
            told=True,
        )
    assert await told_the_roster(pool, conversation) == [{last.id}]
    practice.clients = [*first, last]
    assert await told_the_roster(pool, await practice.group()) == [{client.id for client in practice.clients}]


async def test_only_the_organiser_changes_the_roster(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam")
    group = await practice.group()
    with pytest.raises(NotAllowed):
        async with transaction(pool) as tx:
            await roster.remove(
                tx,
                KEYS,
                actor=practice.clients[0].id,
                conversation=group,
                person=practice.clients[1].id,
                at=NOW,
            )


async def test_a_client_whose_community_chat_is_off_gets_nothing_new_and_is_told(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam")
    amina, adam = practice.clients
    group = await practice.group()
    await practice.switch(Switch.COMMUNITY_CHAT, Level.CLIENT, adam.id, False)
    assert await practice.deliveries(await practice.post(practice.therapist, group, "hello")) == {amina.id}
    with pytest.raises(NotAllowed, match="switched off"):
        await practice.post(adam, group, "can you hear me?")
    await practice.switch(Switch.COMMUNITY_CHAT, Level.CLIENT, adam.id, None)
    posted = await practice.post(practice.therapist, group, "again")
    assert await practice.deliveries(posted) == {amina.id, adam.id}


async def test_whose_chat_is_off_is_named_and_not_added(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam")
    group, (_, adam) = await practice.group(), practice.clients
    async with transaction(pool) as tx:
        await roster.remove(tx, KEYS, actor=practice.therapist.id, conversation=group, person=adam.id, at=NOW)
    await practice.switch(Switch.COMMUNITY_CHAT, Level.CLIENT, adam.id, False)
    with pytest.raises(NotAllowed, match="Adam’s community chat is off"):
        await practice.group()
    with pytest.raises(NotAllowed, match="Adam’s community chat is off"):
        async with transaction(pool) as tx:
            await roster.add(
                tx, KEYS, actor=practice.therapist.id, conversation=group, person=adam.id, told=True, at=NOW
            )


async def test_what_is_taken_back_goes_from_those_too_whose_chat_is_off(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam")
    group, (amina, adam) = await practice.group(), practice.clients
    said = await practice.post(practice.therapist, group, "a mistake")
    await pool.execute("UPDATE delivery SET state = 'sent', event_id = '$' || id WHERE state = 'pending'")
    await practice.switch(Switch.COMMUNITY_CHAT, Level.CLIENT, adam.id, False)
    async with transaction(pool) as tx:
        gone = await messages.delete(
            tx, KEYS, author=practice.therapist.id, conversation=group, entry=said.entry_id, at=NOW
        )
    assert gone is not None
    assert await practice.deliveries(gone) == {amina.id, adam.id}


async def test_a_leg_that_opens_while_a_setting_changes_obeys_it(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam")
    async with pool.acquire() as connection:
        opening = connection.transaction()
        await opening.start()
        await roster.start(
            connection, KEYS, actor=practice.therapist.id, kind=ConversationKind.COMMUNITY,
            others=[client.id for client in practice.clients], told=True, at=NOW,
        )  # fmt: skip
        switched = asyncio.create_task(practice.switch(Switch.COMMUNITY_CHAT, Level.EVERYONE, None, False))
        assert not (await asyncio.wait([switched], timeout=0.2))[0], "it waits for who opens a leg"
        await opening.commit()
        await switched
    silenced = "SELECT bool_and(silenced) FROM leg JOIN conversation c ON c.id = conversation_id"
    assert await pool.fetchval(silenced + " WHERE c.kind = 'community'")


async def test_the_nearest_setting_wins(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam")
    amina, adam = practice.clients
    async with transaction(pool) as tx:
        evening, _ = await client_groups.put(tx, KEYS, platform_id="g1", name="Evening")
        await client_groups.set_members(tx, evening, [amina.id])
    await practice.switch(Switch.DIRECT_MESSAGING, Level.EVERYONE, None, False)
    await practice.switch(Switch.DIRECT_MESSAGING, Level.GROUP, PersonId(evening), True)
    async with transaction(pool) as tx:
        refused = await chat_settings.barred(tx, KEYS, [amina.id, adam.id], ConversationKind.DIRECT)
    assert set(refused) == {adam.id}
    assert refused[adam.id].words == "Adam’s direct messaging is off for everyone."


async def _carry(pool: Pool, times: int = 100) -> None:
    for _ in range(times):
        async with transaction(pool) as tx:
            if not await blasts.next_recipient(tx, KEYS, at=NOW):
                return


async def test_a_blast_gives_each_client_a_thread_of_their_own(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam", "Jane")
    amina, adam, jane = practice.clients
    await practice.switch(Switch.DIRECT_MESSAGING, Level.CLIENT, jane.id, False)
    async with transaction(pool) as tx:
        blast = await blasts.send(
            tx, KEYS, actor=practice.therapist.id, clients=[amina.id, adam.id, jane.id],
            content=Text("Holidays"), title="Summer", at=NOW, request_id=uuid4(),
        )  # fmt: skip
    await _carry(pool)
    async with transaction(pool) as tx:
        seen = await blasts.of(tx, KEYS, actor=practice.therapist.id, blast=blast)
    assert [(r.client, r.state, r.reason) for r in seen.recipients] == [
        (amina.id, "started", None), (adam.id, "started", None), (jane.id, "skipped", "chat_off"),
    ]  # fmt: skip
    assert seen.state == "done"
    assert await practice.reads(amina, seen.recipients[0].conversation_id) == ["Holidays"]  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await practice.reads(adam, seen.recipients[0].conversation_id)  # type: ignore[arg-type]


async def test_a_stopped_blast_reaches_nobody_more(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina", "Adam", "Jane")
    async with transaction(pool) as tx:
        blast = await blasts.send(
            tx, KEYS, actor=practice.therapist.id, clients=[c.id for c in practice.clients],
            content=Text("Holidays"), at=NOW,
        )  # fmt: skip
    await _carry(pool, times=1)
    async with transaction(pool) as tx:
        assert await blasts.stop(tx, actor=practice.therapist.id, blast=blast, at=NOW) == 2
    await _carry(pool)
    assert await pool.fetchval("SELECT count(*) FROM conversation WHERE blast_id = $1", blast) == 1


async def test_the_same_act_of_sending_is_one_blast(pool: Pool) -> None:
    practice = await Practice.with_clients(pool, "Amina")
    request, clients, made = uuid4(), [practice.clients[0].id], set()
    for _ in range(2):
        async with transaction(pool) as tx:
            made.add(
                await blasts.send(
                    tx,
                    KEYS,
                    actor=practice.therapist.id,
                    clients=clients,
                    content=Text("Holidays"),
                    at=NOW,
                    request_id=request,
                )
            )
    assert len(made) == 1
    assert await pool.fetchval("SELECT count(*) FROM blast_recipient") == 1
