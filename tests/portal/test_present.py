"""From the journal to the page, as values: names, marks, safe words."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from bridge.conversations import Row
from bridge.timeline import DeliveryState, Line, ReadMark
from policies.content import Attachment, AttachmentKind, Location, Notice, Text, Unsupported
from policies.vocabulary import (
    ConversationId,
    ConversationKind,
    EntryId,
    EntryKind,
    Name,
    Person,
    PersonId,
    Role,
)
from portal.bodies import map_link, plain, shown_kind, size_words, words
from portal.marks import mark
from portal.present import Reader, row
from portal.views import DeliveryState as State
from portal.views import Message
from portal.views import Notice as ShownNotice

SARA = Person(PersonId(uuid4()), Role.THERAPIST, Name("Sara", "Khan", "Dr."))
AMINA = Person(PersonId(uuid4()), Role.CLIENT, Name("Amina", "Yusuf"))
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def line(**given: object) -> Line:
    values: dict[str, object] = {
        "id": EntryId(uuid4()), "seq": 5, "kind": EntryKind.MESSAGE, "author_id": SARA.id,
        "content": Text("Hello"),
        "posted_at": NOW, "automatic": None, "edited_at": None, "deleted_at": None, "unreadable": False,
        "request_id": None, "reply_to": None, "reactions": (), "deliveries": (), **given,
    }  # fmt: skip
    return Line(**values)  # type: ignore[arg-type]


def conversation(**given: object) -> Row:
    values: dict[str, object] = {
        "id": ConversationId(uuid4()), "kind": ConversationKind.DIRECT, "title": "Amina Yusuf",
        "has_own_title": False,
        "is_organiser": True, "others": (AMINA,), "last": None, "last_seq": 5, "at": NOW, "unread": False,
        "read_seq": 5, "holds": (), "closed": False, **given,
    }  # fmt: skip
    return Row(**values)  # type: ignore[arg-type]


def delivery(state: str, hold: str | None = None) -> DeliveryState:
    return DeliveryState(AMINA.id, state, hold, 0)


def state_of(*deliveries: DeliveryState, reads: tuple[ReadMark, ...] = ()) -> State:
    return mark(line(deliveries=deliveries), reads, {AMINA.id: AMINA}, {}).state


def test_a_mark_goes_from_sending_to_sent_to_seen() -> None:
    assert state_of(delivery("pending")) is State.SENDING
    assert state_of(delivery("prepared")) is State.SENDING
    assert state_of(delivery("sent")) is State.SENT
    assert state_of(delivery("sent"), reads=(ReadMark(AMINA.id, 4, NOW),)) is State.SENT
    assert state_of(delivery("sent"), reads=(ReadMark(AMINA.id, 5, NOW),)) is State.SEEN


def test_a_mark_says_what_holds_a_message_and_for_whom() -> None:
    assert state_of(delivery("pending", "no_device")) is State.WAITING
    assert state_of(delivery("prepared", "identity_changed")) is State.HELD
    assert state_of(delivery("pending", "left")) is State.HELD
    assert state_of(delivery("failed")) is State.FAILED
    found = mark(line(deliveries=(delivery("pending", "no_device"),)), (), {AMINA.id: AMINA}, {})
    assert found.words == "Waiting for Amina Yusuf to sign in"


def test_seen_tells_when_it_was_first_read() -> None:
    reads = tuple(ReadMark(AMINA.id, seq, NOW + timedelta(minutes=seq)) for seq in (3, 6, 9))
    found = mark(line(deliveries=(delivery("sent"),)), reads, {AMINA.id: AMINA}, {})
    assert [(s.name, s.at) for s in found.seen] == [("Amina Yusuf", NOW + timedelta(minutes=6))]


def test_a_colleagues_reading_is_not_the_clients() -> None:
    maya = Person(PersonId(uuid4()), Role.CLIENT_CARE, Name("Maya", "Lind"))
    reader = Reader(SARA, conversation(others=(AMINA, maya)))
    shown = reader.line(line(deliveries=(delivery("sent"),)), (ReadMark(maya.id, 9, NOW),))
    assert isinstance(shown, Message)
    assert shown.mark is not None
    assert shown.mark.state is State.SENT


def test_only_own_messages_have_marks_and_can_be_changed() -> None:
    reader = Reader(SARA, conversation())
    own, theirs = (reader.line(line(author_id=who.id), ()) for who in (SARA, AMINA))
    assert isinstance(own, Message)
    assert isinstance(theirs, Message)
    assert (own.own, own.may_edit, own.may_delete, own.mark is not None) == (True, True, True, True)
    assert (theirs.own, theirs.may_edit, theirs.may_delete, theirs.mark) == (False, False, False, None)


def test_a_deleted_message_keeps_nothing_but_its_place() -> None:
    shown = Reader(SARA, conversation()).line(line(content=None, deleted_at=NOW, edited_at=NOW), ())
    assert isinstance(shown, Message)
    assert (shown.deleted, str(shown.words), shown.edited, shown.mark, shown.preview) == (
        True,
        "",
        False,
        None,
        "",
    )


def test_notices_say_who_and_one_that_was_settled_is_gone() -> None:
    notice = Notice("undecryptable", {"person": str(AMINA.id)})
    reader = Reader(SARA, conversation())
    shown = reader.line(line(kind=EntryKind.NOTICE, content=notice, author_id=None), ())
    assert isinstance(shown, ShownNotice)
    assert shown.words.startswith("A message from Amina Yusuf could not be read")
    assert shown.warn
    assert reader.line(line(kind=EntryKind.NOTICE, content=None, deleted_at=NOW), ()) is None


def test_rows_say_their_state_in_words() -> None:
    assert row(SARA, conversation(holds=((AMINA.id, "no_device"),))).state == "waiting to sign in"
    held = row(SARA, conversation(holds=((AMINA.id, "identity_changed"),)))
    assert (held.state, held.warn) == ("on hold", True)
    assert row(SARA, conversation(closed=True)).state == "closed"
    assert row(SARA, conversation()).state == ""


def test_words_are_escaped_linked_and_cleaned() -> None:
    assert words(Text("<b> & https://ruh.example/a?b=1.")) == (
        "&lt;b&gt; &amp; "
        '<a href="https://ruh.example/a?b=1" target="_blank" rel="noreferrer noopener">https://ruh.example/a?b=1</a>.'
    )
    assert words(Text("x", '<b onclick="x()">b</b><script>1</script><a href="javascript:x">l</a>')) == (
        '<b>b</b><a target="_blank" rel="noreferrer noopener">l</a>'
    )
    assert "a poll" in words(Unsupported("a poll"))
    assert words(None) == ""


def test_a_preview_is_plain() -> None:
    assert plain(Text("**now** & then", "<p><strong>now</strong> &amp; then</p>")) == Text("now & then ")


def test_only_what_a_browser_shows_safely_is_shown() -> None:
    def attachment(kind: AttachmentKind, mime: str) -> Attachment:
        return Attachment(kind, "name", mime, 10)

    assert shown_kind(attachment(AttachmentKind.IMAGE, "image/png")) == "image"
    assert shown_kind(attachment(AttachmentKind.IMAGE, "image/svg+xml")) == "file"
    assert shown_kind(attachment(AttachmentKind.VOICE, "audio/ogg; codecs=opus")) == "voice"
    assert shown_kind(attachment(AttachmentKind.FILE, "text/html")) == "file"
    assert [size_words(n) for n in (1, 4_200, 4_200_000)] == ["1 byte", "4 kB", "4.2 MB"]


def test_a_place_links_to_a_map_and_nowhere_else() -> None:
    assert map_link(Location("geo:51.5,-0.12;u=35", "")).startswith(
        "https://www.openstreetmap.org/?mlat=51.5"
    )
    assert map_link(Location("javascript:alert(1)", "")) == ""
