"""Conversations among the team: one a pair, and each therapist's Client Care group that keeps itself (C1)."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge import client_care, conversations, messages, participants, people, roster
from bridge.database import Pool, transaction
from bridge.errors import NotAllowed, NotFound
from bridge.people import Kind
from policies.content import Text
from policies.vocabulary import ConversationId, Person, PersonStatus, Role
from tests.support.people import keyring, make

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


async def colleague(pool: Pool, first: str, role: Role = Role.TEAM_MEMBER) -> Person:
    async with transaction(pool) as tx:
        return await make(tx, KEYS, role, first, "Reed", email=f"{first.lower()}@ruh.test")


async def act(pool: Pool, use_case: Any, **given: Any) -> Any:
    async with transaction(pool) as tx:
        return await use_case(tx, KEYS, **given)


async def staff_chat(pool: Pool, actor: Person, *others: Person) -> tuple[ConversationId, bool]:
    opened: tuple[ConversationId, bool] = await act(
        pool, participants.open_staff, actor=actor.id, others=[other.id for other in others], at=NOW
    )
    return opened


async def listed(pool: Pool, reader: Person) -> dict[str, set[str]]:
    """Title → the others in it."""
    rows = await act(pool, conversations.list_for, actor=reader.id)
    return {row.title: {person.name.first for person in row.others} for row in rows}


async def test_two_colleagues_have_one_chat_whoever_opens_it(pool: Pool) -> None:
    tom, ida, eve = [await colleague(pool, name) for name in ("Tom", "Ida", "Eve")]
    opened = await asyncio.gather(*(staff_chat(pool, *pair) for pair in [(tom, ida), (ida, tom)] * 3))
    assert len({conversation for conversation, _ in opened}) == 1
    assert sum(fresh for _, fresh in opened) == 1
    several, _ = await staff_chat(pool, tom, ida, eve)
    assert await staff_chat(pool, tom, ida) == (opened[0][0], False)
    await act(pool, roster.remove, actor=tom.id, conversation=several, person=eve.id, at=NOW)
    assert await staff_chat(pool, ida, tom) == (opened[0][0], False), "the one of three is still another"
    await act(
        pool, roster.close, actor=(await organiser(pool, opened[0][0])), conversation=opened[0][0], at=NOW
    )
    assert (await staff_chat(pool, tom, ida))[1]


async def organiser(pool: Pool, conversation: ConversationId) -> Any:
    return await pool.fetchval("SELECT organiser_id FROM conversation WHERE id = $1", conversation)


async def test_a_staff_chat_stays_in_the_portal_and_among_its_people(pool: Pool) -> None:
    tom, ida, eve = [await colleague(pool, name) for name in ("Tom", "Ida", "Eve")]
    chat, _ = await staff_chat(pool, tom, ida)
    posted = await act(pool, messages.post, author=ida.id, conversation=chat, content=Text("Lunch?"), at=NOW)
    assert posted.fresh
    assert await listed(pool, tom) == {"Ida Reed": {"Ida"}}
    with pytest.raises(NotFound):
        await act(pool, messages.post, author=eve.id, conversation=chat, content=Text("Me too"), at=NOW)
    for table in ("leg", "puppet", "delivery"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_clients_and_archived_colleagues_are_not_brought_into_a_staff_chat(pool: Pool) -> None:
    tom, gone = await colleague(pool, "Tom"), await colleague(pool, "Gone")
    async with transaction(pool) as tx:
        client = await make(tx, KEYS)
        await people.update(tx, KEYS, gone.id, status=PersonStatus.ARCHIVED)
    for other, code in ((client, "staff_only"), (gone, "archived")):
        with pytest.raises(NotAllowed) as refused:
            await staff_chat(pool, tom, other)
        assert refused.value.code == code
    with pytest.raises(NotAllowed):
        await staff_chat(pool, client, tom)
    with pytest.raises(NotAllowed):
        await staff_chat(pool, tom, tom)
    assert await pool.fetchval("SELECT count(*) FROM conversation") == 0


async def test_new_offers_colleagues_too(pool: Pool) -> None:
    tom, ida = await colleague(pool, "Tom"), await colleague(pool, "Ida", Role.THERAPIST)
    async with transaction(pool) as tx:
        client = await make(tx, KEYS, first="Ines")
        both = await people.search(tx, KEYS, tom, "i", kinds=list(Kind))
        assert both == [ida, client]
        assert await people.search(tx, KEYS, tom, "i") == [client]
        assert await people.search(tx, KEYS, ida, "", kinds=[Kind.STAFF]) == [tom]
        assert await people.search(tx, KEYS, ida, "", kinds=list(Kind)) == [tom], "no booking with Ines"
        assert await people.search(tx, KEYS, client, "", kinds=list(Kind)) == []


async def test_a_therapist_comes_with_a_client_care_group(pool: Pool) -> None:
    maya = await colleague(pool, "Maya", Role.CLIENT_CARE)
    sara = await colleague(pool, "Sara", Role.THERAPIST)
    assert await listed(pool, sara) == {"Client Care": {"Maya"}}
    assert await listed(pool, maya) == {"Client Care: Sara Reed": {"Sara"}}
    group = await pool.fetchval("SELECT id FROM conversation")
    assert await organiser(pool, group) == sara.id
    for change in (
        act(pool, roster.remove, actor=sara.id, conversation=group, person=maya.id, at=NOW),
        act(pool, roster.leave, person=maya.id, conversation=group, at=NOW),
        act(pool, roster.close, actor=sara.id, conversation=group, at=NOW),
    ):
        with pytest.raises(NotAllowed):
            await change


async def test_the_groups_follow_the_team(pool: Pool) -> None:
    sara = await colleague(pool, "Sara", Role.THERAPIST)
    assert await listed(pool, sara) == {"Client Care": set()}
    maya = await colleague(pool, "Maya", Role.CLIENT_CARE)
    await colleague(pool, "Noor", Role.CLIENT_CARE)
    assert await listed(pool, sara) == {"Client Care": {"Maya", "Noor"}}
    await act(pool, people.update, person_id=maya.id, status=PersonStatus.ARCHIVED)
    assert await listed(pool, sara) == {"Client Care": {"Noor"}}
    assert await listed(pool, maya) == {}
    await act(pool, people.update, person_id=maya.id, status=PersonStatus.ACTIVE)
    await act(pool, people.update, person_id=sara.id, status=PersonStatus.ARCHIVED)
    await act(pool, people.update, person_id=sara.id, status=PersonStatus.ACTIVE)
    assert await listed(pool, sara) == {"Client Care": {"Maya", "Noor"}}
    assert await pool.fetchval("SELECT count(*) FROM conversation") == 1


async def test_many_who_come_at_once_all_meet(pool: Pool) -> None:
    roles = [Role.THERAPIST, Role.CLIENT_CARE] * 4
    await asyncio.gather(*(colleague(pool, f"P{n}", role) for n, role in enumerate(roles)))
    groups = await pool.fetch(
        "SELECT count(*) AS size FROM member JOIN conversation c ON c.id = conversation_id"
        " WHERE c.kind = 'client_care' AND removed_at IS NULL GROUP BY c.id"
    )
    assert [row["size"] for row in groups] == [5] * 4


async def test_what_is_missing_is_made_and_what_is_right_is_left_alone(pool: Pool) -> None:
    maya, sara = [
        await colleague(pool, *who) for who in (("Maya", Role.CLIENT_CARE), ("Sara", Role.THERAPIST))
    ]
    await pool.execute("UPDATE member SET removed_at = now(), removed_seq = 0 WHERE person_id = $1", maya.id)
    await colleague(pool, "Tom")
    assert await listed(pool, sara) == {"Client Care": set()}, "only changes of the team look"
    assert await act(pool, client_care.bring) == 1
    assert await act(pool, client_care.bring) == 0
    assert await listed(pool, sara) == {"Client Care": {"Maya"}}
