"""The socket: what changed reaches whom it concerns, once; nobody else, and nobody without a session."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from quart.testing.connections import WebsocketDisconnectError
from werkzeug.datastructures import Headers

from bridge.feed import Change, Notification
from policies.vocabulary import Person
from portal import live
from portal.hub import KEPT, Hub
from tests.portal.scene import Scene
from tests.portal.stage import COOKIE


@asynccontextmanager
async def socket(scene: Scene, person: Person | None, mark: str = "", **more: str) -> Any:
    headers = Headers(more)
    if person is not None:
        headers["Cookie"] = f"{COOKIE}={await scene.cast.session(person)}"
    query = {"conversation": str(scene.thread), "mark": mark}
    async with scene.app.test_client().websocket("/live", headers=headers, query_string=query) as opened:
        yield opened


async def told(opened: Any, *, within: float = 10) -> list[list[str]]:
    async with asyncio.timeout(within):
        return list(json.loads(await opened.receive())["changes"])


async def current(scene: Scene) -> str:
    """The feed's mark, once it listens."""
    hub: Hub = scene.app.extensions["hub"]
    async with asyncio.timeout(10):
        await hub.listening.wait()
    return hub.mark()


async def test_a_message_is_told_to_its_members_as_a_line_and_a_row(scene: Scene) -> None:
    mark = await current(scene)
    async with socket(scene, scene.sara, mark) as sara:
        entry = await scene.cast.say(scene.amina, scene.thread, "Only for Sara")
        changes = await told(sara)
    assert [change[0] for change in changes] == ["message", "row"]
    assert f"m-{entry}" in changes[0][2]
    assert "Only for Sara" in changes[0][2]


async def test_ones_own_message_comes_once_together_with_its_delivery(scene: Scene) -> None:
    mark = await current(scene)
    async with socket(scene, scene.sara, mark) as sara:
        await scene.cast.carried(scene.thread)
        await scene.cast.say(scene.amina, scene.thread, "The page is there")
        while "The page is there" not in str(await told(sara)):
            pass
        entry = await scene.cast.say(scene.sara, scene.thread, "From the other window")
        await scene.cast.carried(scene.thread)
        (line, row) = await told(sara)
        assert (line[0], row[0]) == ("message", "row")
        assert f"m-{entry}" in line[2]
        assert "Sent, not seen yet" in line[2]
        await scene.cast.say(scene.sara, scene.thread, "This one isn’t delivered")
        (line, row) = await told(sara)
    assert "This one isn’t delivered" in line[2]
    assert 'aria-label="Sending"' in line[2]


async def test_an_outsider_with_the_same_address_is_told_nothing(scene: Scene) -> None:
    mark = await current(scene)
    async with socket(scene, scene.charlie, mark) as charlie, socket(scene, scene.sara, mark) as sara:
        await charlie.send(json.dumps({"open": str(scene.thread), "mark": mark}))
        await charlie.send(json.dumps({"read": 1, "conversation": str(scene.thread)}))
        await charlie.send(json.dumps({"typing": True, "conversation": str(scene.thread)}))
        await scene.cast.say(scene.amina, scene.thread, "Only for Sara")
        assert await told(sara)
        with pytest.raises(TimeoutError):
            await told(charlie, within=0.5)


async def test_what_happened_since_the_page_was_made_is_told_on_connecting(scene: Scene) -> None:
    mark = await current(scene)
    first = await scene.cast.say(scene.amina, scene.thread, "While the page was on its way")
    hub: Hub = scene.app.extensions["hub"]
    async with asyncio.timeout(10):
        while hub.mark() == mark:
            await asyncio.sleep(0.01)
    async with socket(scene, scene.sara, mark) as sara:
        changes = await told(sara)
    assert f"m-{first}" in changes[0][2]


async def test_a_page_that_was_away_too_long_asks_for_everything_again(scene: Scene) -> None:
    for mark in ("", "another-process.7", "nonsense"):
        async with socket(scene, scene.sara, mark) as sara:
            assert (await told(sara))[0] == ["again"]


async def test_reading_is_kept_and_the_row_is_no_longer_bold(scene: Scene) -> None:
    await scene.cast.say(scene.amina, scene.thread, "Unread")
    mark = await current(scene)
    async with socket(scene, scene.sara, mark) as sara:
        await sara.send(json.dumps({"read": 2, "conversation": str(scene.thread)}))
        async with asyncio.timeout(10):
            while (last := (await told(sara))[-1])[0] != "row" or "is-unread" in last[2]:
                pass  # the message itself may be told first


@pytest.mark.parametrize("there", [True, False])
async def test_a_page_that_reads_on_by_itself_keeps_nobody_signed_in(scene: Scene, there: bool) -> None:
    """A client who writes now and then must not keep the page of somebody open who went home (S1)."""
    pool, mark = scene.cast.pool, await current(scene)
    long_ago = "UPDATE portal_session SET last_seen_at = now() - interval '20 minutes'"
    async with socket(scene, scene.sara, mark) as sara:
        await pool.execute(long_ago)
        await scene.cast.say(scene.amina, scene.thread, "Are you there?")
        await told(sara)
        await sara.send(json.dumps({"read": 2, "conversation": str(scene.thread), "there": there}))
        await told(sara)
        seen = await pool.fetchval("SELECT last_seen_at > now() - interval '1 minute' FROM portal_session")
    assert seen is there
    visit = await scene.visit(scene.sara)
    await pool.execute(long_ago)
    unattended = {"HX-Request": "true"} | ({} if there else {"X-Unattended": "1"})
    answer = await visit.client.get(f"/chat/{scene.thread}/latest", headers=unattended)
    assert answer.status_code == 200
    fresh = "SELECT count(*) FROM portal_session WHERE last_seen_at > now() - interval '1 minute'"
    assert (await pool.fetchval(fresh) > 0) is there


async def test_nonsense_from_a_page_changes_nothing_and_ends_nothing(scene: Scene) -> None:
    mark = await current(scene)
    async with socket(scene, scene.sara, mark) as sara:
        for frame in (
            "", "[]", "{", "x" * 5000, '{"read": -1}', '{"read": "1"}', '{"open": 7}', '{"typing": 1}',
            '{"read": 99999999999999999999, "conversation": "no"}',
        ):  # fmt: skip
            await sara.send(frame)
        await sara.send(json.dumps({"open": str(scene.thread), "mark": mark}))
        assert (await told(sara))[0] == ["again"]
        entry = await scene.cast.say(scene.amina, scene.thread, "Still there?")
        assert f"m-{entry}" in (await told(sara))[0][2]


async def test_without_a_session_or_from_another_site_there_is_no_socket(scene: Scene) -> None:
    async with socket(scene, None) as nobody:
        with pytest.raises(WebsocketDisconnectError) as closed:
            await nobody.receive()
    assert str(live.SIGNED_OUT) in str(closed.value)
    async with socket(scene, scene.sara, Origin="https://elsewhere.example") as elsewhere:
        with pytest.raises(WebsocketDisconnectError):
            await elsewhere.receive()


async def test_signing_out_ends_the_open_page(scene: Scene) -> None:
    mark = await current(scene)
    async with socket(scene, scene.sara, mark) as sara:
        async with scene.cast.pool.acquire() as connection:
            await connection.execute("DELETE FROM portal_session")
        await sara.send(json.dumps({"read": 1, "conversation": str(scene.thread)}))
        with pytest.raises(WebsocketDisconnectError) as closed:
            await asyncio.wait_for(sara.receive(), 10)
    assert str(live.SIGNED_OUT) in str(closed.value)


async def test_the_hub_keeps_the_last_of_what_was_told(scene: Scene) -> None:
    class Listener:
        person_id = scene.sara.id

        def __init__(self) -> None:
            self.heard: list[Notification] = []

        def take(self, notification: Notification) -> None:
            self.heard.append(notification)

    async def feed() -> Any:
        yield Notification(Change.REWAKE)
        for _ in range(KEPT + 10):
            yield Notification(Change.DELIVERY, scene.thread)
        yield Notification(Change.DELIVERY, scene.thread.__class__(int=uuid4().int))

    hub, early, late, lost = Hub(scene.cast.pool), Listener(), Listener(), Listener()
    hub.join(early, hub.mark())
    await hub.run(feed())
    epoch = hub.mark().split(".")[0]
    assert [n.change for n in early.heard] == [Change.REWAKE] + [Change.DELIVERY] * (KEPT + 10)
    hub.catch_up(late, f"{epoch}.{KEPT + 5}")
    assert len(late.heard) == 5
    hub.catch_up(lost, f"{epoch}.3")
    assert [n.change for n in lost.heard] == [Change.REWAKE]
