"""The list: what it shows of one's conversations, what is put away, and a blast's threads as one row."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from bridge import archiving, blasts, conversations, messages, participants, roster
from bridge.conversations import Row
from bridge.database import Pool, transaction
from bridge.errors import NotFound
from bridge.list_filters import EVERYTHING_ACTIVE, Filter, Visibility, Which
from policies.content import Text
from policies.vocabulary import ConversationId, ConversationKind, Person, Role
from tests.support.people import keyring, make

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ARCHIVED, ALL = Filter(Visibility.ARCHIVED), Filter(Visibility.ALL)


class Practice:
    """A therapist and whom she talks to; each act is a minute later."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.minutes = pool, 0
        self.sara: Person

    @property
    def now(self) -> datetime:
        self.minutes += 1
        return NOW + timedelta(minutes=self.minutes)

    @classmethod
    async def open(cls, pool: Pool) -> "Practice":
        practice = cls(pool)
        practice.sara = await practice.person("Sara", Role.TEAM_MEMBER)
        return practice

    async def person(self, first: str, role: Role = Role.CLIENT) -> Person:
        async with transaction(self.pool) as tx:
            email = f"{uuid4().hex}@ruh.test" if role.is_staff else None
            return await make(tx, KEYS, role, first, "Doe", email=email)

    async def thread(self, client: Person) -> ConversationId:
        async with transaction(self.pool) as tx:
            return (
                await participants.open_direct(
                    tx, KEYS, therapist=self.sara.id, client=client.id, at=self.now
                )
            )[0]

    async def group(
        self, *others: Person, kind: ConversationKind = ConversationKind.COMMUNITY
    ) -> ConversationId:
        async with transaction(self.pool) as tx:
            return await roster.start(
                tx, KEYS, actor=self.sara.id, kind=kind, others=[p.id for p in others], told=True, at=self.now
            )

    async def post(self, author: Person, conversation: ConversationId, text: str = "Hello") -> None:
        async with transaction(self.pool) as tx:
            await messages.post(
                tx, KEYS, author=author.id, conversation=conversation, content=Text(text), at=self.now
            )

    async def archive(
        self, conversation: ConversationId, who: Person | None = None, away: bool = True
    ) -> bool:
        async with transaction(self.pool) as tx:
            return await archiving.archive(
                tx, actor=(who or self.sara).id, conversation=conversation, at=self.now, away=away
            )

    async def blast(self, *clients: Person, title: str = "Holiday") -> UUID:
        async with transaction(self.pool) as tx:
            made = await blasts.send(
                tx, KEYS, actor=self.sara.id, clients=[c.id for c in clients], content=Text("Closed"),
                title=title, at=self.now,
            )  # fmt: skip
        while True:
            async with transaction(self.pool) as tx:
                if not await blasts.next_recipient(tx, KEYS, at=self.now):
                    return made

    async def rows(self, only: Filter = EVERYTHING_ACTIVE, who: Person | None = None) -> list[Row]:
        async with transaction(self.pool) as tx:
            return await conversations.list_for(tx, KEYS, (who or self.sara).id, only=only)

    async def titles(self, only: Filter = EVERYTHING_ACTIVE, who: Person | None = None) -> list[str]:
        return [row.title for row in await self.rows(only, who)]


@pytest.fixture
async def practice(pool: Pool) -> Practice:
    return await Practice.open(pool)


async def test_what_is_archived_is_hidden_from_the_one_who_archived_it(practice: Practice) -> None:
    tom = await practice.person("Tom", Role.TEAM_MEMBER)
    amina, adam = await practice.person("Amina"), await practice.person("Adam")
    await practice.thread(adam)
    group = await practice.group(amina, tom)
    assert await practice.archive(group)
    assert not await practice.archive(group)
    assert await practice.titles() == ["Adam Doe"]
    assert await practice.titles(ARCHIVED) == ["Amina Doe"]
    assert await practice.titles(ALL) == ["Amina Doe", "Adam Doe"]
    assert await practice.titles(who=tom) == ["Amina Doe"]
    assert await practice.archive(group, away=False)
    assert await practice.titles() == ["Amina Doe", "Adam Doe"]


async def test_a_clients_message_brings_it_back_and_a_colleagues_does_not(practice: Practice) -> None:
    tom = await practice.person("Tom", Role.TEAM_MEMBER)
    amina = await practice.person("Amina")
    group = await practice.group(amina, tom)
    await practice.archive(group)
    await practice.post(tom, group)
    assert await practice.titles() == []
    await practice.post(amina, group)
    (row,) = await practice.rows()
    assert row.unread
    assert not row.archived


async def test_an_outsider_archives_nothing(practice: Practice) -> None:
    charlie = await practice.person("Charlie", Role.THERAPIST)
    thread = await practice.thread(await practice.person("Amina"))
    for conversation in (thread, ConversationId(uuid4())):
        with pytest.raises(NotFound):
            await practice.archive(conversation, charlie)
    assert len(await practice.rows()) == 1


async def test_the_kinds_are_told_apart(practice: Practice) -> None:
    amina, adam = await practice.person("Amina"), await practice.person("Adam")
    tom = await practice.person("Tom", Role.TEAM_MEMBER)
    await practice.thread(amina)
    group = await practice.group(amina, adam)
    await practice.group(tom, kind=ConversationKind.STAFF)
    assert await practice.titles(Filter(which=Which.ONE_TO_ONE)) == ["Amina Doe"]
    assert [row.id for row in await practice.rows(Filter(which=Which.COMMUNITY))] == [group]
    assert await practice.titles(Filter(which=Which.TEAM)) == ["Tom Doe"]


async def test_a_search_goes_over_what_the_list_shows(practice: Practice) -> None:
    amina, anna = await practice.person("Amina"), await practice.person("Anna")
    await practice.archive(await practice.thread(amina))
    await practice.thread(anna)
    assert await practice.titles(Filter(search="a")) == ["Anna Doe"]
    assert await practice.titles(Filter(Visibility.ARCHIVED, search="a")) == ["Amina Doe"]
    assert await practice.titles(Filter(Visibility.ALL, search="doe")) == ["Anna Doe", "Amina Doe"]


async def test_a_blasts_threads_are_one_row_until_somebody_answers(practice: Practice) -> None:
    amina, adam, leila = [await practice.person(name) for name in ("Amina", "Adam", "Leila")]
    older = await practice.thread(amina)
    blast = await practice.blast(amina, adam, leila)
    assert [(row.title, row.together, row.blast) for row in await practice.rows()] == [
        ("Holiday", 3, blast), ("Amina Doe", 0, None),
    ]  # fmt: skip
    async with transaction(practice.pool) as tx:
        sent = await blasts.of(tx, KEYS, actor=practice.sara.id, blast=blast)
    theirs = next(r.conversation_id for r in sent.recipients if r.client == adam.id)
    assert theirs is not None
    await practice.post(adam, theirs, "Thank you")
    rows = await practice.rows()
    assert [(row.title, row.together, row.blast) for row in rows] == [
        ("Holiday", 0, blast), ("Holiday", 2, blast), ("Amina Doe", 0, None),
    ]  # fmt: skip
    assert [person.name.first for person in rows[0].others] == ["Adam"]
    assert rows[2].id == older
    async with transaction(practice.pool) as tx:
        row = await conversations.of_blast(tx, KEYS, practice.sara.id, blast, Visibility.ACTIVE)
    assert row is not None
    assert row.together == 2


async def test_a_search_finds_one_thread_of_a_blast(practice: Practice) -> None:
    await practice.blast(await practice.person("Amina"), await practice.person("Adam"))
    (row,) = await practice.rows(Filter(search="adam"))
    assert (row.together, row.others[0].name.first) == (0, "Adam")


async def test_archiving_a_blast_puts_all_its_unanswered_threads_away(practice: Practice) -> None:
    amina, adam = await practice.person("Amina"), await practice.person("Adam")
    blast = await practice.blast(amina, adam)
    charlie = await practice.person("Charlie", Role.THERAPIST)
    for who, expected in ((charlie, 0), (practice.sara, 2)):
        async with transaction(practice.pool) as tx:
            assert await archiving.archive_blast(tx, actor=who.id, blast=blast, at=NOW) == expected
    assert await practice.rows() == []
    (row,) = await practice.rows(ARCHIVED)
    assert row.together == 2


async def test_pages_of_a_list_with_blasts_show_each_row_once(practice: Practice) -> None:
    people = [await practice.person(f"Client{n}") for n in range(4)]
    for n in range(3):
        await practice.blast(*people, title=f"Blast {n}")
        await practice.thread(people[n])
    seen: list[str] = []
    before = None
    while True:
        async with transaction(practice.pool) as tx:
            rows = await conversations.list_for(tx, KEYS, practice.sara.id, before=before, limit=2)
        if not rows:
            break
        seen += [row.title for row in rows]
        before = (rows[-1].at, rows[-1].id)
    assert seen == ["Client2 Doe", "Blast 2", "Client1 Doe", "Blast 1", "Client0 Doe", "Blast 0"]
