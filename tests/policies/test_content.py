from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.content import (
    MAX_FORMATTED_BYTES,
    MAX_TEXT,
    Attachment,
    AttachmentKind,
    Content,
    Location,
    Notice,
    Reaction,
    Text,
    Unsupported,
    bounded_html,
    check_text,
    clean_text,
    content_from_json,
    preview,
)
from policies.vocabulary import Refusal

EXAMPLES: list[Content] = [
    Text("hello", "<b>hello</b>", emote=True),
    Attachment(AttachmentKind.VOICE, "note.ogg", "audio/ogg", 9000, duration_ms=4200, attachment_id="a1"),
    Location("geo:52.5,13.4", "Here"),
    Unsupported("a poll", "Tea or coffee?"),
    Reaction("👍"),
    Notice("member_added", {"person": "7"}),
]


@pytest.mark.parametrize("content", EXAMPLES, ids=lambda content: type(content).__name__)
def test_content_comes_back_from_its_json_as_it_was(content: Content) -> None:
    assert content_from_json(content.to_json()) == content


def test_an_older_process_reads_a_newer_row() -> None:
    assert content_from_json({"type": "text", "body": "hi", "sparkle": True}) == Text("hi")


@pytest.mark.parametrize(
    "data", [{"type": "hologram"}, {}, {"type": "text"}, {"type": "attachment", "kind": "x"}]
)
def test_what_nobody_wrote_is_not_read(data: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        content_from_json(data)


def test_text_loses_what_cannot_be_seen_and_keeps_what_can() -> None:
    assert clean_text("  a\r\nb\rc\u2028d\x00\x1b\u202e\ud800\te  ") == "a\nb\nc\nd\te"
    assert clean_text("שלום\u200f \u2068x\u2069") == "שלום\u200f \u2068x\u2069"


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@given(st.text(max_size=50))
def test_a_text_that_passes_is_clean_and_short_enough(text: str) -> None:
    checked = check_text(text * 200)
    if isinstance(checked, str):
        assert 0 < len(checked) <= MAX_TEXT
        assert check_text(checked) == checked


@pytest.mark.parametrize("text", ["", " \n\t ", "\u200b\u2060", "\u3164", "\x00"])
def test_nothing_is_not_a_message(text: str) -> None:
    refusal = check_text(text)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "empty"


def test_the_limit_is_told_in_words_with_how_much_it_is() -> None:
    assert check_text("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert "1 character too long" in str(check_text("x" * (MAX_TEXT + 1)))
    refusal = check_text("x" * (MAX_TEXT + 1234))
    assert isinstance(refusal, Refusal)
    assert "5,000 characters" in refusal.words
    assert "1,234 characters too long" in refusal.words


def test_an_emoji_counts_as_one_however_many_bytes_it_has() -> None:
    assert check_text("🙂" * MAX_TEXT) == "🙂" * MAX_TEXT


def test_html_that_would_not_fit_into_an_event_is_left_out() -> None:
    assert bounded_html("hi", "<b>hi</b>") == "<b>hi</b>"
    assert bounded_html("é" * (MAX_FORMATTED_BYTES // 2), "<b>x</b>") is None


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (Text("one\n\n two"), "one two"),
        (Attachment(AttachmentKind.IMAGE, "IMG_1.jpg", "image/jpeg", 1), "Photo"),
        (
            Attachment(AttachmentKind.IMAGE, "IMG_1.jpg", "image/jpeg", 1, caption="My garden"),
            "Photo: My garden",
        ),
        (Attachment(AttachmentKind.VOICE, "v.ogg", "audio/ogg", 1), "Voice message"),
        (Attachment(AttachmentKind.FILE, "plan.pdf", "application/pdf", 1), "File: plan.pdf"),
        (Location("geo:1,2", "Here"), "Location"),
        (Unsupported("a poll"), "Sent a poll, which can't be shown here"),
        (None, "Message deleted"),
    ],
)
def test_the_list_says_a_message_in_one_line(content: Content | None, line: str) -> None:
    assert preview(content) == line


def test_a_preview_says_who_wrote() -> None:
    assert preview(Text("hi"), own=True) == "You: hi"
    assert preview(Text("hi"), author="Amina Yusuf") == "Amina Yusuf: hi"
    assert preview(Text("waves", emote=True), own=True) == "You waves"


@given(st.text(min_size=1), st.integers(min_value=10, max_value=200))
def test_a_preview_is_one_short_line(text: str, limit: int) -> None:
    line = preview(Text(text), own=True, limit=limit)
    assert len(line) <= limit
    assert "\n" not in line
