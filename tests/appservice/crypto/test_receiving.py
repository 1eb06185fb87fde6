"""Clients to us: each message once, from its sender's own device, in any order and whatever is sent."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import vodozemac

from appservice.crypto.errors import (
    DecryptionError,
    Malformed,
    MissingSession,
    Replayed,
    UnknownDevice,
    WrongSender,
)
from bridge.database import transaction
from tests.appservice.crypto.conftest import CLIENT, ROOM, Scene
from tests.appservice.crypto.peer import Peer, identity

STRANGER = "@mallory:ruh.test"


async def test_a_message_reads_as_it_was_written(scene: Scene) -> None:
    await scene.know()
    received = await scene.hand_over(scene.phone)
    assert received.sessions == [(ROOM, scene.phone.group.session_id)]
    read = await scene.decrypt(scene.phone.event(ROOM, "good morning"))
    assert (read.type, read.content["body"], read.device_id) == ("m.room.message", "good morning", "PHONE")


async def test_messages_read_in_any_order(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    events = [scene.phone.event(ROOM, f"number {n}") for n in range(5)]
    for n in (4, 0, 3, 1, 2):
        assert (await scene.decrypt(events[n])).content["body"] == f"number {n}"


async def test_the_same_event_again_is_no_replay(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    event = scene.phone.event(ROOM)
    assert await scene.decrypt(event) == await scene.decrypt(event)


async def test_the_same_ciphertext_in_a_second_event_is_a_replay_for_ever(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    event = scene.phone.event(ROOM)
    await scene.decrypt(event)
    with pytest.raises(Replayed):
        await scene.decrypt(event | {"event_id": "$again"})
    with pytest.raises(Replayed):
        await scene.decrypt(event | {"event_id": "$again"}, machine=scene.another_process())


async def test_an_index_taken_in_a_transaction_that_failed_is_free_again(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    event = scene.phone.event(ROOM)
    with suppress(ZeroDivisionError):
        async with transaction(scene.pool) as tx:
            await scene.machine.decrypt_event(tx, ROOM, event)
            raise ZeroDivisionError
    assert (await scene.decrypt(event | {"event_id": "$other"})).content["body"] == "hello"


async def test_a_session_that_was_rolled_back_is_not_remembered(scene: Scene) -> None:
    await scene.know()
    key = await scene.key_event(scene.phone)
    event = scene.phone.event(ROOM)
    with suppress(ZeroDivisionError):
        async with transaction(scene.pool) as tx:
            await scene.machine.receive_to_device(tx, scene.assistant, [key])
            await scene.machine.decrypt_event(tx, ROOM, event)
            raise ZeroDivisionError
    with pytest.raises(MissingSession):
        await scene.decrypt(event)
    await scene.receive(key)  # the sync is repeated after the crash
    assert (await scene.decrypt(event)).content["body"] == "hello"


async def test_a_message_before_its_key_waits_and_then_reads(scene: Scene) -> None:
    await scene.know()
    key = await scene.key_event(scene.phone)
    event = scene.phone.event(ROOM)
    with pytest.raises(MissingSession) as missing:
        await scene.decrypt(event)
    assert missing.value.retry
    await scene.receive(key)
    assert (await scene.decrypt(event)).content["body"] == "hello"


async def test_a_withheld_key_says_why(scene: Scene) -> None:
    await scene.know()
    content = scene.phone.room_key(ROOM) | {"code": "m.unverified"}
    await scene.receive({"type": "m.room_key.withheld", "sender": CLIENT, "content": content})
    with pytest.raises(MissingSession) as missing:
        await scene.decrypt(scene.phone.event(ROOM))
    assert missing.value.withheld == "m.unverified"


async def test_of_two_copies_the_earlier_stays(scene: Scene) -> None:
    await scene.know()
    early, first = scene.phone.room_key(ROOM), scene.phone.event(ROOM, "first")
    await scene.hand_over(scene.phone)  # from index 1
    with pytest.raises(MissingSession):
        await scene.decrypt(first)
    keys = await scene.device_keys(scene.assistant)
    received = await scene.receive(scene.phone.olm(keys, None, "m.room_key", early))
    assert received.sessions == [(ROOM, scene.phone.group.session_id)]
    assert (await scene.decrypt(first)).content["body"] == "first"
    assert (await scene.hand_over(scene.phone)).sessions == []  # a later copy changes nothing
    assert (await scene.decrypt(first)).content["body"] == "first"


async def test_a_message_from_a_device_not_seen_yet_waits_until_it_is_looked_up(scene: Scene) -> None:
    await scene.hand_over(scene.phone)
    event = scene.phone.event(ROOM)
    with pytest.raises(UnknownDevice) as unknown:
        await scene.decrypt(event)
    assert unknown.value.retry
    await scene.know()
    assert (await scene.decrypt(event)).content["body"] == "hello"


async def test_senders_not_seen_yet_are_looked_up_before_the_transaction(scene: Scene) -> None:
    key = await scene.key_event(scene.phone)
    for _ in range(2):
        await scene.machine.learn_senders(scene.pool, scene.assistant, [key])
    assert scene.server.queries == 1
    await scene.receive(key)
    assert (await scene.decrypt(scene.phone.event(ROOM))).content["body"] == "hello"


async def test_a_device_that_signed_out_is_still_recognised(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    event = scene.phone.event(ROOM)
    scene.server.peers.clear()
    await scene.know()
    assert (await scene.decrypt(event)).device_id == "PHONE"


async def test_a_device_that_the_identity_has_not_signed_is_told_apart(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    assert not (await scene.decrypt(scene.phone.event(ROOM))).unverified  # no identity, nothing to sign with
    stolen = Peer(CLIENT, "STOLEN")
    scene.phone.identity = scene.server.identities[CLIENT] = identity()
    scene.server.peers.append(stolen)
    await scene.know()
    await scene.hand_over(stolen)
    assert (await scene.decrypt(stolen.event(ROOM))).unverified
    assert not (await scene.decrypt(scene.phone.event(ROOM))).unverified


async def test_a_session_serves_its_owner_only(scene: Scene) -> None:
    """Somebody else in the room sends a client's session as their own, or their own as the client's."""
    await scene.know()
    await scene.hand_over(scene.phone)
    mallory = Peer(STRANGER, "EVIL")
    mallory.group = scene.phone.group
    scene.server.peers.append(mallory)
    await scene.know(STRANGER)
    event = scene.phone.event(ROOM)
    with pytest.raises(WrongSender):
        await scene.decrypt(event | {"sender": STRANGER})
    await scene.hand_over(mallory)  # now under their own name too: that takes nothing from the client
    assert (await scene.decrypt(event)).device_id == "PHONE"


async def test_a_key_that_claims_another_devices_signature_serves_nobody(scene: Scene) -> None:
    await scene.know()
    other = Peer(CLIENT, "OTHER")
    scene.server.peers.append(other)
    await scene.know()
    await scene.receive(await scene.key_event(scene.phone, keys={"ed25519": other.ed25519}))
    with pytest.raises(WrongSender):
        await scene.decrypt(scene.phone.event(ROOM))


FORGED: list[dict[str, object]] = [
    {"sender": STRANGER},
    {"recipient": STRANGER},
    {"recipient_keys": {"ed25519": "A" * 43}},
]


async def test_a_forged_inside_is_refused(scene: Scene) -> None:
    for forged in FORGED:
        received = await scene.receive(await scene.key_event(scene.phone, **forged))
        assert received.refused == {"wrong_sender": 1}, forged
        scene.phone.sessions.clear()
    for table in ("megolm_inbound", "olm_session"):
        assert await scene.pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_an_olm_message_twice_is_a_duplicate_and_no_wedge(scene: Scene) -> None:
    await scene.know()
    key = await scene.key_event(scene.phone)
    received = await scene.receive(key, key)
    assert (received.refused, received.wedged) == ({"olm_duplicate": 1}, set())
    assert len(received.sessions) == 1


async def test_a_broken_session_is_told_by_device(scene: Scene) -> None:
    await scene.know()
    await scene.receive(await scene.key_event(scene.phone))
    key = await scene.key_event(scene.phone)
    curve25519 = (await scene.device_keys(scene.assistant))["keys"]["curve25519:RUHASSISTANT"]
    body = key["content"]["ciphertext"][curve25519]["body"]
    key["content"]["ciphertext"][curve25519]["body"] = body[:-4] + ("AAAA" if body[-4:] != "AAAA" else "BBBB")
    received = await scene.receive(key)
    assert (received.refused, received.wedged) == ({"olm_failed": 1}, {(CLIENT, "PHONE")})


async def test_a_fallback_key_opens_any_number_of_sessions(scene: Scene) -> None:
    """One-time keys exhausted: the homeserver hands out the fallback key, again and again."""
    fallback = next(u for u in scene.server.uploads if "fallback_keys" in u and "device_keys" in u)
    ((_, signed),) = fallback["fallback_keys"].items()
    keys = await scene.device_keys(scene.face)
    for n in range(3):
        peer = Peer(f"@c{n}:ruh.test", "D")
        key = peer.olm(keys, signed["key"], "m.room_key", peer.room_key(ROOM))
        assert len((await scene.receive(key, puppet=scene.face)).sessions) == 1


async def test_a_one_time_key_opens_one_session(scene: Scene) -> None:
    keys, one_time_key = await scene.device_keys(scene.face), scene.one_time_key(scene.face)
    first, second = (
        peer.olm(keys, one_time_key, "m.room_key", peer.room_key(ROOM))
        for peer in (Peer("@c1:ruh.test", "D"), Peer("@c2:ruh.test", "D"))
    )
    assert len((await scene.receive(first, puppet=scene.face)).sessions) == 1
    assert (await scene.receive(second, puppet=scene.face)).refused == {"olm_failed": 1}


async def test_forwarded_keys_are_refused(scene: Scene) -> None:
    keys = await scene.device_keys(scene.assistant)
    content = scene.phone.room_key(ROOM)
    event = scene.phone.olm(keys, scene.one_time_key(scene.assistant), "m.forwarded_room_key", content)
    assert (await scene.receive(event)).refused == {"forwarded_room_key": 1}


GARBAGE: list[object] = [
    None,
    7,
    [],
    {},
    {"type": "m.room.encrypted"},
    {"type": "m.room.encrypted", "sender": CLIENT, "content": None},
    {"type": "m.room.encrypted", "sender": "a\x00b", "content": {}},
    {"type": "m.room.encrypted", "sender": CLIENT, "content": {}},
    {"type": "m.room.encrypted", "sender": CLIENT, "content": {"algorithm": "rot13"}},
    {"type": "m.room_key", "sender": CLIENT, "content": {"room_id": ROOM}},
    {"type": "m.room_key.withheld", "sender": CLIENT, "content": {"code": "\ud800"}},
    {"type": "m.room_key.withheld", "sender": CLIENT, "content": {"code": "m.no_olm"}},
    {"type": {"a": 1}, "sender": CLIENT, "content": {}},
]


async def test_garbage_is_counted_and_the_next_message_gets_through(scene: Scene) -> None:
    await scene.know()
    curve25519 = (await scene.device_keys(scene.assistant))["keys"]["curve25519:RUHASSISTANT"]
    bodies: list[object] = [
        None,
        "",
        {},
        {"type": 0},
        {"type": 9, "body": "AA"},
        {"type": 1, "body": "é\x00"},
    ]
    bodies += [{"type": 0, "body": "AwoA"}, {"type": 1, "body": 5}, {"type": [], "body": ""}]
    sealed = [
        {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": key, "ciphertext": {curve25519: body}}
        for body in bodies
        for key in (scene.phone.curve25519, "\x00", 5)
    ]
    events = [*GARBAGE, *({"type": "m.room.encrypted", "sender": CLIENT, "content": c} for c in sealed)]
    received = await scene.receive(*events, await scene.key_event(scene.phone), *events)
    assert len(received.sessions) == 1
    assert sum(received.refused.values()) == 2 * len(events)
    assert "unexpected" not in received.refused
    assert (await scene.decrypt(scene.phone.event(ROOM))).content["body"] == "hello"


async def test_a_malformed_room_key_is_refused(scene: Scene) -> None:
    keys = await scene.device_keys(scene.assistant)
    for change in ({"room_id": "a\x00"}, {"session_id": "A" * 43}, {"session_key": "x"}, {"algorithm": 1}):
        content = scene.phone.room_key(ROOM) | change
        event = scene.phone.olm(keys, scene.one_time_key(scene.assistant), "m.room_key", content)
        assert (await scene.receive(event)).refused == {"room_key_malformed": 1}, change


INSIDES = [
    b"",
    b"[]",
    b"{}",
    b"\xff",
    b'{"type": 1}',
    b"[" * 100_000,
    b'{"type":"t","content":5,"room_id":"!leg:ruh.test"}',
    b'{"type":"t","content":{"n":NaN},"room_id":"!leg:ruh.test"}',
    json.dumps({"type": "t", "content": {"body": "\ud800"}, "room_id": ROOM}).encode(),
]


async def test_a_malformed_inside_is_refused(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    for inside in INSIDES:
        with pytest.raises(Malformed) as refused:
            await scene.decrypt(scene.phone.sealed(inside))
        assert refused.value.code == "payload_malformed", inside[:50]
    assert (await scene.decrypt(scene.phone.event(ROOM))).content["body"] == "hello"


MEGOLM_ID = {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "A" * 43}
CONTENTS: list[object] = [None, [], {}, MEGOLM_ID, MEGOLM_ID | {"session_id": "\x00"}]
CONTENTS += [MEGOLM_ID | {"ciphertext": ciphertext} for ciphertext in (None, 5, "", "é", "AwgA")]


async def test_a_malformed_event_is_refused(scene: Scene) -> None:
    for content in CONTENTS:
        with pytest.raises(DecryptionError) as refused:
            await scene.decrypt({"event_id": "$1", "sender": CLIENT, "content": content})
        assert not refused.value.retry, content


async def test_a_message_for_another_room_is_refused(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    with pytest.raises(Malformed) as refused:
        await scene.decrypt(scene.phone.event("!other:ruh.test"))
    assert refused.value.code == "wrong_room"


async def test_a_tampered_ciphertext_takes_no_index(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    event = scene.phone.event(ROOM)
    raw = bytearray(vodozemac.MegolmMessage.from_base64(event["content"]["ciphertext"]).to_bytes())
    raw[10] ^= 1
    tampered = vodozemac.MegolmMessage.from_bytes(bytes(raw)).to_base64()
    with pytest.raises(Malformed):
        await scene.decrypt(
            event | {"event_id": "$x", "content": event["content"] | {"ciphertext": tampered}}
        )
    assert (await scene.decrypt(event)).content["body"] == "hello"


async def test_a_relation_that_stands_in_clear_belongs_to_the_message(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    event = scene.phone.event(ROOM)
    event["content"]["m.relates_to"] = {"rel_type": "m.replace", "event_id": "$1"}
    assert (await scene.decrypt(event)).content["m.relates_to"]["event_id"] == "$1"


async def test_a_forgotten_leg_cannot_be_read_any_more(scene: Scene) -> None:
    await scene.know()
    await scene.hand_over(scene.phone)
    await scene.say()
    await scene.decrypt(scene.phone.event(ROOM))
    async with transaction(scene.pool) as tx:
        await scene.machine.forget_leg(tx, scene.leg_id)
    with pytest.raises(MissingSession):
        await scene.decrypt(scene.phone.event(ROOM))
    for table in ("megolm_inbound", "megolm_index", "megolm_outbound", "megolm_share"):
        assert await scene.pool.fetchval(f"SELECT count(*) FROM {table}") == 0
