"""The drivers themselves, on a real homeserver: each way between nio and Element, both ways round."""

import asyncio

import pytest
import pytest_asyncio

from tests.clients import nio_client
from tests.clients.clients import Clients
from tests.clients.conftest import PASSWORD, Account, RoomOf
from tests.clients.element import Element
from tests.clients.nio_client import NioClient
from tests.clients.protocol import ClientError, NotSeen, RealClient
from tests.clients.raw import Raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

Pair = tuple[RealClient, RealClient, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def element(clients: Clients, account: Account) -> Element:
    return await clients.element(await account(), PASSWORD)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nio(clients: Clients, account: Account) -> NioClient:
    return await clients.nio(await account(), PASSWORD)


@pytest_asyncio.fixture(params=["from Element to nio", "from nio to Element"], loop_scope="module")
async def pair(request: pytest.FixtureRequest, element: Element, nio: NioClient, room_of: RoomOf) -> Pair:
    """Writer, reader and a room of theirs."""
    room = await room_of(element, nio)
    return (element, nio, room) if request.param == "from Element to nio" else (nio, element, room)


async def test_a_text_its_reply_its_edit_and_its_reaction_arrive(pair: Pair) -> None:
    writer, reader, room = pair
    sent = await writer.send(room, "Good morning", formatted="<b>Good</b> morning")
    seen = await reader.wait_for(room, lambda item: item.event_id == sent)
    assert (seen.body, seen.formatted, seen.sender) == (
        "Good morning",
        "<b>Good</b> morning",
        writer.user_id,
    )
    assert seen.encrypted
    assert seen.failure is None

    answer = await reader.reply(room, sent, "And to you")
    assert (await writer.wait_for(room, lambda item: item.event_id == answer)).reply_to == sent

    await writer.edit(room, sent, "Good evening")
    edited = await reader.wait_for(room, lambda item: item.event_id == sent and item.edited)
    assert edited.body == "Good evening"
    assert edited.formatted is None

    await reader.react(room, sent, "👍")
    liked = await writer.wait_for(room, lambda item: bool(item.reactions))
    assert {key: list(users) for key, users in liked.reactions.items()} == {"👍": [reader.user_id]}


async def test_a_redacted_message_is_gone(pair: Pair) -> None:
    writer, reader, room = pair
    sent = await writer.send(room, "regretted")
    await reader.wait_for(room, lambda item: item.body == "regretted")
    await writer.redact(room, sent)
    gone = await reader.wait_for(room, lambda item: item.event_id == sent and item.redacted)
    assert not gone.content
    assert gone.failure is None


async def test_receipts_and_typing_are_seen(pair: Pair) -> None:
    writer, reader, room = pair
    sent = await writer.send(room, "read me")
    await reader.wait_for(room, lambda item: item.event_id == sent)
    await reader.read(room, sent)

    async def has_read() -> bool:
        return (await writer.receipts(room)).get(reader.user_id) == sent

    async def types() -> bool:
        return await writer.typists(room) == {reader.user_id}

    async def rests() -> bool:
        return not await writer.typists(room)

    await writer.wait_until(has_read)
    await reader.typing(room)
    await writer.wait_until(types)
    await reader.typing(room, on=False)
    await writer.wait_until(rests)


async def test_attachments_arrive_encrypted_and_whole(pair: Pair) -> None:
    writer, reader, room = pair
    data = bytes(range(256)) * 20
    picture = await writer.send_file(room, data, name="a.png", mimetype="image/png", msgtype="m.image", w=4)
    seen = await reader.wait_for(room, lambda item: item.event_id == picture)
    assert (seen.msgtype, seen.body, seen.content["info"]["w"]) == ("m.image", "a.png", 4)
    assert "url" not in seen.content
    assert await reader.download(room, picture) == data

    voice = await writer.send_voice(room, data, duration_ms=1200)
    assert (await reader.wait_for(room, lambda item: item.event_id == voice)).is_voice
    place = await writer.send_location(room, 52.5, 13.4)
    assert (await reader.wait_for(room, lambda item: item.event_id == place)).content[
        "geo_uri"
    ] == "geo:52.5,13.4"


async def test_who_was_offline_reads_everything_afterwards(pair: Pair) -> None:
    writer, reader, room = pair
    await reader.go_offline()
    missed = [f"message {number}" for number in range(5)]
    for body in missed:
        await writer.send(room, body)
    await reader.go_online()
    await reader.wait_for(room, lambda item: item.body == missed[-1])
    assert [item.body for item in await reader.timeline(room)] == missed
    await reader.send(room, "here I am")
    await writer.wait_for(room, lambda item: item.body == "here I am")


async def test_a_gap_longer_than_a_sync_carries_is_filled(
    element: Element, nio: NioClient, clients: Clients, room_of: RoomOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nio_client, "SYNC_FILTER", {"room": {"timeline": {"limit": 3}}})
    room = await room_of(element, nio)
    await element.send(room, "before")
    await nio.wait_for(room, lambda item: item.body == "before")
    await nio.go_offline()
    missed = [f"message {number}" for number in range(8)]
    for body in missed:
        await element.send(room, body)
    await nio.go_online()
    await nio.wait_for(room, lambda item: item.body == missed[-1])
    assert [item.body for item in await nio.timeline(room)] == ["before", *missed]

    newcomer = await clients.nio(nio.user_id, PASSWORD)
    assert len(await newcomer.timeline(room)) == 3
    await newcomer.history(room)
    rows = await newcomer.timeline(room)
    assert len(rows) == 9
    assert all(row.failure for row in rows), "it has none of the keys"


async def test_the_homeserver_refuses_plaintext_and_the_reason_comes_through(pair: Pair) -> None:
    writer, _, room = pair
    with pytest.raises(ClientError) as refused:
        await writer.send_plaintext(room, "m.room.message", {"msgtype": "m.text", "body": "in clear"})
    assert (refused.value.code, refused.value.status) == ("M_FORBIDDEN", 403)
    with pytest.raises(ClientError) as refused:
        await writer.redact(room, "$nothing")
    assert refused.value.status in {403, 404}


async def test_waiting_in_vain_says_what_there_was_instead(pair: Pair) -> None:
    writer, _, room = pair
    await writer.send(room, "something else")
    await writer.wait_for(room, lambda item: item.body == "something else")
    with pytest.raises(NotSeen, match="something else"):
        await writer.wait_for(room, lambda item: item.body == "never said", timeout=0.2)


async def test_element_shows_who_cannot_be_trusted(
    element: Element, nio: NioClient, host: Raw, room_of: RoomOf
) -> None:
    room = await room_of(element, nio)
    await nio.send(room, "from a device without a signature")
    seen = await element.wait_for(room, lambda item: item.sender == nio.user_id)
    assert (seen.shield, seen.shield_reason) == ("red", "UNSIGNED_DEVICE")
    clear = {"msgtype": "m.text", "body": "in clear"}
    (await host.send(room, "m.room.message", clear)).must()
    seen = await element.wait_for(room, lambda item: item.body == "in clear")
    assert (seen.shield, seen.shield_reason) == ("red", "SENT_IN_CLEAR")
    pushed = [push["sender"] for push in element.pushes if push["push"] == "message" and push["room"] == room]
    assert pushed == [nio.user_id, host.user_id]


async def test_a_new_device_reads_old_messages_from_its_backup(
    nio: NioClient, clients: Clients, account: Account, room_of: RoomOf
) -> None:
    user = await account()
    phone = await clients.element(user, PASSWORD)
    room = await room_of(phone, nio)
    await nio.send(room, "before the laptop")
    await phone.wait_for(room, lambda item: item.body == "before the laptop")
    key = await phone.make_recoverable()
    stranger = await clients.element(user, PASSWORD)
    lost = await stranger.wait_for(room, lambda item: item.failure is not None)
    assert lost.failure == "HISTORICAL_MESSAGE_BACKUP_UNCONFIGURED"
    laptop = await clients.element(user, PASSWORD, recovery_key=key)
    await laptop.wait_for(room, lambda item: item.body == "before the laptop")
    for device in (phone, stranger, laptop):
        await device.close()


async def test_a_signed_device_has_no_shield_and_a_reset_identity_is_another(
    element: Element, clients: Clients, account: Account, room_of: RoomOf
) -> None:
    changing = await clients.element(await account(), PASSWORD)
    room = await room_of(changing, element)
    await changing.send(room, "before")
    assert (await element.wait_for(room, lambda item: item.body == "before")).shield is None
    before = await _master_key(element, changing.user_id)
    await changing.reset_identity()
    assert await _master_key(element, changing.user_id) != before
    await changing.send(room, "after")
    await element.wait_for(room, lambda item: item.body == "after")
    await changing.close()


async def _master_key(asking: RealClient, user: str) -> str:
    async with asking.raw() as raw:
        found = (await raw.call("POST", "keys", "query", body={"device_keys": {user: []}})).must()
    return str(found["master_keys"][user]["keys"])


async def test_a_logged_out_device_is_gone(clients: Clients, account: Account) -> None:
    user = await account()
    stays = await clients.nio(user, PASSWORD)
    for leaves in (await clients.element(user, PASSWORD), await clients.nio(user, PASSWORD)):
        await leaves.logout()
        with pytest.raises(ClientError):
            await leaves.rooms()
    async with stays.raw() as raw:
        devices = (await raw.call("GET", "devices")).must()["devices"]
    assert [device["device_id"] for device in devices] == [stays.device_id]


async def test_a_client_that_died_ends_every_wait(clients: Clients, account: Account) -> None:
    element = await clients.element(await account(), PASSWORD)
    waiting = asyncio.create_task(element.room_with(lambda room: room.name == "never"))
    await element.rooms()
    assert element._process
    element._process.kill()
    with pytest.raises(ClientError, match="gone"):
        await waiting
