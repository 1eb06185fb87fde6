"""What one leg has to carry: in the journal's order, only when it may go, and never what was taken back."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge import legs, messages, outbox
from bridge.database import Pool, transaction
from bridge.outbox import Item, Load
from policies.content import Reaction, Text
from policies.vocabulary import EntryKind
from tests.support.thread import Thread, a_thread


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    thread = await a_thread(pool)
    await thread.open_leg()
    return thread


async def load(thread: Thread, limit: int = 25) -> Load | None:
    async with transaction(thread.pool) as tx:
        return await outbox.load(tx, thread.keys, thread.leg, limit)


async def items(thread: Thread) -> tuple[Item, ...]:
    found = await load(thread)
    return () if found is None else found.items


async def due(thread: Thread) -> bool:
    async with transaction(thread.pool) as tx:
        return thread.leg in await outbox.legs_due(tx)


async def sent(thread: Thread, event: str) -> None:
    """The first that waits goes out as this event."""
    found = await load(thread)
    assert found is not None
    async with transaction(thread.pool) as tx:
        await outbox.sent(tx, found, found.items[0], event)


async def test_a_leg_carries_in_the_order_of_the_journal(thread: Thread) -> None:
    for number in range(5):
        await thread.say(f"{number}")
    assert [item.content for item in await items(thread)] == [Text(f"{number}") for number in range(5)]
    found = await load(thread, 2)
    assert found is not None
    assert len(found.items) == 2


async def test_the_clients_own_words_are_not_carried_back_to_them(thread: Thread) -> None:
    await thread.hear("mine", "$mine")
    assert await items(thread) == ()
    assert not await due(thread)


async def test_an_edit_knows_the_event_of_what_it_edits(thread: Thread) -> None:
    said = await thread.say("one")
    await thread.act(messages.edit, author=thread.therapist.id, entry=said.entry_id, content=Text("two"))
    await sent(thread, "$one")
    (edit,) = await items(thread)
    assert (edit.kind, edit.content, edit.target_event) == (EntryKind.EDIT, Text("two"), "$one")


async def test_a_deletion_knows_all_events_of_the_message_its_edits_first(thread: Thread) -> None:
    said = await thread.say("one")
    await thread.act(messages.edit, author=thread.therapist.id, entry=said.entry_id, content=Text("two"))
    await sent(thread, "$one")
    await sent(thread, "$two")
    await thread.act(messages.delete, author=thread.therapist.id, entry=said.entry_id)
    (deletion,) = await items(thread)
    async with transaction(thread.pool) as tx:
        about = await outbox.events_about(tx, thread.leg, said.entry_id, deletion.id)
    assert [event for _, event in about] == ["$two", "$one"]


async def test_a_reaction_to_the_clients_message_knows_their_event(thread: Thread) -> None:
    heard = await thread.hear("I slept", "$theirs")
    await thread.act(
        messages.react, author=thread.therapist.id, entry=heard.entry_id, reaction=Reaction("👍")
    )
    (item,) = await items(thread)
    assert item.target_event == "$theirs"


@pytest.mark.parametrize("hold", ["no_device", "identity_changed", "left"])
async def test_a_held_leg_carries_nothing_until_it_is_let_go(thread: Thread, hold: str) -> None:
    await thread.say("waits")
    async with transaction(thread.pool) as tx:
        await legs.set_hold(tx, thread.leg, hold)
    assert (await load(thread), await due(thread)) == (None, False)
    async with transaction(thread.pool) as tx:
        await legs.set_hold(tx, thread.leg, None)
    assert await due(thread)
    assert len(await items(thread)) == 1


async def test_what_is_postponed_keeps_its_place_before_the_rest(thread: Thread) -> None:
    await thread.say("first")
    await thread.say("second")
    found = await load(thread)
    assert found is not None
    async with transaction(thread.pool) as tx:
        await outbox.postponed(tx, found, found.items[0], "RUH_UNREACHABLE", 3600)
    first, second = await items(thread)
    assert [(first.content, first.due), (second.content, second.due)] == [
        (Text("first"), False), (Text("second"), True),
    ]  # fmt: skip
    assert first.attempts == 1


@pytest.mark.parametrize(("error", "goes"), [("RUH_UNREACHABLE", True), ("M_FORBIDDEN", False)])
async def test_what_the_homeserver_was_away_for_goes_when_it_is_back(
    thread: Thread, error: str, goes: bool
) -> None:
    await thread.say("first")
    found = await load(thread)
    assert found is not None
    async with transaction(thread.pool) as tx:
        await outbox.postponed(tx, found, found.items[0], error, 3600)
        await outbox.hasten(tx)
    assert await due(thread) is goes


async def test_what_was_prepared_stays_as_it_is(thread: Thread) -> None:
    await thread.say("secret")
    (item,) = await items(thread)
    await prepare(thread, item)
    (again,) = await items(thread)
    assert (again.state, again.txn_id, again.payload, again.content) == ("prepared", "txn", "{}", None)


async def prepare(thread: Thread, item: Item) -> bool:
    ready = replace(item, state="prepared", txn_id="txn", payload="{}", prepared_at=datetime.now(UTC))
    async with transaction(thread.pool) as tx:
        return await outbox.prepared(tx, [ready])


async def test_what_was_cancelled_meanwhile_is_not_prepared(thread: Thread) -> None:
    said = await thread.say("regretted")
    (item,) = await items(thread)
    await thread.act(messages.delete, author=thread.therapist.id, entry=said.entry_id)
    assert not await prepare(thread, item)


async def test_what_is_sent_is_gone_from_the_outbox_with_its_ciphertext(thread: Thread) -> None:
    said = await thread.say("hello")
    (item,) = await items(thread)
    await prepare(thread, item)
    await sent(thread, "$sent")
    assert await items(thread) == ()
    row = await thread.pool.fetchrow("SELECT state, payload, event_id FROM delivery")
    assert tuple(row) == ("sent", None, "$sent")
    async with transaction(thread.pool) as tx:
        assert await outbox.entry_of_event(tx, thread.leg, "$sent") == (
            said.entry_id, EntryKind.MESSAGE, said.seq,
        )  # fmt: skip


async def test_what_is_refused_for_good_lets_the_rest_go_on(thread: Thread) -> None:
    await thread.say("refused")
    await thread.say("next")
    found = await load(thread)
    assert found is not None
    async with transaction(thread.pool) as tx:
        await outbox.failed(tx, found, found.items[0], "M_FORBIDDEN")
    (left,) = await items(thread)
    assert left.content == Text("next")
    first, _ = await thread.lines()
    assert first.deliveries[0].state == "failed"
