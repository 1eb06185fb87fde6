"""A deleted message can be brought back for a time, by Client Care alone; then its words are gone (M8)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from bridge import attachments, messages, outbox, restore, roster, timeline
from bridge.audit import Did
from bridge.database import Pool, transaction
from bridge.errors import Invalid, NotAllowed, NotFound
from bridge.journal import Origin
from bridge.messages import Posted
from bridge.outbox import Item, Load
from bridge.restore import Deleted
from policies.content import Reaction, Text
from policies.vocabulary import (
    ConversationId,
    ConversationKind,
    EntryId,
    EventId,
    LegId,
    Person,
    Role,
)
from tests.support.people import keyring, make

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
LATER = NOW + timedelta(days=29)
TOO_LATE = NOW + timedelta(days=31)
T = TypeVar("T")


@dataclass
class Group:
    """Dr. Khan with Amina and Adam, each in an open leg; Maya of Client Care isn't in it."""

    pool: Pool
    sara: Person
    amina: Person
    adam: Person
    maya: Person
    id: ConversationId
    legs: dict[str, LegId] = field(default_factory=dict)
    sent: int = 0

    async def act(self, use_case: Callable[..., Awaitable[T]], *given: Any, **more: Any) -> T:
        async with transaction(self.pool) as tx:
            return await use_case(tx, KEYS, *given, **more)

    async def say(self, words: str, author: Person | None = None, **more: Any) -> Posted:
        return await self.act(
            messages.post, author=(author or self.sara).id, conversation=self.id, content=Text(words),
            at=NOW, **more,
        )  # fmt: skip

    async def hear(self, words: str, author: Person) -> Posted:
        """Out of an event of their room."""
        self.sent += 1
        return await self.say(words, author, origin=Origin(self.leg(author), EventId(f"$o{self.sent}")))

    async def edit(self, entry: EntryId, words: str, author: Person | None = None) -> Posted:
        return await self.act(
            messages.edit, author=(author or self.sara).id, conversation=self.id, entry=entry,
            content=Text(words), at=NOW,
        )  # fmt: skip

    async def delete(self, entry: EntryId, author: Person | None = None, at: datetime = NOW) -> None:
        await self.act(
            messages.delete, author=(author or self.sara).id, conversation=self.id, entry=entry, at=at
        )

    async def restore(self, entry: EntryId, at: datetime = LATER) -> None:
        await self.act(restore.restore, actor=self.maya.id, entry=entry, at=at)

    async def deleted(self, actor: Person | None = None, **more: Any) -> list[Deleted]:
        return await self.act(restore.deleted, (actor or self.maya).id, **{"at": LATER, **more})

    async def erase(self, at: datetime = TOO_LATE) -> int:
        async with transaction(self.pool) as tx:
            return await restore.erase_due(tx, at=at)

    def leg(self, person: Person) -> LegId:
        return self.legs[person.name.first]

    async def load(self, person: Person) -> Load | None:
        async with transaction(self.pool) as tx:
            return await outbox.load(tx, KEYS, self.leg(person))

    async def carry(self, person: Person) -> list[Item]:
        """Everything that waits for this leg goes out, in order; each item as it was when its turn came."""
        gone = []
        while (load := await self.load(person)) is not None:
            item = load.items[0]
            assert item.target_state not in ("pending", "prepared"), "it stands before what it is about"
            self.sent += 1
            async with transaction(self.pool) as tx:
                await outbox.sent(tx, load, item, f"${item.kind}{self.sent}")
            gone.append(item)
        return gone

    async def event_of(self, entry: EntryId, person: Person) -> str:
        """The last event that stands for a message in this leg."""
        return str(
            await self.pool.fetchval(
                "SELECT d.event_id FROM delivery d JOIN entry e ON e.id = d.entry_id WHERE d.leg_id = $1"
                " AND (e.id = $2 OR e.target_id = $2 AND e.kind = 'restoration') ORDER BY d.id DESC LIMIT 1",
                self.leg(person), entry,
            )
        )  # fmt: skip

    async def reads(self, reader: Person | None = None) -> list[timeline.Line]:
        page = await self.act(timeline.page, (reader or self.sara).id, self.id)
        return [line for line in page.lines if line.kind == "message"]

    async def did(self, action: Did) -> list[Any]:
        rows = await self.pool.fetch(
            "SELECT actor_id, conversation_id, subject_id FROM audit WHERE action = $1 ORDER BY id", action
        )
        return [tuple(row) for row in rows]


@pytest.fixture
async def group(pool: Pool) -> Group:
    async with transaction(pool) as tx:
        sara = await make(tx, KEYS, Role.THERAPIST, "Sara", "Khan", title="Dr.", email="sara@ruh.test")
        maya = await make(tx, KEYS, Role.CLIENT_CARE, "Maya", "Lind", email="maya@ruh.test")
        amina, adam = [await make(tx, KEYS, Role.CLIENT, name, "Doe") for name in ("Amina", "Adam")]
        conversation = await roster.start(
            tx, KEYS, actor=sara.id, kind=ConversationKind.COMMUNITY, others=[amina.id, adam.id],
            told=True, at=NOW,
        )  # fmt: skip
        await tx.execute("UPDATE leg SET state = 'open', hold = NULL, room_id = '!' || id")
        await tx.execute("UPDATE occupant SET joined_at = now()")
        legs = await tx.fetch("SELECT l.id, m.person_id FROM leg l JOIN member m ON m.id = l.member_id")
    names = {person.id: person.name.first for person in (amina, adam)}
    return Group(pool, sara, amina, adam, maya, conversation, {names[r["person_id"]]: r["id"] for r in legs})


def words(item: Item) -> str:
    return item.content.body if isinstance(item.content, Text) else ""


async def test_client_care_sees_what_was_deleted_by_whom_and_until_when(group: Group) -> None:
    first = await group.say("I am not well")
    await group.edit(first.entry_id, "I am well")
    await group.delete(first.entry_id)
    (found,) = await group.deleted()
    assert (found.id, found.conversation_id, found.content) == (first.entry_id, group.id, Text("I am well"))
    assert found.author == found.deleted_by == group.sara
    assert (found.deleted_at, found.erase_at) == (NOW, NOW + timedelta(days=30))
    assert found.title == "Amina Doe and Adam Doe"
    assert await group.did(Did.SAW_DELETED) == [(group.maya.id, group.id, first.entry_id)]


async def test_the_list_goes_on_where_a_page_ended(group: Group) -> None:
    entries = []
    for n in range(5):
        entries.append((await group.say(str(n))).entry_id)
        await group.delete(entries[-1], at=NOW + timedelta(seconds=n))
    first = await group.deleted(limit=3)
    rest = await group.deleted(limit=3, before=(first[-1].erase_at, first[-1].id))
    assert [row.id for row in (*first, *rest)] == entries[::-1]
    assert [row.id for row in await group.deleted(conversation=group.id)] == entries[::-1]
    assert await group.deleted(conversation=ConversationId(group.sara.id)) == []


@pytest.mark.parametrize("who", ["sara", "amina"])
async def test_nobody_else_sees_or_restores_it_and_trying_is_recorded(group: Group, who: str) -> None:
    posted = await group.say("gone")
    await group.delete(posted.entry_id)
    actor: Person = getattr(group, who)
    with pytest.raises(NotAllowed):
        await group.deleted(actor)
    with pytest.raises(NotAllowed):
        await group.act(restore.restore, actor=actor.id, entry=posted.entry_id, at=LATER)
    assert [row[0] for row in await group.did(Did.REFUSED)] == [actor.id] * 2
    assert await group.did(Did.SAW_DELETED) == []


async def test_a_restored_message_stands_again_in_its_place(group: Group) -> None:
    posted = [await group.say(text) for text in ("one", "two", "three")]
    await group.delete(posted[1].entry_id)
    assert [line.content for line in await group.reads()] == [Text("one"), None, Text("three")]
    await group.restore(posted[1].entry_id)
    lines = await group.reads()
    assert [line.content for line in lines] == [Text("one"), Text("two"), Text("three")]
    assert [line.restored_at for line in lines] == [None, LATER, None]
    assert await group.did(Did.RESTORED) == [(group.maya.id, group.id, posted[1].entry_id)]
    assert await group.deleted() == []


async def test_it_goes_out_again_as_its_author_with_the_words_in_force(group: Group) -> None:
    posted = await group.say("old words")
    await group.edit(posted.entry_id, "new words")
    await group.carry(group.amina)
    await group.delete(posted.entry_id)
    await group.carry(group.amina)
    await group.restore(posted.entry_id)
    (item,) = await group.carry(group.amina)
    face = await group.pool.fetchval("SELECT user_id FROM puppet WHERE person_id = $1", group.sara.id)
    assert (item.kind, words(item), item.puppet_user) == ("restoration", "new words", face)
    assert item.restored_from is None


async def test_edits_reactions_and_deletions_aim_at_what_came_back(group: Group) -> None:
    posted = await group.say("hello")
    await group.carry(group.amina)
    old = await group.event_of(posted.entry_id, group.amina)
    await group.delete(posted.entry_id)
    await group.restore(posted.entry_id)
    deletion, _ = await group.carry(group.amina)
    new = await group.event_of(posted.entry_id, group.amina)
    assert (deletion.target_event, new != old) == (old, True)
    await group.edit(posted.entry_id, "hello again")
    await group.act(
        messages.react, author=group.adam.id, conversation=group.id, entry=posted.entry_id,
        reaction=Reaction("👍"), at=NOW,
    )  # fmt: skip
    await group.delete(posted.entry_id)
    assert [item.target_event for item in await group.carry(group.amina)] == [new]


async def test_an_edit_after_the_restoration_changes_the_new_event(group: Group) -> None:
    posted = await group.say("hello")
    await group.carry(group.amina)
    await group.delete(posted.entry_id)
    await group.restore(posted.entry_id)
    await group.carry(group.amina)
    new = await group.event_of(posted.entry_id, group.amina)
    await group.edit(posted.entry_id, "hello again")
    (item,) = await group.carry(group.amina)
    assert (item.kind, item.target_event) == ("edit", new)


async def test_a_second_deletion_takes_back_the_new_event_and_its_edits(group: Group) -> None:
    posted = await group.say("hello")
    await group.delete(posted.entry_id)
    await group.restore(posted.entry_id)
    await group.edit(posted.entry_id, "hello again")
    await group.carry(group.amina)
    await group.delete(posted.entry_id)
    (item,) = (await group.load(group.amina)).items  # type: ignore[union-attr]
    assert item.target_id is not None
    async with transaction(group.pool) as tx:
        events = await outbox.events_about(tx, group.leg(group.amina), item.target_id, item.id)
    assert [event.rstrip("0123456789") for _, event in events] == ["$edit", "$restoration"]


async def test_it_may_be_deleted_and_restored_again_and_again(group: Group) -> None:
    posted = await group.say("hello")
    for _ in range(3):
        await group.delete(posted.entry_id)
        await group.restore(posted.entry_id)
    gone = await group.carry(group.amina)
    assert [words(item) for item in gone if item.kind == "restoration"] == ["hello"]
    await group.edit(posted.entry_id, "hello again")
    (item,) = await group.carry(group.amina)
    assert item.target_event == await group.event_of(posted.entry_id, group.amina)


async def test_a_leg_that_waits_meanwhile_gets_all_of_it_in_order(group: Group) -> None:
    """A reply to what was deleted before it was carried, and came back behind the reply."""
    posted = await group.say("a question")
    await group.say("about that", reply_to=posted.entry_id)
    await group.delete(posted.entry_id)
    await group.restore(posted.entry_id)
    gone = await group.carry(group.amina)
    assert [(item.kind, words(item)) for item in gone] == [
        ("message", "about that"), ("deletion", ""), ("restoration", "a question"),
    ]  # fmt: skip
    assert gone[0].target_event is None


async def test_a_restored_reply_still_quotes(group: Group) -> None:
    question = await group.say("a question")
    answer = await group.say("an answer", reply_to=question.entry_id)
    await group.carry(group.amina)
    await group.delete(answer.entry_id)
    await group.restore(answer.entry_id)
    restoration = (await group.carry(group.amina))[-1]
    assert restoration.target_event == await group.event_of(question.entry_id, group.amina)


async def test_the_authors_own_room_gets_it_from_the_assistant(group: Group) -> None:
    posted = await group.hear("my words", group.amina)
    for person in (group.amina, group.adam):
        await group.carry(person)
    await group.delete(posted.entry_id, group.amina)
    await group.restore(posted.entry_id)
    (own,) = await group.carry(group.amina)
    assert (own.puppet_user.split(":")[0], own.restored_from) == ("@ruh_assistant0", group.amina.id)
    adams = (await group.carry(group.adam))[-1]
    assert (adams.restored_from, words(adams)) == (None, "my words")
    mask = await group.pool.fetchval("SELECT user_id FROM puppet WHERE person_id = $1", group.amina.id)
    assert adams.puppet_user == mask


async def test_where_the_authors_mask_is_gone_the_assistant_says_it_for_them(group: Group) -> None:
    posted = await group.hear("my words", group.amina)
    await group.carry(group.adam)
    await group.delete(posted.entry_id, group.amina)
    await group.act(roster.leave, person=group.amina.id, conversation=group.id, at=NOW)
    await group.restore(posted.entry_id)
    restoration = (await group.carry(group.adam))[-1]
    assert restoration.restored_from == group.amina.id
    assert await group.load(group.amina) is None  # they have left


async def test_a_closed_room_gets_it_from_the_assistant(group: Group) -> None:
    posted = await group.say("hello")
    await group.carry(group.amina)
    await group.delete(posted.entry_id)
    await group.act(roster.close, actor=group.sara.id, conversation=group.id, at=NOW)
    await group.restore(posted.entry_id)
    assert (await group.carry(group.amina))[-1].restored_from == group.sara.id


async def test_it_goes_only_where_it_was(group: Group) -> None:
    before = await group.say("before")
    await group.delete(before.entry_id)
    async with transaction(group.pool) as tx:
        late = await make(tx, KEYS, Role.CLIENT, "Late", "Doe")
        given = {"actor": group.sara.id, "conversation": group.id, "at": NOW}
        await roster.add(tx, KEYS, person=late.id, told=True, **given)
        await roster.remove(tx, KEYS, person=group.adam.id, **given)
        await tx.execute("UPDATE leg SET silenced = true WHERE id = $1", group.leg(group.amina))
    await group.restore(before.entry_id)
    count = "SELECT count(*) FROM delivery d JOIN entry e ON e.id = d.entry_id WHERE e.kind = 'restoration'"
    assert await group.pool.fetchval(count) == 0
    assert (await group.reads())[0].content == Text("before")
    assert await group.reads(late) == []


async def test_the_mark_beside_it_is_that_of_its_new_way(group: Group) -> None:
    posted = await group.say("hello")
    for person in (group.amina, group.adam):
        await group.carry(person)
    await group.delete(posted.entry_id)
    await group.restore(posted.entry_id)
    (line,) = await group.reads()
    assert {delivery.state for delivery in line.deliveries} == {"pending"}
    for person in (group.amina, group.adam):
        await group.carry(person)
    (line,) = await group.reads()
    assert {delivery.state for delivery in line.deliveries} == {"sent"}


async def test_what_is_not_deleted_or_no_message_is_not_restored(group: Group) -> None:
    posted = await group.say("hello")
    with pytest.raises(Invalid, match="isn’t deleted any more"):
        await group.restore(posted.entry_id)
    with pytest.raises(NotFound):
        await group.restore(EntryId(group.sara.id))
    await group.delete(posted.entry_id)
    await group.restore(posted.entry_id)
    with pytest.raises(Invalid):
        await group.restore(posted.entry_id)
    assert len(await group.did(Did.RESTORED)) == 1


async def test_after_its_time_the_words_are_destroyed_with_those_of_its_edits(group: Group) -> None:
    posted = await group.say("my words")
    await group.edit(posted.entry_id, "my other words")
    await group.delete(posted.entry_id)
    await group.restore(posted.entry_id)
    await group.act(
        messages.react, author=group.adam.id, conversation=group.id, entry=posted.entry_id,
        reaction=Reaction("👍"), at=NOW,
    )  # fmt: skip
    await group.delete(posted.entry_id)
    kept = await group.say("something else")
    assert (await group.erase(), await group.erase()) == (1, 0)
    rows = await group.pool.fetch("SELECT id, kind FROM entry WHERE sealed IS NOT NULL AND kind <> 'notice'")
    assert [(row["id"], row["kind"]) for row in rows] == [(kept.entry_id, "message")]
    assert await group.did(Did.ERASED) == [(None, group.id, posted.entry_id)]
    assert [line.content for line in await group.reads()] == [None, Text("something else")]


async def test_what_was_erased_is_neither_seen_nor_restored(group: Group) -> None:
    posted = await group.say("my words")
    await group.delete(posted.entry_id)
    assert await group.erase(LATER) == 0  # not yet
    for erased in (False, True):
        with pytest.raises(Invalid, match="erased for good"):
            await group.restore(posted.entry_id, TOO_LATE)  # past its time, swept or not
        assert await group.deleted(at=TOO_LATE) == []
        if not erased:
            await group.erase()


async def test_a_file_is_erased_with_its_message(group: Group) -> None:
    posted = await group.say("a picture")
    await group.pool.execute(
        "WITH a AS (INSERT INTO attachment (id, conversation_id, entry_id, state, source_sealed)"
        " VALUES ($2, $1, $2, 'stored', 'x') RETURNING id)"
        " INSERT INTO attachment_chunk (attachment_id, n, sealed) SELECT id, 0, 'x' FROM a",
        group.id, posted.entry_id,
    )  # fmt: skip
    await group.delete(posted.entry_id)
    await group.erase()
    left = await group.pool.fetchrow("SELECT state, source_sealed FROM attachment")
    assert tuple(left) == ("failed", None)
    assert await group.pool.fetchval("SELECT count(*) FROM attachment_chunk") == 0


async def test_what_the_setting_says_at_the_time_of_deleting_holds(group: Group) -> None:
    posted = await group.say("my words")
    await group.act(
        messages.delete, author=group.sara.id, conversation=group.id, entry=posted.entry_id, at=NOW,
        keep=timedelta(days=2),
    )  # fmt: skip
    assert (await group.deleted(at=NOW))[0].erase_at == NOW + timedelta(days=2)
    assert await group.erase(NOW + timedelta(days=3)) == 1


async def test_a_file_that_arrives_after_its_message_was_erased_is_not_kept(group: Group) -> None:
    posted = await group.say("a picture")
    await group.act(attachments.want, group.id, posted.entry_id, {"url": "mxc://ruh.test/a"})
    (wanted,) = await group.act(attachments.due)
    await group.delete(posted.entry_id)
    await group.erase()
    await group.act(attachments.store, wanted, b"its bytes")
    assert await group.pool.fetchval("SELECT state FROM attachment") == "failed"
    assert await group.pool.fetchval("SELECT count(*) FROM attachment_chunk") == 0
