"""What may be said, and said once: requests that come twice, at the same instant, or from outside."""

import asyncio
import random
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from bridge import messages, receipts
from bridge.database import Pool, transaction
from bridge.errors import Invalid, NotAllowed, NotFound
from policies.content import Reaction, Text
from policies.vocabulary import ConversationId, EntryId, EntryKind, Role
from tests.support.people import make
from tests.support.thread import NOW, Thread, a_thread


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    return await a_thread(pool)


async def test_a_request_that_comes_again_gives_what_it_gave_the_first_time(thread: Thread) -> None:
    request = uuid4()
    first = await thread.say("hello", request_id=request)
    again = await thread.say("hello", request_id=request)
    assert (first.fresh, again.fresh) == (True, False)
    assert (again.entry_id, again.seq) == (first.entry_id, first.seq)
    assert await thread.bodies() == ["hello"]


async def test_one_request_at_the_same_instant_is_one_message(thread: Thread) -> None:
    request = uuid4()
    posted = await asyncio.gather(*(thread.say("hello", request_id=request) for _ in range(8)))
    assert len({one.entry_id for one in posted}) == 1
    assert sum(one.fresh for one in posted) == 1
    assert await thread.bodies() == ["hello"]


async def test_two_people_may_use_the_same_request_id(thread: Thread) -> None:
    request = uuid4()
    await thread.say("mine", request_id=request)
    await thread.say("yours", thread.client, request_id=request)
    assert await thread.bodies() == ["mine", "yours"]


async def test_an_edit_puts_other_words_in_force_and_keeps_the_first(thread: Thread) -> None:
    said = await thread.say("evry day")
    request = uuid4()
    for _ in range(2):
        edited = await thread.act(
            messages.edit, author=thread.therapist.id, entry=said.entry_id, content=Text("every day"),
            request_id=request,
        )  # fmt: skip
    assert edited.seq == said.seq + 1
    (line,) = await thread.lines()
    assert (line.id, line.content, line.edited_at is not None) == (said.entry_id, Text("every day"), True)
    assert await thread.pool.fetchval("SELECT count(*) FROM entry") == 2


async def test_the_last_edit_wins(thread: Thread) -> None:
    said = await thread.say("one")
    for words in ("two", "three"):
        await thread.act(messages.edit, author=thread.therapist.id, entry=said.entry_id, content=Text(words))
    assert await thread.bodies() == ["three"]


async def test_what_is_deleted_before_it_went_out_is_never_sent(thread: Thread) -> None:
    said = await thread.say("regretted")
    await thread.act(messages.edit, author=thread.therapist.id, entry=said.entry_id, content=Text("still"))
    await thread.act(messages.delete, author=thread.therapist.id, entry=said.entry_id)
    assert await thread.deliveries() == [
        ("message", "cancelled"), ("edit", "cancelled"), ("deletion", "pending"),
    ]  # fmt: skip
    (line,) = await thread.lines()
    assert (line.content, line.deleted_at is not None) == (None, True)


async def test_a_second_deletion_does_nothing(thread: Thread) -> None:
    said = await thread.say("once")
    given: dict[str, Any] = {"author": thread.therapist.id, "entry": said.entry_id}
    first = await thread.act(messages.delete, **given)
    assert first is not None
    assert await thread.act(messages.delete, **given) is None


async def test_a_deleted_message_takes_no_edit_and_no_reaction(thread: Thread) -> None:
    said = await thread.say("gone")
    await thread.act(messages.delete, author=thread.therapist.id, entry=said.entry_id)
    with pytest.raises(Invalid):
        await thread.act(messages.edit, author=thread.therapist.id, entry=said.entry_id, content=Text("x"))
    reaction = await thread.act(
        messages.react, author=thread.client.id, entry=said.entry_id, reaction=Reaction("👍")
    )
    assert reaction is None


async def test_no_edit_slips_in_behind_a_deletion_at_the_same_instant(thread: Thread) -> None:
    said = [await thread.say(f"{n}") for n in range(12)]

    async def change(entry: EntryId) -> None:
        with suppress(Invalid):
            await thread.act(messages.edit, author=thread.therapist.id, entry=entry, content=Text("late"))

    await asyncio.gather(
        *(change(one.entry_id) for one in said),
        *(thread.act(messages.delete, author=thread.therapist.id, entry=one.entry_id) for one in said),
    )
    late = await thread.pool.fetchval(
        "SELECT count(*) FROM entry e JOIN entry d ON d.target_id = e.target_id AND d.kind = 'deletion'"
        " JOIN delivery o ON o.entry_id = e.id WHERE e.kind = 'edit'"
        " AND (e.seq > d.seq OR o.state = 'pending')"
    )
    assert late == 0


async def test_reactions_come_and_go(thread: Thread) -> None:
    said = await thread.say("well done")
    reacted = await thread.act(
        messages.react, author=thread.client.id, entry=said.entry_id, reaction=Reaction("❤️")
    )
    assert reacted is not None
    (line,) = await thread.lines()
    assert [(one.key, one.person_id) for one in line.reactions] == [("❤️", thread.client.id)]
    await thread.act(messages.unreact, author=thread.client.id, reaction=reacted.entry_id)
    assert await thread.act(messages.unreact, author=thread.client.id, reaction=reacted.entry_id) is None
    (line,) = await thread.lines()
    assert line.reactions == ()


async def test_nobody_changes_what_somebody_else_wrote(thread: Thread) -> None:
    said = await thread.say("mine")
    for use_case, more in ((messages.edit, {"content": Text("theirs")}), (messages.delete, {})):
        with pytest.raises(NotAllowed):
            await thread.act(use_case, author=thread.client.id, entry=said.entry_id, **more)
    reacted = await thread.act(
        messages.react, author=thread.therapist.id, entry=said.entry_id, reaction=Reaction("👍")
    )
    assert reacted is not None
    with pytest.raises(NotFound):
        await thread.act(messages.unreact, author=thread.client.id, reaction=reacted.entry_id)
    assert await thread.bodies() == ["mine"]


async def outsiders_attempts(thread: Thread, conversation: ConversationId, entry: EntryId) -> list[str]:
    """Everything that Charlie tries; the words of each answer."""
    async with transaction(thread.pool) as tx:
        charlie = await make(tx, thread.keys, Role.THERAPIST, "Charlie", "Out", email=f"{uuid4()}@ruh.test")
    attempts: list[tuple[Any, dict[str, Any]]] = [
        (messages.post, {"content": Text("hi")}),
        (messages.post, {"content": Text("hi"), "reply_to": entry}),
        (messages.edit, {"entry": entry, "content": Text("x")}),
        (messages.delete, {"entry": entry}),
        (messages.react, {"entry": entry, "reaction": Reaction("👍")}),
        (messages.unreact, {"reaction": entry}),
    ]
    answers = []
    for use_case, more in attempts:
        with pytest.raises(NotFound) as refused:
            async with transaction(thread.pool) as tx:
                await use_case(tx, thread.keys, author=charlie.id, conversation=conversation, at=NOW, **more)
        answers.append(refused.value.message)
    return answers


async def test_an_outsider_gets_the_same_answer_as_for_what_does_not_exist(thread: Thread) -> None:
    said = await thread.say("between us")
    there = await outsiders_attempts(thread, thread.id, said.entry_id)
    nowhere = await outsiders_attempts(thread, ConversationId(uuid4()), EntryId(uuid4()))
    assert there == nowhere
    assert await thread.bodies() == ["between us"]


async def test_an_entry_of_another_conversation_cannot_be_answered_or_changed(thread: Thread) -> None:
    other = await a_thread(thread.pool)
    elsewhere = await other.say("elsewhere")
    with pytest.raises(NotFound):
        await thread.say("about that", reply_to=elsewhere.entry_id)
    with pytest.raises(NotFound):
        await thread.act(messages.delete, author=other.therapist.id, entry=elsewhere.entry_id)


async def test_many_at_once_never_wait_for_each_other_for_ever(thread: Thread) -> None:
    """Writing, editing, reacting and reading at the same time: every order of their locks is met."""
    dice = random.Random(7)
    start = [await thread.say(f"start {n}") for n in range(6)]
    people = [thread.therapist, thread.client]

    async def read(n: int) -> None:
        async with transaction(thread.pool) as tx:
            person = dice.choice(people).id
            await receipts.mark_read(tx, person=person, conversation=thread.id, seq=n, at=NOW)

    async def one(n: int) -> None:
        target = dice.choice(start).entry_id
        match dice.randrange(6):
            case 0:
                await thread.say(f"more {n}", dice.choice(people), request_id=uuid4())
            case 1:
                await thread.hear(f"event {n}", f"$event{n}")
            case 2:
                edit = {"author": thread.therapist.id, "entry": target, "content": Text(f"edit {n}")}
                await thread.act(messages.edit, **edit)
            case 3:
                like = {"author": thread.client.id, "entry": target, "reaction": Reaction("👍")}
                await thread.act(messages.react, **like)
            case _:
                await read(n)

    for batch in range(8):
        await asyncio.gather(*(one(batch * 20 + n) for n in range(20)))
    rows = await thread.pool.fetch(
        "SELECT e.seq, c.last_seq FROM entry e JOIN conversation c ON c.id = e.conversation_id"
        " WHERE c.id = $1 ORDER BY e.seq",
        thread.id,
    )
    assert [row["seq"] for row in rows] == list(range(1, rows[0]["last_seq"] + 1))


async def test_a_clients_message_is_kept_once_for_its_event(thread: Thread) -> None:
    await thread.hear("hello", "$one")
    with pytest.raises(Exception, match="delivery_event"):
        await thread.hear("hello", "$one")
    assert await thread.bodies() == ["hello"]
    assert await thread.deliveries() == [("message", "origin")]


async def test_a_reply_says_what_it_answers_until_that_is_deleted(thread: Thread) -> None:
    asked = await thread.say("How are you?")
    await thread.hear("Better", "$answer", reply_to=asked.entry_id)
    *_, line = await thread.lines()
    assert line.reply_to is not None
    assert (line.reply_to.id, line.reply_to.content) == (asked.entry_id, Text("How are you?"))
    await thread.act(messages.delete, author=thread.therapist.id, entry=asked.entry_id)
    *_, line = await thread.lines()
    assert line.reply_to is not None
    assert line.reply_to.content is None


async def test_kinds_are_what_was_done(thread: Thread) -> None:
    said = await thread.say("x")
    await thread.act(messages.delete, author=thread.therapist.id, entry=said.entry_id)
    rows = await thread.pool.fetch("SELECT kind FROM entry ORDER BY seq")
    assert [row["kind"] for row in rows] == [EntryKind.MESSAGE, EntryKind.DELETION]
