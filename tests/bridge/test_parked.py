"""Events that could not become entries: kept once as they came, tried in their order, ended for good."""

import pytest

from bridge import parked
from bridge.database import Pool, transaction
from bridge.parked import Parked
from tests.support.thread import Thread, a_thread

ROOM = "!room:ruh.test"


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    return await a_thread(pool)


async def park(thread: Thread, event_id: str, *, again_in: float | None = 0, **content: object) -> bool:
    event = {"event_id": event_id, "sender": "@c:ruh.test", "content": content}
    async with transaction(thread.pool) as tx:
        return await parked.park(
            tx, leg=thread.leg, room_id=ROOM, event=event, reason="missing_session", again_in=again_in
        )


async def due(thread: Thread) -> list[str]:
    async with transaction(thread.pool) as tx:
        return [event.event_id for event in await parked.due(tx)]


async def one(thread: Thread, event_id: str) -> Parked | None:
    async with transaction(thread.pool) as tx:
        return await parked.one(tx, ROOM, event_id)


async def test_an_event_is_kept_once(thread: Thread) -> None:
    assert await park(thread, "$one")
    assert not await park(thread, "$one")
    assert await due(thread) == ["$one"]


@pytest.mark.parametrize("odd", ["\x00", "\ud800", "\u202e", 7, None, ["x"], {"y": "\x00"}, "s" * 70_000])
async def test_anything_at_all_can_be_kept_and_comes_back_as_it_was(thread: Thread, odd: object) -> None:
    await park(thread, "$odd", session_id=odd, ciphertext=odd)
    kept = await one(thread, "$odd")
    assert kept is not None
    assert kept.raw["content"] == {"session_id": odd, "ciphertext": odd}


async def test_those_of_one_session_come_in_the_order_they_came(thread: Thread) -> None:
    for number in range(5):
        await park(thread, f"${9 - number}", session_id="S" if number != 2 else "other")
    async with transaction(thread.pool) as tx:
        found = [event.event_id for event in await parked.of_session(tx, ROOM, "S")]
    assert found == ["$9", "$8", "$6", "$5"]


async def test_what_can_never_be_read_is_not_tried_again(thread: Thread) -> None:
    await park(thread, "$hopeless", again_in=parked.FOREVER)
    assert await due(thread) == []
    assert await one(thread, "$hopeless") is not None, "the operator still finds it"


async def test_a_try_counts_and_waits(thread: Thread) -> None:
    await park(thread, "$later")
    event = await one(thread, "$later")
    assert event is not None
    async with transaction(thread.pool) as tx:
        await parked.tried(tx, event, "unknown_device", 3600)
    assert await due(thread) == []
    tried = await one(thread, "$later")
    assert tried is not None
    assert (tried.attempts, tried.reason) == (1, "unknown_device")


async def test_what_became_an_entry_takes_its_notice_with_it(thread: Thread) -> None:
    await park(thread, "$found")
    notice = await thread.say("could not be read")
    async with transaction(thread.pool) as tx:
        await parked.set_notice(tx, ROOM, "$found", notice.entry_id)
        event = await parked.one(tx, ROOM, "$found")
        assert event is not None
        await parked.resolved(tx, event)
    assert await one(thread, "$found") is None
    (line,) = await thread.lines()
    assert line.deleted_at is not None


async def test_what_is_settled_or_came_in_clear_is_kept_without_its_content(thread: Thread) -> None:
    """A deleted message's words must not live on here, and words in the clear nowhere (S2)."""
    await park(thread, "$late", ciphertext="I feel awful")
    waiting = await one(thread, "$late")
    assert waiting is not None
    async with transaction(thread.pool) as tx:
        await parked.resolved(tx, waiting)
    await park(thread, "$clear", again_in=parked.FOREVER, body="I feel awful")
    kept = await thread.pool.fetch("SELECT raw FROM parked_event")
    assert len(kept) == 2
    assert all("awful" not in row["raw"] for row in kept)


async def test_a_ciphertext_that_helps_nobody_yet_is_kept(thread: Thread) -> None:
    event = {
        "event_id": "$x",
        "sender": "@c:ruh.test",
        "type": parked.ENCRYPTED,
        "content": {"ciphertext": "A"},
    }
    async with transaction(thread.pool) as tx:
        await parked.park(
            tx, leg=thread.leg, room_id=ROOM, event=event, reason="replayed", again_in=parked.FOREVER
        )
    kept = await one(thread, "$x")
    assert kept is not None
    assert kept.raw == event
