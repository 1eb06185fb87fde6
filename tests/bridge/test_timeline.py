"""A page of a conversation: its order, its edges, and nothing that its reader may not have."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import conversations, messages, timeline
from bridge.database import Pool, transaction
from bridge.errors import NotAllowed, NotFound
from policies.content import Text
from policies.vocabulary import ConversationId
from tests.support.thread import Thread, a_thread


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    return await a_thread(pool)


def words(page: timeline.Page) -> list[str]:
    return [line.content.body for line in page.lines if isinstance(line.content, Text)]


async def test_the_last_lines_come_first_and_older_ones_follow(thread: Thread) -> None:
    for number in range(7):
        await thread.say(f"{number}")
    page = await thread.page(limit=3)
    assert (words(page), page.has_older) == (["4", "5", "6"], True)
    page = await thread.page(limit=3, before=page.lines[0].seq)
    assert (words(page), page.has_older) == (["1", "2", "3"], True)
    page = await thread.page(limit=3, before=page.lines[0].seq)
    assert (words(page), page.has_older) == (["0"], False)


async def test_catching_up_gives_what_came_after(thread: Thread) -> None:
    posted = [await thread.say(f"{n}") for n in range(5)]
    assert words(await thread.page(after=posted[2].seq)) == ["3", "4"]
    assert words(await thread.page(after=posted[4].seq)) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 6))
async def test_every_way_of_paging_shows_every_line_once(thread: Thread, limit: int) -> None:
    if not await thread.lines():
        for number in range(11):
            posted = await thread.say(f"{number}")
            if number % 3 == 0:
                edit = {"author": thread.therapist.id, "entry": posted.entry_id}
                await thread.act(messages.edit, content=Text(f"{number}"), **edit)
    seen: list[str] = []
    before = None
    while True:
        page = await thread.page(limit=limit, before=before)
        seen = words(page) + seen
        if not page.has_older:
            break
        before = page.lines[0].seq
    assert seen == [f"{number}" for number in range(11)]


async def test_who_joins_later_gets_what_is_said_from_then_on(thread: Thread) -> None:
    old = await thread.say("before")
    await thread.pool.execute(
        "UPDATE member SET joined_seq = $2 WHERE person_id = $1", thread.client.id, old.seq
    )
    await thread.say("about that", reply_to=old.entry_id)
    (line,) = await thread.lines(thread.client)
    assert line.content == Text("about that")
    assert line.reply_to is not None
    assert line.reply_to.content is None
    assert (await thread.page(thread.client, before=old.seq + 1)).lines == ()
    with pytest.raises(NotFound):
        await thread.say("what was it?", thread.client, reply_to=old.entry_id)


async def test_an_outsider_gets_nothing_whatever_they_ask(thread: Thread) -> None:
    said = await thread.say("between us")
    charlie = (await a_thread(thread.pool)).therapist
    for conversation in (thread.id, ConversationId(uuid4())):
        async with transaction(thread.pool) as tx:
            with pytest.raises(NotFound):
                await timeline.page(tx, thread.keys, charlie.id, conversation)
            with pytest.raises(NotFound):
                await timeline.some(tx, thread.keys, charlie.id, conversation, [said.entry_id])


async def test_lines_of_another_conversation_are_not_among_some(thread: Thread) -> None:
    other = await a_thread(thread.pool)
    elsewhere, here = await other.say("elsewhere"), await thread.say("here")
    async with transaction(thread.pool) as tx:
        page = await timeline.some(
            tx, thread.keys, thread.therapist.id, thread.id, [elsewhere.entry_id, here.entry_id]
        )
    assert words(page) == ["here"]


async def test_a_member_who_was_removed_reads_nothing_more(thread: Thread) -> None:
    await thread.say("hello")
    await thread.pool.execute("UPDATE member SET removed_at = now() WHERE person_id = $1", thread.client.id)
    with pytest.raises(NotFound):
        await thread.page(thread.client)


async def test_how_far_a_message_is_on_its_way_stands_beside_it(thread: Thread) -> None:
    posted = await thread.say("hello")
    (line,) = await thread.lines()
    assert [(one.person_id, one.state, one.hold) for one in line.deliveries] == [
        (thread.client.id, "pending", "no_device")
    ]
    await thread.open_leg()
    await thread.pool.execute("UPDATE delivery SET state = 'sent' WHERE entry_id = $1", posted.entry_id)
    (line,) = await thread.lines()
    assert [(one.state, one.hold) for one in line.deliveries] == [("sent", None)]


async def test_of_an_erased_conversation_only_its_shape_is_left(thread: Thread) -> None:
    """Its key is destroyed (S2): nothing opens, and nothing falls over."""
    await thread.say("between us")
    await thread.say("and this", thread.client)
    await thread.pool.execute(
        "UPDATE conversation SET wrapped_key = NULL, title_sealed = 'x' WHERE id = $1", thread.id
    )
    assert [(line.content, line.unreadable) for line in await thread.lines()] == [(None, True)] * 2
    for author in (thread.therapist, thread.client):
        with pytest.raises(NotAllowed):
            await thread.say("and now?", author)
    async with transaction(thread.pool) as tx:
        (row,) = [
            row for row in await conversations.list_for(tx, thread.keys, thread.therapist.id)
            if row.id == thread.id
        ]  # fmt: skip
        assert (row.has_own_title, row.last and row.last.content) == (False, None)
