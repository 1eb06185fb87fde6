"""Matrix events ↔ entries: what each event means, and that nothing at all makes it fall over (M12)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appservice.translate import (
    Changed,
    Reacted,
    Said,
    Silent,
    from_matrix,
    message_content,
    reaction_content,
)
from policies.content import (
    MAX_FILE_NAME,
    MAX_REACTION,
    Attachment,
    AttachmentKind,
    Content,
    Location,
    Text,
    Unsupported,
    content_from_json,
)

HTML = "org.matrix.custom.html"
ROOM = "m.room.message"
FILE = {"url": "mxc://ruh.test/abc", "key": {"k": "x"}, "iv": "y", "hashes": {"sha256": "z"}}


def said(content: dict[str, Any], kind: str = ROOM) -> Content:
    meaning = from_matrix(kind, content)
    assert isinstance(meaning, Said)
    return meaning.content


def test_a_text_is_a_text() -> None:
    assert said({"msgtype": "m.text", "body": "Good morning"}) == Text("Good morning")


def test_formatting_is_kept_as_far_as_it_is_harmless() -> None:
    content = {
        "msgtype": "m.text",
        "body": "Hi",
        "format": HTML,
        "formatted_body": "<b>Hi</b><script>x</script>",
    }
    assert said(content) == Text("Hi", "<b>Hi</b>")
    assert said(content | {"format": "other"}) == Text("Hi")


def test_an_emote_says_who_does_it_and_a_notice_is_words() -> None:
    assert said({"msgtype": "m.emote", "body": "waves"}) == Text("waves", emote=True)
    assert said({"msgtype": "m.notice", "body": "away"}) == Text("away")


def test_a_reply_knows_what_it_answers_without_the_quotation() -> None:
    relation = {"m.in_reply_to": {"event_id": "$asked"}}
    quoted = "> <@dr:ruh.test> How are you?\n> Today?\n\nBetter"
    for body in ("Better", quoted):
        meaning = from_matrix(ROOM, {"msgtype": "m.text", "body": body, "m.relates_to": relation})
        assert meaning == Said(Text("Better"), "$asked")


def test_a_message_of_a_thread_answers_what_it_follows() -> None:
    relation = {"rel_type": "m.thread", "event_id": "$root"}
    meaning = from_matrix(ROOM, {"msgtype": "m.text", "body": "and", "m.relates_to": relation})
    assert meaning == Said(Text("and"), "$root")


def test_other_words_for_an_earlier_event() -> None:
    relation = {"rel_type": "m.replace", "event_id": "$first"}
    new = {"msgtype": "m.text", "body": "Monday"}
    content = {"msgtype": "m.text", "body": "* Monday", "m.new_content": new, "m.relates_to": relation}
    assert from_matrix(ROOM, content) == Changed("$first", Text("Monday"))


@pytest.mark.parametrize(
    ("msgtype", "kind"),
    [
        ("m.image", AttachmentKind.IMAGE),
        ("m.video", AttachmentKind.VIDEO),
        ("m.audio", AttachmentKind.AUDIO),
        ("m.file", AttachmentKind.FILE),
    ],
)
def test_a_file_is_an_attachment_with_what_is_known_of_it(msgtype: str, kind: AttachmentKind) -> None:
    info = {"mimetype": "x/y", "size": 5, "w": 1, "h": 2, "duration": 3}
    meaning = from_matrix(ROOM, {"msgtype": msgtype, "body": "a.bin", "info": info, "file": FILE})
    assert isinstance(meaning, Said)
    assert meaning.content == Attachment(kind, "a.bin", "x/y", 5, 1, 2, 3)
    assert meaning.source == FILE


def test_a_caption_is_told_from_a_name() -> None:
    content = {"msgtype": "m.image", "body": "Our garden", "filename": "img.png", "file": FILE}
    found = said(content)
    assert isinstance(found, Attachment)
    assert (found.name, found.caption) == ("img.png", "Our garden")


def test_a_voice_message_is_one() -> None:
    content = {"msgtype": "m.audio", "body": "Voice", "file": FILE, "org.matrix.msc3245.voice": {}}
    found = said(content)
    assert isinstance(found, Attachment)
    assert found.kind is AttachmentKind.VOICE


def test_a_sticker_is_a_picture() -> None:
    found = said({"body": "A cat", "url": "mxc://ruh.test/cat"}, "m.sticker")
    assert isinstance(found, Attachment)
    assert (found.kind, found.name) == (AttachmentKind.IMAGE, "A cat")


def test_a_place_is_a_link() -> None:
    content = {"msgtype": "m.location", "body": "Here", "geo_uri": "geo:52.5,13.4"}
    assert said(content) == Location("geo:52.5,13.4", "Here")
    assert isinstance(said(content | {"geo_uri": "javascript:alert(1)"}), Unsupported)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("m.poll.start", "a poll"),
        ("m.call.invite", "a call"),
        ("org.matrix.msc3672.beacon", "a live location"),
        ("org.example.new", "something"),
    ],
)
def test_what_cannot_be_shown_is_named(kind: str, what: str) -> None:
    assert said({"body": "Tea?"}, kind) == Unsupported(what, "Tea?")


@pytest.mark.parametrize(
    "kind", ["m.dummy", "m.key.verification.accept", "m.call.candidates", "io.element.x"]
)
def test_signals_between_apps_are_nobodys_reading(kind: str) -> None:
    assert from_matrix(kind, {"body": "x"}) == Silent()


def test_a_reaction_names_its_target() -> None:
    relation = {"rel_type": "m.annotation", "event_id": "$liked", "key": "👍"}
    assert from_matrix("m.reaction", {"m.relates_to": relation}) == Reacted("$liked", "👍")
    assert reaction_content("$liked", "👍") == {"m.relates_to": relation}
    for broken in ({}, relation | {"key": 7}, relation | {"key": " "}, relation | {"event_id": None}):
        assert from_matrix("m.reaction", {"m.relates_to": broken}) == Silent()


def test_an_empty_message_is_said_to_be_empty() -> None:
    assert isinstance(said({"msgtype": "m.text", "body": "\u200b \n"}), Unsupported)
    assert isinstance(said({"msgtype": "m.text"}), Unsupported)


def test_ours_come_back_as_they_were() -> None:
    for text in (Text("Hi"), Text("Hi", "<b>Hi</b>"), Text("waves", emote=True)):
        assert said(message_content(text)) == text
        assert from_matrix(ROOM, message_content(text, reply_to="$a")) == Said(text, "$a")
        assert from_matrix(ROOM, message_content(text, replaces="$a")) == Changed("$a", text)


def test_ours_mention_nobody_by_accident() -> None:
    content = message_content(Text("@room hello"))
    assert content["m.mentions"] == {}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\x00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
field = st.sampled_from(
    ["body", "msgtype", "formatted_body", "format", "url", "file", "info", "filename", "geo_uri",
     "m.relates_to", "m.new_content", "org.matrix.msc3245.voice"]
)  # fmt: skip
likely = ["m.text", "m.image", "m.location", "m.audio", HTML, "geo:1,2", "<b>x", FILE, "mxc://a/b"]
names = st.sampled_from(["rel_type", "event_id", "key", "m.in_reply_to", "url", "body"])
value = json | st.sampled_from(likely) | st.dictionaries(names, json)
kinds = st.sampled_from([ROOM, "m.sticker", "m.reaction", "m.poll.start", "m.dummy", "x", "\x00", ""])


@settings(max_examples=400, deadline=None)
@given(kind=kinds, content=st.dictionaries(field, value, max_size=8))
def test_nothing_that_can_be_sent_makes_it_raise(kind: str, content: dict[str, Any]) -> None:
    meaning = from_matrix(kind, content)
    if isinstance(meaning, Reacted):
        assert 0 < len(meaning.key) <= MAX_REACTION
    if isinstance(meaning, Said | Changed):
        found = meaning.content
        assert content_from_json(found.to_json()) == found
        assert "\x00" not in str(found.to_json().get("body", "")), "PostgreSQL could not search it"
        if isinstance(found, Attachment):
            assert len(found.name) <= MAX_FILE_NAME


QUOTED = "> <@c2345abcdefghij23456:ruh.test> what I said before"


@pytest.mark.parametrize(
    "content",
    [
        {"msgtype": "m.text", "body": QUOTED},
        {"msgtype": "m.custom", "body": f"{QUOTED}\n\nsome words"},
        {"msgtype": "m.location", "geo_uri": "geo:1,2", "body": f"{QUOTED}\n\nhere"},
        {"msgtype": "m.file", "url": "mxc://ruh.test/a", "filename": "a.txt", "body": f"{QUOTED}\n\nthis"},
        {
            "msgtype": "m.text",
            "body": "* x",
            "m.new_content": {"msgtype": "m.custom", "body": f"{QUOTED}\n\nsome words"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": "$1"},
        },
    ],
)
@pytest.mark.parametrize("is_reply", [True, False])
def test_whoever_quotes_themselves_tells_nobody_their_matrix_id(content: Any, is_reply: bool) -> None:
    """Older apps put the quoted person's id before a reply: in another's room it would be read (C7)."""
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": "$0"}}} if is_reply else {}
    meant = from_matrix("m.room.message", {**reply, **content})
    assert isinstance(meant, Said | Changed)
    assert "@c2345" not in str(message_content(meant.content)) + str(meant.content)
