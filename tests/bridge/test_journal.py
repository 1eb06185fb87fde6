"""The journal's order, what an entry leaves in the same statement, and what its seal is bound to."""

import asyncio

import pytest

from bridge import journal, messages, receipts
from bridge.database import Pool, transaction
from bridge.feed import Change, listen
from bridge.journal import Draft
from policies.content import Notice, Text
from policies.vocabulary import EntryId, EntryKind
from tests.support.thread import NOW, Thread, a_thread


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    return await a_thread(pool)


async def test_entries_have_one_order_also_when_all_come_at_once(thread: Thread) -> None:
    posted = await asyncio.gather(*(thread.say(f"{n}") for n in range(20)))
    assert sorted(one.seq for one in posted) == list(range(1, 21))
    rows = await thread.pool.fetch(
        "SELECT e.seq FROM delivery d JOIN entry e ON e.id = d.entry_id ORDER BY d.id"
    )
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows), (
        "deliveries have the same order"
    )


async def test_an_entry_leaves_a_delivery_for_the_leg_and_none_for_its_origin(thread: Thread) -> None:
    await thread.say("to the client")
    await thread.hear("from the client", "$event")
    assert await thread.deliveries() == [("message", "pending"), ("message", "origin")]


async def test_what_is_rolled_back_leaves_nothing(thread: Thread) -> None:
    async def interrupted() -> None:
        async with transaction(thread.pool) as tx:
            await messages.post(
                tx, thread.keys, author=thread.therapist.id, conversation=thread.id, content=Text("x"), at=NOW
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await interrupted()
    assert await thread.deliveries() == []
    assert (await thread.say("first")).seq == 1


async def test_an_entry_opens_only_in_its_own_place(thread: Thread) -> None:
    one, other = await thread.say("one"), await thread.say("other")
    await thread.pool.execute(
        "UPDATE entry SET sealed = (SELECT sealed FROM entry WHERE id = $1) WHERE id = $2",
        one.entry_id, other.entry_id,
    )  # fmt: skip
    first, second = await thread.lines()
    assert (first.content, first.unreadable) == (Text("one"), False)
    assert (second.content, second.unreadable) == (None, True), "said, and the page still opens"


async def test_a_lost_key_makes_every_entry_unreadable(thread: Thread) -> None:
    await thread.say("erased")
    await thread.pool.execute("UPDATE conversation SET wrapped_key = NULL WHERE id = $1", thread.id)
    (line,) = await thread.lines()
    assert (line.content, line.unreadable) == (None, True)


async def test_writing_is_reading_all_before_but_what_is_sent_for_somebody_is_not(thread: Thread) -> None:
    await thread.hear("unread", "$one")
    await thread.say("welcome", automatic="welcome")
    assert await read_seq(thread) == 0
    answer = await thread.say("I have read it")
    assert await read_seq(thread) == answer.seq
    await thread.say("automatic, with nothing unread", automatic="auto_reply")
    assert await read_seq(thread) == answer.seq + 1


async def read_seq(thread: Thread) -> int:
    return int(
        await thread.pool.fetchval(
            "SELECT read_seq FROM member WHERE person_id = $1 AND conversation_id = $2",
            thread.therapist.id, thread.id,
        )
    )  # fmt: skip


async def test_a_notice_moves_nothing_in_the_list_and_reaches_only_whom_it_is_for(thread: Thread) -> None:
    said = await thread.say("a message")
    async with transaction(thread.pool) as tx:
        wrapped = await tx.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", thread.id)
        key = thread.keys.unwrap(wrapped, str(thread.id))
        for draft in (
            Draft(EntryKind.NOTICE, NOW, Notice("renamed"), to_clients=False),
            Draft(EntryKind.NOTICE, NOW, Notice("undecryptable"), only_leg=thread.leg),
        ):
            await journal.append(tx, key, thread.id, draft)
    row = await thread.pool.fetchrow(
        "SELECT last_message_seq, last_seq FROM conversation WHERE id = $1", thread.id
    )
    assert tuple(row) == (said.seq, said.seq + 2)
    assert await thread.deliveries() == [("message", "pending"), ("notice", "pending")]


async def test_the_feed_tells_of_an_entry_once_it_is_committed_by_ids_alone(
    thread: Thread, database_url: str
) -> None:
    feed = listen(database_url)
    assert (await anext(feed)).change is Change.REWAKE
    posted = await thread.say("hush, no words in here")
    told = await anext(feed)
    assert (told.change, told.conversation, told.entry) == (Change.ENTRY, thread.id, posted.entry_id)
    assert told.legs == (thread.leg,)
    assert "hush" not in told.to_json()
    await thread.hear("nothing to be carried", "$heard")
    assert (await anext(feed)).legs == ()
    await feed.aclose()  # type: ignore[attr-defined]


async def test_reading_moves_on_only_and_is_told_once(thread: Thread) -> None:
    posted = [await thread.say(f"{n}") for n in range(3)]

    async def read(seq: int) -> bool:
        async with transaction(thread.pool) as tx:
            return await receipts.mark_read(
                tx, person=thread.client.id, conversation=thread.id, seq=seq, at=NOW
            )

    assert [await read(seq) for seq in (2, 2, 1, 99, 99)] == [True, False, False, True, False]
    page = await thread.page()
    assert [(mark.person_id, mark.seq) for mark in page.reads] == [
        (thread.client.id, 2), (thread.client.id, posted[-1].seq),
    ]  # fmt: skip


async def test_a_receipt_that_comes_after_the_answer_still_says_seen(thread: Thread) -> None:
    said = await thread.say("asked")
    await thread.hear("answered", "$a")

    async def read(late: bool) -> bool:
        async with transaction(thread.pool) as tx:
            return await receipts.mark_read(
                tx, person=thread.client.id, conversation=thread.id, seq=said.seq, at=NOW, late=late
            )

    assert [await read(late) for late in (False, True, True)] == [False, True, False]
    assert [mark.seq for mark in (await thread.page()).reads] == [said.seq]
    unread = "SELECT read_seq > $2 FROM member WHERE person_id = $1"
    assert await thread.pool.fetchval(unread, thread.client.id, said.seq)


async def test_an_outsiders_reading_changes_nothing(thread: Thread) -> None:
    await thread.say("hello")
    other = await a_thread(thread.pool)
    async with transaction(thread.pool) as tx:
        assert not await receipts.mark_read(
            tx, person=other.therapist.id, conversation=thread.id, seq=1, at=NOW
        )
    assert (await thread.page()).reads == ()


async def test_targets_are_entries_of_the_same_journal(thread: Thread) -> None:
    said = await thread.say("asked")
    answer = await thread.hear("answered", "$a", reply_to=said.entry_id)
    target = await thread.pool.fetchval("SELECT target_id FROM entry WHERE id = $1", answer.entry_id)
    assert EntryId(target) == said.entry_id
