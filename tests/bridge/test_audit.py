"""The audit trail: what counts is in it, nothing that anybody said is, and nobody changes it unseen."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from bridge import (
    audit,
    chat_settings,
    conversations,
    messages,
    participants,
    people,
    receipts,
    roster,
    timeline,
)  # fmt: skip
from bridge.audit import Did, Fault, Verified
from bridge.database import Pool, transaction
from bridge.errors import NotAllowed, NotFound
from policies.chat_settings import Level, Switch
from policies.content import Text
from policies.vocabulary import ConversationId, ConversationKind, Name, Person, PersonStatus, Role
from tests.support.people import keyring, make

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
SECRETS = ("Amina", "Yusuf", "Sara", "Khan", "slept", "better", "My title", "ruh.test")


@dataclass
class Thread:
    """A therapist, a client, another therapist, and the thread of the first two."""

    pool: Pool
    therapist: Person
    client: Person
    outsider: Person
    id: ConversationId

    async def act(self, use_case: Callable[..., Awaitable[Any]], **given: Any) -> Any:
        async with transaction(self.pool) as tx:
            return await use_case(tx, KEYS, conversation=self.id, **given)

    async def say(self, author: Person, text: str = "I slept better") -> messages.Posted:
        posted: messages.Posted = await self.act(
            messages.post, author=author.id, content=Text(text), at=datetime.now(UTC)
        )
        return posted

    async def rows(self) -> list[asyncpg.Record]:
        return await self.pool.fetch("SELECT * FROM audit ORDER BY id")

    async def last(self) -> tuple[str, UUID | None, UUID | None]:
        row = (await self.rows())[-1]
        assert row["conversation_id"] == self.id
        return row["action"], row["actor_id"], row["subject_id"]

    async def did(self) -> list[str]:
        return [row["action"] for row in await self.rows()]


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    async with transaction(pool) as tx:
        therapist = await make(tx, KEYS, Role.THERAPIST, "Sara", "Khan", email="sara@ruh.test")
        outsider = await make(tx, KEYS, Role.THERAPIST, "Omar", "Haddad", email="omar@ruh.test")
        client = await make(tx, KEYS)
        thread, _ = await participants.open_direct(tx, KEYS, therapist=therapist.id, client=client.id, at=NOW)
    return Thread(pool, therapist, client, outsider, thread)


async def test_writing_editing_and_deleting_are_recorded_about_the_message(thread: Thread) -> None:
    me = thread.therapist.id
    posted = await thread.say(thread.therapist)
    assert await thread.last() == (Did.WROTE, me, posted.entry_id)
    own = {"author": me, "entry": posted.entry_id, "at": NOW}
    await thread.act(messages.edit, content=Text("worse"), **own)
    assert await thread.last() == (Did.EDITED, me, posted.entry_id)
    await thread.act(messages.delete, **own)
    assert await thread.last() == (Did.DELETED, me, posted.entry_id)


async def test_a_message_that_was_sent_for_somebody_says_so(thread: Thread) -> None:
    await thread.act(
        messages.post, author=thread.therapist.id, content=Text("Welcome"), at=NOW, automatic="welcome"
    )
    assert (await thread.rows())[-1]["detail"] == {"automatic": "welcome"}


async def test_who_is_made_or_changed_is_recorded_by_what_was_changed(pool: Pool) -> None:
    async with transaction(pool) as tx:
        person = await make(tx, KEYS, Role.TEAM_MEMBER, "Omar", "Haddad", email="omar@ruh.test")
        await people.update(
            tx, KEYS, person.id, name=Name("Omar", "Haddad-Smith"), status=PersonStatus.ARCHIVED
        )
        await people.set_password_hash(tx, person.id, "a hash")
        rows = [row for row in await audit.page(tx) if row.action == Did.PERSON_CHANGED]
    assert {row.subject_id for row in rows} == {person.id}
    assert [row.detail for row in rows[::-1]] == [
        {"changed": "made", "role": "team_member"},
        {"changed": "name status", "status": "archived"},
        {"changed": "password"},
    ]


async def test_a_repeated_request_is_recorded_once(thread: Thread) -> None:
    request = uuid4()
    for _ in range(2):
        await thread.act(
            messages.post, author=thread.therapist.id, content=Text("once"), at=NOW, request_id=request
        )
    assert (await thread.did()).count(Did.WROTE) == 1


async def test_reading_is_recorded_once_in_ten_minutes(thread: Thread) -> None:
    async def reads() -> int:
        async with transaction(thread.pool) as tx:
            await timeline.page(tx, KEYS, thread.therapist.id, thread.id)
        return (await thread.did()).count(Did.READ)

    assert [await reads(), await reads()] == [1, 1]
    await _tamper(thread.pool, "UPDATE audit SET at = at - interval '11 minutes' WHERE action = 'read'")
    assert await reads() == 2


async def test_who_reads_on_in_an_open_page_or_an_app_is_recorded(thread: Thread) -> None:
    await thread.say(thread.therapist)
    async with transaction(thread.pool) as tx:
        for seq in (1, 2):
            await receipts.mark_read(tx, person=thread.client.id, conversation=thread.id, seq=seq, at=NOW)
    assert await thread.last() == (Did.READ, thread.client.id, None)
    assert (await thread.did()).count(Did.READ) == 1


async def test_a_new_title_is_recorded_without_its_words(thread: Thread) -> None:
    await thread.act(conversations.rename, actor=thread.therapist.id, title="My title")
    assert await thread.last() == (Did.RENAMED, thread.therapist.id, None)


async def test_somebody_who_changes_anothers_conversation_is_refused_and_recorded(thread: Thread) -> None:
    group = await _group(thread)
    with pytest.raises(NotAllowed, match="Only the person who started"):
        async with transaction(thread.pool) as tx:
            await roster.remove(
                tx, KEYS, actor=thread.outsider.id, conversation=group, person=thread.client.id, at=NOW
            )
    row = (await thread.rows())[-1]
    assert (row["action"], row["actor_id"], row["conversation_id"]) == (
        Did.REFUSED,
        thread.outsider.id,
        group,
    )
    assert row["detail"] == {"action": "remove_member", "code": "forbidden"}


async def test_an_outsiders_attempt_is_recorded_too(thread: Thread) -> None:
    with pytest.raises(NotFound):
        await thread.act(conversations.rename, actor=thread.outsider.id, title="Mine now")
    row = (await thread.rows())[-1]
    assert row["detail"] == {"action": "rename", "code": "not_found"}


async def test_changing_somebody_elses_message_is_refused_and_recorded(thread: Thread) -> None:
    posted = await thread.say(thread.client)
    with pytest.raises(NotAllowed):
        await thread.act(
            messages.edit, author=thread.therapist.id, entry=posted.entry_id, content=Text("not so"), at=NOW
        )
    assert (await thread.rows())[-1]["detail"] == {"action": "edit_own", "code": "not_yours"}


async def test_nothing_that_was_said_or_who_said_it_stands_in_the_trail(thread: Thread) -> None:
    await _everything(thread)
    text = json.dumps([dict(row) for row in await thread.rows()], default=str)
    assert len(set(await thread.did())) >= 11
    assert [secret for secret in SECRETS if secret in text] == []


async def _link(pool: Pool) -> audit.Head | None:
    async with transaction(pool) as tx:
        linked = await audit.link(tx, KEYS)
    return linked and linked[1]


async def _verify(pool: Pool, noted: audit.Head | None = None) -> Verified:
    async with transaction(pool) as tx:
        return await audit.verify(tx, KEYS, noted and (noted.place, noted.link.hex()[:16]))


async def _tamper(pool: Pool, *statements: str) -> None:
    """As somebody who owns the table can."""
    async with transaction(pool) as tx:
        await tx.execute("ALTER TABLE audit DISABLE TRIGGER ALL")
        for statement in statements:
            await tx.execute(statement)
        await tx.execute("ALTER TABLE audit ENABLE TRIGGER ALL")


async def test_the_chain_holds_over_several_rounds(thread: Thread) -> None:
    await _everything(thread)
    head = await _link(thread.pool)
    assert await _link(thread.pool) is None
    await thread.say(thread.client)
    assert (await _verify(thread.pool)).unlinked == 1
    later = await _link(thread.pool)
    assert head is not None
    assert later is not None
    assert await _verify(thread.pool, noted=head) == Verified(head.place + 1, later, None, 0)


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        (["UPDATE audit SET actor_id = NULL WHERE place = 3"], Fault.ALTERED),
        (["UPDATE audit SET at = at + interval '1 s' WHERE place = 3"], Fault.ALTERED),
        (["UPDATE audit SET detail = '{\"n\": 1}' WHERE place = 3"], Fault.ALTERED),
        (["UPDATE audit SET subject_id = conversation_id WHERE place = 3"], Fault.ALTERED),
        (["DELETE FROM audit WHERE place = 3"], Fault.MISSING),
        # … and the ones behind it moved up.
        (["DELETE FROM audit WHERE place = 3", "UPDATE audit SET place = place - 1 WHERE place = 4",
          "UPDATE audit SET place = place - 1 WHERE place = 5"], Fault.ALTERED),
        (["UPDATE audit SET place = -1 WHERE place = 3", "UPDATE audit SET place = 3 WHERE place = 4",
          "UPDATE audit SET place = 4 WHERE place = -1"], Fault.ALTERED),
        (["UPDATE audit SET place = -place WHERE place >= 3",
          "UPDATE audit SET place = 1 - place WHERE place < 0",
          "INSERT INTO audit (action, place, link) SELECT action, 3, link FROM audit WHERE place = 1"],
         Fault.ALTERED),
        (["UPDATE audit a SET actor_id = b.subject_id, subject_id = b.actor_id FROM audit b"
          " WHERE a.place = 3 AND b.place = 4"], Fault.ALTERED),
    ],
)  # fmt: skip
async def test_whatever_is_done_to_a_linked_row_is_found_at_its_place(
    thread: Thread, statements: list[str], fault: Fault
) -> None:
    await _tamper(thread.pool, "DELETE FROM audit")  # how they were made
    for _ in range(6):
        await thread.say(thread.therapist)
    await _link(thread.pool)
    await _tamper(thread.pool, *statements)
    found = await _verify(thread.pool)
    assert (found.held, found.fault) == (2, fault)


async def test_a_row_that_is_put_in_for_the_past_is_found_once_it_is_linked(thread: Thread) -> None:
    await _everything(thread)
    head = await _link(thread.pool)
    await thread.pool.execute("INSERT INTO audit (action, at) VALUES ('read', now() - interval '2 days')")
    await _link(thread.pool)
    found = await _verify(thread.pool)
    assert head is not None
    assert (found.held, found.fault) == (head.place, Fault.BACKDATED)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM audit WHERE place > 3", Fault.MISSING),
        # One row is another, and all behind it are as they were.
        (
            "UPDATE audit SET place = NULL, link = NULL, actor_id = CASE WHEN place > 4 THEN actor_id END"
            " WHERE place > 3",
            Fault.NOT_AS_NOTED,
        ),
    ],
)
async def test_a_noted_end_shows_what_was_cut_off_or_linked_anew(
    thread: Thread, statement: str, fault: Fault
) -> None:
    await _tamper(thread.pool, "DELETE FROM audit")
    for _ in range(6):
        await thread.say(thread.therapist)
    noted = await _link(thread.pool)
    await _tamper(thread.pool, statement)
    await _link(thread.pool)
    assert (await _verify(thread.pool)).fault is None
    assert (await _verify(thread.pool, noted)).fault is fault


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET at = now()", "DELETE FROM audit", "TRUNCATE audit", "UPDATE audit SET link = NULL"],
)
async def test_the_table_itself_takes_nothing_back(thread: Thread, statement: str) -> None:
    await thread.say(thread.therapist)
    await _link(thread.pool)
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await thread.pool.execute(statement)


async def _group(thread: Thread) -> ConversationId:
    """A community chat of the therapist's, with the outsider of their thread in it."""
    async with transaction(thread.pool) as tx:
        return await roster.start(
            tx, KEYS, actor=thread.therapist.id, kind=ConversationKind.COMMUNITY,
            others=[thread.client.id, thread.outsider.id], told=True, at=NOW,
        )  # fmt: skip


async def _everything(thread: Thread) -> None:
    """Somebody does each of the things that a page or an app can do."""
    posted = await thread.say(thread.therapist)
    own = {"author": thread.therapist.id, "entry": posted.entry_id, "at": NOW + timedelta(minutes=1)}
    await thread.act(messages.edit, content=Text("slept better, said Amina Yusuf"), **own)
    await thread.act(conversations.rename, actor=thread.therapist.id, title="My title")
    async with transaction(thread.pool) as tx:
        await timeline.page(tx, KEYS, thread.therapist.id, thread.id)
        await chat_settings.change(
            tx, actor=thread.therapist.id, switch=Switch.COMMUNITY_CHAT, level=Level.CLIENT,
            subject=thread.client.id, on=True,
        )  # fmt: skip
    await thread.act(messages.delete, **own)
    group = await _group(thread)
    with pytest.raises(NotAllowed):
        async with transaction(thread.pool) as tx:
            await roster.close(tx, KEYS, actor=thread.outsider.id, conversation=group, at=NOW)
    roster_of = {"conversation": group, "at": NOW}
    async with transaction(thread.pool) as tx:
        await roster.leave(tx, KEYS, person=thread.outsider.id, **roster_of)
        await roster.remove(tx, KEYS, actor=thread.therapist.id, person=thread.client.id, **roster_of)


async def test_an_outsider_who_changes_a_message_is_recorded(thread: Thread) -> None:
    posted = await thread.say(thread.therapist)
    other = {"author": thread.outsider.id, "entry": posted.entry_id, "at": NOW}
    with pytest.raises(NotFound):
        await thread.act(messages.edit, content=Text("mine"), **other)
    with pytest.raises(NotFound):
        await thread.act(messages.delete, **other)
    rows = await thread.pool.fetch(
        "SELECT conversation_id, detail FROM audit WHERE action = 'refused' ORDER BY id"
    )
    assert [row["conversation_id"] for row in rows] == [thread.id] * 2
    assert [row["detail"]["action"] for row in rows] == ["edit_own", "delete_own"]
