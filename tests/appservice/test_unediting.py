"""A client takes one edit of theirs back in their app: the words before it hold again, here as there."""

from datetime import timedelta
from typing import Any, cast

import pytest

from appservice import receive
from appservice.context import Context
from bridge import legs, messages, outbox, restore
from bridge.database import Pool, transaction
from bridge.errors import NotFound
from bridge.journal import Origin
from bridge.unediting import take_back
from policies.content import Text
from policies.vocabulary import EntryId, EventId, LegId
from tests.support.people import SERVER_NAME, make
from tests.support.thread import NOW, Thread, a_thread


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    thread = await a_thread(pool)
    await thread.open_leg()
    return thread


async def edit(thread: Thread, entry: EntryId, words: str, event: str) -> EntryId:
    posted = await thread.act(
        messages.edit, author=thread.client.id, entry=entry, content=Text(words),
        origin=Origin(thread.leg, EventId(event)),
    )  # fmt: skip
    return EntryId(posted.entry_id)


async def redact(thread: Thread, event: str, by: str = "$r") -> None:
    """As a sync brings it."""
    nobody = cast(Any, None)
    context = Context(thread.pool, thread.keys, nobody, nobody, nobody, SERVER_NAME)
    async with transaction(thread.pool) as tx:
        leg = await legs.get(tx, thread.leg)
        content = {"redacts": event}
        await receive.take(
            tx, context, leg,
            {"type": "m.room.redaction", "event_id": by, "sender": leg.user_id, "content": content},
        )  # fmt: skip
        assert await tx.fetchval("SELECT count(*) FROM parked_event") == 0


async def test_the_words_before_it_hold_again(thread: Thread) -> None:
    said = await thread.hear("I am well", "$m")
    await edit(thread, said.entry_id, "I am not well", "$e1")
    await edit(thread, said.entry_id, "I can't go on", "$e2")
    await redact(thread, "$e2")
    assert await thread.bodies() == ["I am not well"]
    await redact(thread, "$e1", "$r2")
    assert await thread.bodies() == ["I am well"]


async def test_one_that_was_not_in_force_changes_nothing_that_is_shown(thread: Thread) -> None:
    said = await thread.hear("one", "$m")
    await edit(thread, said.entry_id, "two", "$e1")
    await edit(thread, said.entry_id, "three", "$e2")
    for by in ("$r", "$r"):  # a replayed sync
        await redact(thread, "$e1", by)
    assert await thread.bodies() == ["three"]
    await redact(thread, "$e2", "$r2")
    assert await thread.bodies() == ["one"]


async def test_its_words_are_destroyed_after_their_time(thread: Thread) -> None:
    said = await thread.hear("one", "$m")
    entry = await edit(thread, said.entry_id, "two", "$e1")
    await redact(thread, "$e1")
    async with transaction(thread.pool) as tx:
        assert await restore.erase_due(tx, at=NOW + timedelta(days=3650)) == 1
        assert await tx.fetchval("SELECT sealed FROM entry WHERE id = $1", entry) is None
    assert await thread.bodies() == ["one"]


async def test_in_other_rooms_its_event_is_redacted_and_the_words_before_are_sent(
    thread: Thread, pool: Pool
) -> None:
    """As in a group: here the therapist's own words, taken back over the same way, stand for another's."""
    said = await thread.say("one")
    edited = await thread.act(
        messages.edit, author=thread.therapist.id, entry=said.entry_id, content=Text("two")
    )
    await pool.execute("UPDATE delivery SET state = 'sent', event_id = '$' || id")
    await thread.act(take_back, author=thread.therapist.id, edit=edited.entry_id, keep=timedelta(days=1))
    async with transaction(pool) as tx:
        load = await outbox.load(tx, thread.keys, LegId(thread.leg))
        assert load is not None
        gone = await tx.fetchval("SELECT event_id FROM delivery WHERE entry_id = $1", edited.entry_id)
    assert [(item.kind, item.content, item.target_event == gone) for item in load.items] == [
        ("deletion", None, True), ("edit", Text("one"), False)
    ]  # fmt: skip


async def test_nobody_takes_back_what_somebody_else_has_changed(thread: Thread) -> None:
    said = await thread.hear("one", "$m")
    entry = await edit(thread, said.entry_id, "two", "$e1")
    async with transaction(thread.pool) as tx:
        other = await make(tx, thread.keys)
    for author in (thread.therapist.id, other.id):
        with pytest.raises(NotFound):
            await thread.act(take_back, author=author, edit=entry, keep=timedelta(days=1))
    assert await thread.bodies() == ["two"]
