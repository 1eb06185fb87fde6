"""Whatever a client's account sends: refused or parked, never a crash, and the next message gets through."""

import json

import pytest

from tests.clients.protocol import ClientError
from tests.clients.raw import Raw
from tests.journeys.hand import Content, count, parked, sent_event, still_works
from tests.journeys.talk import Talk
from tests.journeys.world import PATIENCE, World, text, until


async def test_plaintext_is_refused_at_the_door(talk: Talk) -> None:
    with pytest.raises(ClientError) as refused:
        await talk.app.send_plaintext(talk.room, "m.room.message", {"msgtype": "m.text", "body": "clear"})
    assert refused.value.status == 403
    await still_works(talk, "after plaintext")


async def test_plaintext_that_gets_in_all_the_same_is_parked(talk: Talk, raw: Raw) -> None:
    admin = talk.world.clients.with_token(talk.world.homeserver.admin_token)
    path = f"/_synapse/admin/v1/users/{talk.app.user_id}/admin"
    (await admin.call("PUT", path, body={"admin": True})).must()  # whom the module lets pass
    try:
        before = await count(talk)
        sent = await raw.send(talk.room, "m.room.message", {"msgtype": "m.text", "body": "clear"})
        assert await parked(talk, sent.must()["event_id"]) == "plaintext"
        odd = await raw.send(talk.room, "org.example.odd", {"body": "clear"})
        assert await parked(talk, odd.must()["event_id"]) == "plaintext"
        assert await count(talk) == before
    finally:
        (await admin.call("PUT", path, body={"admin": False})).must()
    await still_works(talk, "after clear words")


async def test_a_ciphertext_sent_again_as_a_new_event_is_parked(talk: Talk, raw: Raw) -> None:
    event = await sent_event(talk, raw, "said once")
    before = await count(talk)
    again = (await raw.send(talk.room, "m.room.encrypted", event["content"])).must()["event_id"]
    assert await parked(talk, again) == "replayed"
    assert await count(talk) == before
    await still_works(talk, "after a replay")


async def test_a_ciphertext_of_another_room_is_parked(world: World, talk: Talk, raw: Raw) -> None:
    other = await world.open(await world.therapist(), talk.client)
    opened = "SELECT room_id FROM leg WHERE conversation_id = $1 AND state = 'open'"
    room = await until(lambda: world.pool.fetchval(opened, other), what="the other room")
    await talk.app.room_with(lambda seen: seen.id == room and seen.membership == "join", PATIENCE)
    event = await sent_event(talk, raw, "for this room only")
    moved = (await raw.send(room, "m.room.encrypted", event["content"])).must()["event_id"]
    assert await parked(talk, moved) in {"missing_session", "wrong_room"}
    await still_works(talk, "after a move")


ODD = ["\x00", "a\x00b", "\u202e", "x" * 3000, "💥", 1, -1, 2**53 - 1, True, None, [], ["a"], {}, {"a": 1}]
CRYPTIC = {"replayed", "megolm_malformed", "missing_session", "unknown_algorithm", "malformed"}


async def test_malformed_ciphertexts_are_refused_or_parked(talk: Talk, raw: Raw) -> None:
    honest = (await sent_event(talk, raw, "well formed"))["content"]
    before = await count(talk)
    broken: list[Content] = [{**honest, name: odd} for name in honest for odd in ODD]
    broken += [{k: v for k, v in honest.items() if k != name} for name in honest]
    broken += [{**honest, "ciphertext": honest["ciphertext"][:n]} for n in (0, 1, 40, -1)]
    broken += [{**honest, "ciphertext": "A" * 60_000}, {**honest, "m.relates_to": "not a relation"}]
    answers = [await raw.send(talk.room, "m.room.encrypted", content) for content in broken]
    assert {answer.status for answer in answers} <= {200, 400, 403, 413}
    events = [answer.body["event_id"] for answer in answers if answer.ok]
    assert len(events) > 40
    await still_works(talk, "after malformed ones")
    assert {await parked(talk, event) for event in events} <= CRYPTIC
    assert await count(talk) == before + 2


@pytest.mark.parametrize(
    "escape", [r"\ud800", r"\udfff\ud800", r"\u0000", r"a\u0000\ud83d"], ids=["high", "both", "nul", "mixed"]
)
async def test_half_surrogates_and_nul_in_json_harm_nobody(talk: Talk, raw: Raw, escape: str) -> None:
    honest = (await sent_event(talk, raw, f"before {escape!r}"))["content"]
    text = json.dumps({**honest, "x": "Y"}).replace('"Y"', f'"{escape}"').encode()
    where = ("rooms", talk.room, "send", "m.room.encrypted", f"odd-{escape.encode().hex()}")
    answer = await raw.call("PUT", *where, data=text)
    assert answer.status in {200, 400, 500}, "Synapse's own affair"
    if answer.ok:
        assert await parked(talk, answer.body["event_id"]) == "replayed"
    await still_works(talk, f"after {escape!r}")


async def test_a_strangers_words_are_nobodys(world: World, talk: Talk) -> None:
    """Who should never be in the room: put there by the assistant's own token, writes with a real client."""
    stranger = await world.client("Mallory", "Intruder")
    app = await world.nio(stranger)
    assistant = await world.pool.fetchval("SELECT user_id FROM puppet WHERE kind = 'assistant'")
    ours = world.clients.with_token(world.homeserver.as_token)
    where, whom = ("rooms", talk.room, "invite"), {"user_id": app.user_id}
    (await ours.call("POST", *where, body=whom, user_id=assistant)).must()
    await app.room_with(lambda seen: seen.id == talk.room and seen.membership == "join", PATIENCE)
    before = await count(talk)
    event = await app.send(talk.room, "let me in")
    assert await parked(talk, event) == "stranger"
    reaction = await app.react(talk.room, event, "👍")
    assert await parked(talk, reaction) == "stranger"
    assert await count(talk) == before
    # Nor do they read what is said: they get no keys.
    await talk.say("between us")
    await talk.reads("between us")
    seen = await app.wait_for(talk.room, lambda seen: seen.failure is not None, PATIENCE)
    assert not seen.body
    await app.leave(talk.room)
    await still_works(talk, "after a stranger")


async def test_a_client_cannot_take_back_or_change_what_is_not_theirs(talk: Talk) -> None:
    posted = await talk.say("the therapist's own words")
    event = await talk.sent_to(posted.entry_id)
    with pytest.raises(ClientError):
        await talk.app.redact(talk.room, event)
    await talk.app.edit(talk.room, event, "put into their mouth")
    await still_works(talk, "after an edit of another's")
    line = await talk.line(lambda line: line.id == posted.entry_id)
    assert text(line) == "the therapist's own words"
    lines = await talk.world.lines(talk.therapist, talk.conversation)
    assert "put into their mouth" not in [text(line) for line in lines]


async def test_the_sync_loop_never_failed(talk: Talk) -> None:
    log = talk.world.log()
    assert "event_failed" not in log
    assert "Traceback" not in log
    assert all(process.returncode is None for process in talk.world.processes)
