"""Everything that two people do in a conversation, both ways, with both kinds of client (M1, M7, M9, M12)."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from bridge import attachments, messages
from bridge.database import transaction
from bridge.feed import Change, Notification, announce, listen
from policies.content import Attachment, AttachmentKind, Location, Reaction, Text, Unsupported
from tests.clients.protocol import Seen
from tests.journeys.talk import Talk, a_talk
from tests.journeys.world import World, text, until

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["nio", "element"])
async def talk(request: pytest.FixtureRequest, world: World) -> Talk:
    return await a_talk(world, request.param)


async def test_the_client_reads_formatted_words_under_the_therapists_name(talk: Talk) -> None:
    await talk.act(messages.post, content=Text("Try *this*", "Try <em>this</em>"))
    seen = await talk.reads("Try *this*")
    assert (seen.formatted, seen.sender_name, seen.encrypted) == ("Try <em>this</em>", "Dr. Sara Khan", True)
    assert seen.msgtype == "m.text"


async def test_the_therapists_reply_edit_and_deletion_reach_the_client(talk: Talk) -> None:
    asked = await talk.app.send(talk.room, "Shall I write it down?")
    line = await talk.hears("Shall I write it down?")
    answer = await talk.say("Yes, evry evening", reply_to=line.id)
    assert (await talk.reads("Yes, evry evening")).reply_to == asked

    await talk.act(messages.edit, entry=answer.entry_id, content=Text("Yes, every evening"))
    edited = await talk.reads("Yes, every evening")
    assert edited.edited
    assert not any(seen.body == "Yes, evry evening" for seen in await talk.app.timeline(talk.room))

    await talk.act(messages.delete, entry=answer.entry_id)
    gone = await talk.sees(lambda seen: seen.event_id == edited.event_id and seen.redacted)
    assert not gone.content


async def test_a_deleted_message_leaves_no_edit_behind_on_the_homeserver(talk: Talk) -> None:
    posted = await talk.say("first words")
    changed = await talk.act(messages.edit, entry=posted.entry_id, content=Text("second words"))
    events = [await talk.sent_to(posted.entry_id), await talk.sent_to(changed.entry_id)]
    await talk.act(messages.delete, entry=posted.entry_id)
    async with talk.app.raw() as raw:

        async def all_emptied() -> bool:
            found = [(await raw.call("GET", "rooms", talk.room, "event", event)).must() for event in events]
            return all(event["content"] == {} for event in found)

        await until(all_emptied, what="both redactions")


async def test_the_therapists_reaction_comes_and_goes(talk: Talk) -> None:
    event = await talk.app.send(talk.room, "I went out today")
    line = await talk.hears("I went out today")
    reacted = await talk.act(messages.react, entry=line.id, reaction=Reaction("👍"))
    liked = await talk.sees(lambda seen: seen.event_id == event and bool(seen.reactions))
    assert {key: list(who) for key, who in liked.reactions.items()} == {"👍": [await talk.face()]}
    await talk.act(messages.unreact, reaction=reacted.entry_id)
    await talk.sees(lambda seen: seen.event_id == event and not any(seen.reactions.values()))


async def test_the_clients_words_keep_their_formatting_and_what_they_answer(talk: Talk) -> None:
    asked = await talk.say("How was it?")
    event = await talk.sent_to(asked.entry_id)
    await talk.sees(lambda seen: seen.event_id == event)
    await talk.app.reply(talk.room, event, "Good!", formatted="<b>Good!</b><script>x</script>")
    line = await talk.hears("Good!")
    assert isinstance(line.content, Text)
    assert line.content.html == "<b>Good!</b>"
    assert line.author_id == talk.client.id
    assert line.reply_to is not None
    assert (line.reply_to.id, line.reply_to.author_id) == (asked.entry_id, talk.therapist.id)


async def test_the_client_edits_and_takes_back_their_own(talk: Talk) -> None:
    event = await talk.app.send(talk.room, "Mondey?")
    line = await talk.hears("Mondey?")
    await talk.app.edit(talk.room, event, "Monday?")
    edited = await talk.hears("Monday?")
    assert edited.id == line.id
    assert edited.edited_at is not None
    await talk.app.redact(talk.room, event)
    gone = await talk.line(lambda line: line.id == edited.id and line.deleted_at is not None)
    assert gone.content is None
    lines = await talk.world.lines(talk.therapist, talk.conversation)
    assert [line.id for line in lines].count(edited.id) == 1


async def test_the_clients_reaction_comes_and_goes(talk: Talk) -> None:
    posted = await talk.say("Well done")
    event = await talk.sent_to(posted.entry_id)
    await talk.sees(lambda seen: seen.event_id == event)
    reaction = await talk.app.react(talk.room, event, "❤️")
    line = await talk.line(lambda line: line.id == posted.entry_id and bool(line.reactions))
    assert [(found.key, found.person_id) for found in line.reactions] == [("❤️", talk.client.id)]
    await talk.app.redact(talk.room, reaction)
    await talk.line(lambda line: line.id == posted.entry_id and not line.reactions)


async def test_the_therapist_sees_who_has_read_and_when(talk: Talk) -> None:
    posted = await talk.say("Read me")
    event = await talk.sent_to(posted.entry_id)
    await talk.sees(lambda seen: seen.event_id == event)
    before = await talk.world.page(talk.therapist, talk.conversation)
    assert not [mark for mark in before.reads if mark.seq >= posted.seq]
    await talk.app.read(talk.room, event)

    async def marked() -> bool:
        page = await talk.world.page(talk.therapist, talk.conversation)
        return any(mark.seq >= posted.seq and mark.person_id == talk.client.id for mark in page.reads)

    await until(marked, what="a read mark")
    page = await talk.world.page(talk.therapist, talk.conversation)
    at = next(mark.at for mark in page.reads if mark.seq >= posted.seq)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_the_client_never_sees_what_the_therapist_has_read(talk: Talk) -> None:
    await talk.app.send(talk.room, "Have you read this?")
    await talk.hears("Have you read this?")
    await talk.say("I have")
    await talk.reads("I have")
    assert set(await talk.app.receipts(talk.room)) <= {talk.app.user_id}


async def test_the_clients_typing_is_told_to_the_portal(talk: Talk) -> None:
    feed = listen(talk.world.database_url)
    assert (await anext(feed)).change is Change.REWAKE
    await talk.app.typing(talk.room)
    told = await _typing(feed)
    assert told == Notification(Change.TYPING, talk.conversation, person=talk.client.id, on=True)
    await talk.app.typing(talk.room, on=False)
    assert not (await _typing(feed)).on
    await feed.aclose()  # type: ignore[attr-defined]


async def _typing(feed) -> Notification:  # type: ignore[no-untyped-def]
    async for notification in feed:
        if notification.change is Change.TYPING:
            return notification
    raise AssertionError("the feed ended")


async def test_the_client_sees_the_therapist_typing(talk: Talk) -> None:
    face = await talk.face()

    async def shown() -> bool:
        return face in await talk.app.typists(talk.room)

    async def over() -> bool:
        return face not in await talk.app.typists(talk.room)

    for on, look in ((True, shown), (False, over)):
        note = Notification(Change.TYPING, talk.conversation, person=talk.therapist.id, on=on)
        await announce(talk.world.pool, note)
        await talk.app.wait_until(look)


@pytest.mark.parametrize(
    ("msgtype", "name", "mime", "kind"),
    [
        ("m.image", "tree.png", "image/png", AttachmentKind.IMAGE),
        ("m.file", "diary.pdf", "application/pdf", AttachmentKind.FILE),
        ("m.video", "walk.mp4", "video/mp4", AttachmentKind.VIDEO),
        ("m.audio", "song.mp3", "audio/mpeg", AttachmentKind.AUDIO),
    ],
)
async def test_the_clients_files_are_kept_whole(
    talk: Talk, msgtype: str, name: str, mime: str, kind: AttachmentKind
) -> None:
    data = PIXEL + bytes(range(256)) * 9000  # more than one sealed chunk
    await talk.app.send_file(talk.room, data, name=name, mimetype=mime, msgtype=msgtype, w=1, h=1)
    line = await talk.line(lambda line: isinstance(line.content, Attachment) and line.content.name == name)
    assert isinstance(line.content, Attachment)
    assert (line.content.kind, line.content.mime, line.content.size) == (kind, mime, len(data))
    assert await _stored(talk, line.id) == data


async def test_a_voice_message_is_known_as_one(talk: Talk) -> None:
    data = b"OggS" + bytes(3000)
    await talk.app.send_voice(talk.room, data, duration_ms=4200)
    line = await talk.line(
        lambda line: isinstance(line.content, Attachment) and line.content.kind is AttachmentKind.VOICE
    )
    assert isinstance(line.content, Attachment)
    assert line.content.duration_ms == 4200
    assert await _stored(talk, line.id) == data


async def _stored(talk: Talk, entry) -> bytes:  # type: ignore[no-untyped-def]
    async def look() -> attachments.State | None:
        async with transaction(talk.world.pool) as tx:
            found = await attachments.of_entries(tx, talk.therapist.id, talk.conversation, [entry])
        state = found.get(entry)
        assert state is None or state.state != "failed"
        return state if state and state.state == "stored" else None

    stored = await until(look, what="the file")
    async with transaction(talk.world.pool) as tx:
        key, count = await attachments.opened(tx, talk.world.keyring, talk.therapist.id, stored.id)
        chunks = [await attachments.chunk(tx, key, stored.id, n) for n in range(count)]
        return b"".join(chunk or b"" for chunk in chunks)


async def test_a_place_becomes_a_link(talk: Talk) -> None:
    await talk.app.send_location(talk.room, 52.5, 13.4, "Here")
    line = await talk.line(lambda line: isinstance(line.content, Location))
    assert line.content == Location("geo:52.5,13.4", "Here")


async def test_a_sticker_is_kept_as_a_picture(talk: Talk) -> None:
    source = await talk.app.upload(PIXEL, mimetype="image/png", encrypted=True)
    sticker = {"body": "A happy cat", "info": {"mimetype": "image/png", "size": len(PIXEL)}, **source}
    await talk.app.send_event(talk.room, "m.sticker", sticker)
    line = await talk.line(
        lambda line: isinstance(line.content, Attachment) and line.content.name == "A happy cat"
    )
    assert await _stored(talk, line.id) == PIXEL


@pytest.mark.parametrize(
    ("event_type", "content", "what"),
    [
        ("m.poll.start", {"m.poll": {}, "body": "Tea or coffee?"}, "a poll"),
        ("m.room.message", {"msgtype": "org.example.unheard", "body": "see my app"}, "something"),
        ("org.example.new", {"body": "a thing of tomorrow"}, "something"),
    ],
)
async def test_what_cannot_be_shown_is_said(
    talk: Talk, event_type: str, content: dict[str, object], what: str
) -> None:
    await talk.app.send_event(talk.room, event_type, content)
    line = await talk.line(
        lambda line: isinstance(line.content, Unsupported) and line.content.body == content["body"]
    )
    assert line.content == Unsupported(what, str(content["body"]))


async def test_an_emote_and_a_notice_are_words_too(talk: Talk) -> None:
    await talk.app.send_event(talk.room, "m.room.message", {"msgtype": "m.emote", "body": "waves"})
    line = await talk.hears("waves")
    assert isinstance(line.content, Text)
    assert line.content.emote
    await talk.app.send_event(talk.room, "m.room.message", {"msgtype": "m.notice", "body": "away today"})
    await talk.hears("away today")


async def test_the_whole_journal_is_what_was_done_once_and_in_order(talk: Talk) -> None:
    for number in range(10):
        await talk.app.send(talk.room, f"mine {number}")
        await talk.say(f"yours {number}")
    await talk.hears("mine 9")
    await talk.reads("yours 9")
    bodies = [text(line) for line in await talk.world.lines(talk.therapist, talk.conversation)]
    assert [body for body in bodies if body.startswith("mine ")] == [f"mine {n}" for n in range(10)]
    shown = [seen.body for seen in await talk.app.timeline(talk.room)]
    assert [body for body in shown if body.startswith("yours ")] == [f"yours {n}" for n in range(10)]


async def test_all_of_ours_is_readable_and_element_shows_no_shield(talk: Talk) -> None:
    face = await talk.face()
    ours = [seen for seen in await talk.app.timeline(talk.room) if seen.sender == face and not seen.redacted]
    assert len(ours) > 10

    def clean(seen: Seen) -> bool:
        return seen.shield is None and seen.failure is None

    assert all(clean(seen) for seen in ours), [seen for seen in ours if not clean(seen)]


async def test_nothing_was_parked_and_nothing_failed(talk: Talk) -> None:
    assert not await talk.world.pool.fetch("SELECT reason FROM parked_event")
    assert not await talk.world.pool.fetch("SELECT error FROM delivery WHERE state = 'failed'")
