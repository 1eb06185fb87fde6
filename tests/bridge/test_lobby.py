"""What the assistant answers a client (P6, A7): kept as entries, once each, and read by nobody else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from bridge import chat_settings, conversations, legs, lobby, participants, people, roster, timeline
from bridge.database import Pool, transaction
from bridge.journal import Origin, unseal
from policies import commands, contact, notices
from policies.chat_settings import Level, Switch, told_when_off
from policies.commands import Command
from policies.contact import Way
from policies.content import Notice
from policies.vocabulary import ConversationId, ConversationKind, EventId, LegId, Person, PersonStatus, Role
from tests.support.people import keyring, make

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
_numbers = count(1)


class Talk:
    """A client and the assistant."""

    def __init__(self, pool: Pool, client: Person, user_id: str) -> None:
        self.pool, self.client, self.user_id = pool, client, user_id
        self.room = f"!{next(_numbers)}"

    @classmethod
    async def with_client(cls, pool: Pool) -> "Talk":
        async with transaction(pool) as tx:
            client = await make(tx, KEYS)
            user_id = await tx.fetchval("SELECT user_id FROM account WHERE person_id = $1", client.id)
        return cls(pool, client, user_id)

    async def act(self, use_case: Any, **given: Any) -> Any:
        async with transaction(self.pool) as tx:
            return await use_case(tx, KEYS, at=NOW, **given)

    async def staff(self, first: str, role: Role = Role.THERAPIST) -> Person:
        async with transaction(self.pool) as tx:
            return await make(tx, KEYS, role, first, "Khan", title="Dr.", email=f"{first}@ruh.test")

    async def thread(self, therapist: Person) -> ConversationId:
        opened = await self.act(participants.open_direct, therapist=therapist.id, client=self.client.id)
        return ConversationId(opened[0])

    async def open(self) -> bool:
        return bool(await self.act(lobby.opened, user_id=self.user_id, room_id=self.room))

    async def place(self, room: str | None = None) -> dict[str, Any]:
        row = await self.pool.fetchrow(
            "SELECT id AS leg, conversation_id AS conversation FROM leg WHERE room_id = $1", room or self.room
        )
        return dict(row)

    async def greeted(self) -> str:
        conversation = (await self.place())["conversation"]
        await self.act(lobby.greet, person=self.client.id, conversation=conversation, practice="Ruh")
        return await self.last_words()

    async def says(self, words: str) -> str:
        place = await self.place()
        origin = Origin(LegId(place["leg"]), EventId(f"${next(_numbers)}"))
        await self.act(
            lobby.hear, person=self.client.id, conversation=place["conversation"], said=words, origin=origin,
            practice="Ruh",
        )  # fmt: skip
        return await self.last_words()

    async def commands_in(self, conversation: ConversationId, command: Command) -> str:
        leg = await self.pool.fetchval("SELECT id FROM leg WHERE conversation_id = $1", conversation)
        origin = Origin(LegId(leg), EventId(f"${next(_numbers)}"))
        await self.act(
            lobby.command, person=self.client.id, conversation=conversation, command=command, origin=origin,
            practice="Ruh",
        )  # fmt: skip
        return await self.last_words()

    async def last_words(self) -> str:
        """Of the answer that was made last, for this client's leg alone."""
        row = await self.pool.fetchrow(
            "SELECT e.id, e.sealed, e.author_id, e.conversation_id, c.wrapped_key, p.kind FROM delivery d"
            " JOIN entry e ON e.id = d.entry_id JOIN conversation c ON c.id = e.conversation_id"
            " JOIN puppet p ON p.id = d.puppet_id WHERE d.state = 'pending' ORDER BY d.id DESC LIMIT 1"
        )
        assert (row["author_id"], row["kind"]) == (None, "assistant")
        assert await self.pool.fetchval("SELECT count(*) FROM delivery WHERE entry_id = $1", row["id"]) == 1
        key = KEYS.unwrap(row["wrapped_key"], str(row["conversation_id"]))
        content = unseal(key, row["conversation_id"], row["id"], row["sealed"])
        assert isinstance(content, Notice)
        return notices.for_client(content) or ""

    async def switch(self, on: bool) -> None:
        async with transaction(self.pool) as tx:
            await chat_settings.change(
                tx, actor=self.client.id, switch=Switch.DIRECT_MESSAGING, level=Level.EVERYONE, subject=None,
                on=on,
            )  # fmt: skip

    async def kinds(self) -> Sequence[str]:
        rows = await self.pool.fetch(
            "SELECT kind FROM conversation WHERE kind <> 'client_care' ORDER BY kind"
        )
        return [row["kind"] for row in rows]


async def test_before_first_contact_there_is_a_polite_no(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    await talk.staff("Sara")
    assert await talk.open()
    assert await talk.greeted() == contact.before_contact("Ruh")
    assert await talk.says("!start") == contact.before_contact("Ruh")
    assert await talk.kinds() == ["lobby"]


async def test_the_room_is_a_leg_like_any_other_and_opened_once(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    assert await talk.open()
    assert not await talk.open()
    await pool.execute("UPDATE account SET state = 'made'")
    async with transaction(pool) as tx:
        (leg,) = await legs.due(tx)
        seats = await legs.seats(tx, leg.id)
    assert (leg.kind, leg.room_id, leg.user_id) == (ConversationKind.LOBBY, talk.room, talk.user_id)
    assert [seat.puppet.kind for seat in seats] == ["assistant"]


async def test_nobody_but_a_client_has_a_lobby(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    for stranger in ("@nobody:ruh.test", "@homeserver-admin:ruh.test"):
        assert not await talk.act(lobby.opened, user_id=stranger, room_id="!x")
    await pool.execute("UPDATE account SET state = 'deactivated'")
    assert not await talk.open()
    assert await talk.kinds() == []


async def test_a_second_room_takes_the_place_of_the_first(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    await talk.open()
    await talk.act(lobby.opened, user_id=talk.user_id, room_id="!other")
    states = {row["room_id"]: row["state"] for row in await pool.fetch("SELECT room_id, state FROM leg")}
    assert states == {talk.room: "ended", "!other": "wanted"}
    assert await pool.fetchval("SELECT keeps_copy FROM revocation") is True
    assert not await talk.open(), "we are on our way out of it"
    await pool.execute("UPDATE revocation SET step = 'done'")
    assert await talk.open(), "asked into it again"


async def test_a_client_is_brought_to_the_one_thread_that_they_have(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    sara = await talk.staff("Sara")
    thread = await talk.thread(sara)
    await talk.open()
    assert await talk.greeted() == contact.brought(sara.name, Way.MADE), "its room is still being made"
    await pool.execute("UPDATE leg SET state = 'open' WHERE conversation_id = $1", thread)
    assert await talk.says(" !START ") == contact.brought(sara.name, Way.FOUND)
    await pool.execute("UPDATE leg SET hold = 'left' WHERE conversation_id = $1", thread)
    assert await talk.says("!start") == contact.brought(sara.name, Way.BACK)
    assert await pool.fetchval("SELECT state FROM leg WHERE conversation_id = $1", thread) == "wanted"
    await talk.act(roster.close, actor=sara.id, conversation=thread)
    assert await talk.says("!start") == contact.brought(sara.name, Way.CLOSED)


async def test_a_thread_is_made_with_a_therapist_who_wrote_elsewhere(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    sara, tom = await talk.staff("Sara"), await talk.staff("Tom", Role.TEAM_MEMBER)
    for organiser in (sara, tom):
        await talk.act(
            roster.start, actor=organiser.id, kind=ConversationKind.COMMUNITY, others=[talk.client.id]
        )
    await talk.open()
    assert await talk.greeted() == contact.brought(sara.name, Way.MADE)
    made = await pool.fetchrow("SELECT organiser_id, client_id FROM conversation WHERE kind = 'direct'")
    assert tuple(made) == (sara.id, talk.client.id)
    assert await talk.kinds() == ["community", "community", "direct", "lobby"]


async def test_with_several_therapists_a_number_says_whom(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    zoe, ben, gone = [await talk.staff(name) for name in ("Zoe", "Ben", "Gone")]
    for therapist in (zoe, ben, gone):
        await talk.thread(therapist)
    async with transaction(pool) as tx:
        await people.update(tx, KEYS, gone.id, status=PersonStatus.ARCHIVED)
    await talk.open()
    assert await talk.greeted() == contact.whom([ben.name, zoe.name])
    assert await talk.says("3") == commands.hint()
    assert await talk.says("2.") == contact.brought(zoe.name, Way.MADE)
    assert await talk.says("1") == commands.hint(), "the question has been answered"


async def test_an_old_question_is_asked_anew_when_its_answer_is_gone(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    ben, zoe = [await talk.staff(name) for name in ("Ben", "Zoe")]
    thread = await talk.thread(ben)
    await talk.thread(zoe)
    await talk.open()
    await talk.greeted()
    await talk.act(roster.remove, actor=ben.id, conversation=thread, person=talk.client.id)
    assert await talk.says("1") == contact.brought(zoe.name, Way.MADE)
    assert await pool.fetchval("SELECT count(*) FROM member WHERE conversation_id = $1", thread) == 2


async def test_with_chat_off_the_words_say_so_and_nothing_is_made(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    sara = await talk.staff("Sara")
    thread = await talk.thread(sara)
    await pool.execute("UPDATE leg SET state = 'open', hold = 'left'")
    await talk.switch(on=False)
    await talk.open()
    assert await talk.greeted() == told_when_off(Switch.DIRECT_MESSAGING)
    assert await talk.says("!start") == told_when_off(Switch.DIRECT_MESSAGING)
    assert await pool.fetchval("SELECT state FROM leg WHERE conversation_id = $1", thread) == "open"


async def test_everything_else_gets_a_hint_and_is_not_kept(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    await talk.open()
    assert await talk.says("!help") == commands.help_alone("Ruh")
    for words in ("I feel terrible", "!help me", "7", ""):
        assert await talk.says(words) == commands.hint()
    rows = await pool.fetch(
        "SELECT e.*, c.wrapped_key FROM entry e JOIN conversation c ON c.id = e.conversation_id"
    )
    for row in rows:
        key = KEYS.unwrap(row["wrapped_key"], str(row["conversation_id"]))
        content = unseal(key, row["conversation_id"], row["id"], row["sealed"])
        assert "terrible" not in str(content.to_json())
    assert {row["kind"] for row in rows} == {"notice"}


async def test_who_was_quicker_than_the_greeting_gets_one_answer(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    await talk.open()
    answer = await talk.says("!help")
    assert await talk.greeted() == answer
    assert await pool.fetchval("SELECT count(*) FROM delivery WHERE state = 'pending'") == 1


async def test_a_command_in_a_conversation_is_between_its_client_and_the_assistant(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    sara = await talk.staff("Sara")
    thread = await talk.thread(sara)
    assert "Dr. Sara Khan" in await talk.commands_in(thread, Command.HELP)
    assert await talk.commands_in(thread, Command.START) == contact.brought(sara.name, Way.HERE)
    async with transaction(pool) as tx:
        page = await timeline.page(tx, KEYS, sara.id, thread)
        (row, _) = await conversations.list_for(tx, KEYS, sara.id)
    said = [notices.for_staff(line.content, str) for line in page.lines if isinstance(line.content, Notice)]
    assert said == [None] * 4
    assert (row.unread, row.last) == (False, None)


async def test_in_a_group_the_answer_goes_to_who_asked(pool: Pool) -> None:
    talk = await Talk.with_client(pool)
    sara, ben = await talk.staff("Sara"), await talk.staff("Ben")
    async with transaction(pool) as tx:
        adam = await make(tx, KEYS, first="Adam", last="Young")
    group = ConversationId(
        await talk.act(
            roster.start,
            actor=sara.id,
            kind=ConversationKind.COMMUNITY,
            others=[talk.client.id, adam.id],
            told=True,
        )
    )
    leg = await pool.fetchval(
        "SELECT l.id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.person_id = $1", talk.client.id
    )
    given = {"person": talk.client.id, "conversation": group, "practice": "Ruh"}
    await talk.act(lobby.command, command=Command.HELP, origin=Origin(LegId(leg), EventId("$h")), **given)
    words = await talk.last_words()
    assert "Dr. Sara Khan and A.Y." in words
    assert "Young" not in words
    await talk.thread(ben)
    await talk.act(lobby.command, command=Command.START, origin=Origin(LegId(leg), EventId("$s")), **given)
    assert await talk.last_words() == contact.where_to_ask([ben.name, sara.name])
