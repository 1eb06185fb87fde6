"""What could not be read is said, and taken back when its key comes after all (M13)."""

from policies.content import Notice
from policies.notices import for_client
from tests.clients.raw import Raw
from tests.journeys.hand import Hand, of_parked, parked, still_works
from tests.journeys.talk import Talk, a_talk
from tests.journeys.world import World, until

DUE = "UPDATE parked_event SET next_attempt_at = now() WHERE event_id = $1"


async def test_a_message_whose_key_comes_later_becomes_an_entry(talk: Talk, raw: Raw) -> None:
    late = Hand(talk, raw)
    event = await late.say({"msgtype": "m.text", "body": "my key is late"})
    assert await parked(talk, event) == "missing_session"
    for _ in range(3):  # the passing of time
        await talk.world.pool.execute(DUE, event)
        await until(lambda: of_parked(talk, "next_attempt_at > now()", event), what="another look")
    notice = await talk.line(lambda line: isinstance(line.content, Notice))
    assert isinstance(notice.content, Notice)
    assert notice.content.code == "undecryptable"
    await talk.reads(for_client(notice.content) or "")
    await still_works(talk, "meanwhile")
    await late.share()
    await talk.hears("my key is late")
    gone = await talk.line(lambda line: line.id == notice.id and line.deleted_at is not None)
    assert gone.content is None
    assert await of_parked(talk, "resolved_at IS NOT NULL", event)


async def test_a_message_that_is_taken_back_while_parked_is_forgotten(talk: Talk, raw: Raw) -> None:
    event = await Hand(talk, raw).say({"msgtype": "m.text", "body": "never mind"})
    assert await parked(talk, event) == "missing_session"
    await talk.app.redact(talk.room, event)
    await until(lambda: of_parked(talk, "resolved_at", event), what="its end")
    await still_works(talk, "after a change of mind")


async def test_what_is_written_to_a_client_who_left_is_held(world: World) -> None:
    talk = await a_talk(world)
    await talk.say("stay")
    await talk.reads("stay")
    await talk.app.leave(talk.room)
    await until(lambda: _hold(talk, "left"), what="the hold")
    await talk.say("still here")
    line = await talk.hears("still here")
    assert [(found.state, found.hold) for found in line.deliveries] == [("pending", "left")]


async def _hold(talk: Talk, hold: str) -> bool:
    return bool(await talk.leg("hold") == hold)
