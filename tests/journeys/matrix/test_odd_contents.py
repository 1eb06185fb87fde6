"""Well encrypted, and still nonsense inside: parked or said as it is, and the next message gets through."""

import json

import pytest_asyncio

from tests.clients.raw import Raw
from tests.journeys.hand import Hand, count, parked, still_works
from tests.journeys.talk import Talk


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hand(talk: Talk, raw: Raw) -> Hand:
    hand = Hand(talk, raw)
    await hand.share()
    await hand.say({"msgtype": "m.text", "body": "written by hand"})
    await talk.hears("written by hand")
    return hand


async def test_what_is_encrypted_but_makes_no_sense_is_parked(talk: Talk, hand: Hand) -> None:
    room = json.dumps(talk.room).encode()
    payloads = [
        b"", b"null", b"[]", b"1", b'"text"', b"{", b"\xff\xfe", b"{}", b"\x00" * 100,
        b'{"type": "m.room.message", "content": {"msgtype": "m.text", "body": "x"}}',
        b'{"type": 1, "content": {}, "room_id": %s}' % room,
        b'{"type": "m.room.message", "content": [], "room_id": %s}' % room,
        b'{"type": "m.room.message", "content": {"body": "elsewhere"}, "room_id": "!other:ruh.test"}',
        b'{"type": "m.room.message", "content": {"body": "\\ud800"}, "room_id": %s}' % room,
        b'{"type": "m.room.message", "content": {"n": NaN}, "room_id": %s}' % room,
        b"[" * 20_000,
        b'{"type": "m.room.message", "content": {"body": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}}",
    ]  # fmt: skip
    events = [await hand.send(payload) for payload in payloads]
    await still_works(talk, "after nonsense")
    reasons = [await parked(talk, event) for event in events]
    assert set(reasons) <= {"payload_malformed", "wrong_room"}, reasons


async def test_well_encrypted_oddities_are_said_never_a_crash(talk: Talk, hand: Hand) -> None:
    before = await count(talk)
    names = ("body", "formatted_body", "format", "msgtype", "url", "file", "info", "geo_uri")
    names += ("m.relates_to", "m.new_content")
    sent = 0
    for msgtype in ("m.text", "m.image", "m.location"):
        for name in names:
            for odd in (["\x00"], {"x": "\x00"}, "\x00"):
                await hand.say({"msgtype": msgtype, "body": f"odd {sent}", name: odd})
                sent += 1
    for kind in ("m.room.message", "m.sticker", "m.poll.start", "m.reaction", "x" * 300, "a\x00b"):
        await hand.say({}, kind)
    await still_works(talk, "after oddities")
    assert not await talk.world.pool.fetch("SELECT reason FROM parked_event WHERE reason LIKE 'internal%'")
    assert await count(talk) > before + sent / 2, "nearly all of them were said"


async def test_a_long_message_arrives_whole_both_ways(talk: Talk) -> None:
    words = "x" * 45_000  # base64 makes 60 kB of it: nearly the 64 kB of an event
    await talk.app.send(talk.room, words)
    await talk.hears(words)
    await talk.say("z" * 5000)
    await talk.reads("z" * 5000)
    await still_works(talk, "after a long one")


async def test_the_sync_loop_never_failed(talk: Talk) -> None:
    assert "event_failed" not in talk.world.log()
    assert all(process.returncode is None for process in talk.world.processes)
