"""What an entry says. Content is data: it knows its limits and its JSON, and never who may see it.

The JSON is what is sealed into the journal; every form carries its ``type``, and ``content_from_json``
reads any of them back. An unknown field is ignored, so that an older process can read a newer row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from policies.vocabulary import Refusal

MAX_TEXT = 5000
"""Characters (code points) of one message, as the writer counts them."""

MAX_FORMATTED_BYTES = 40_000
"""UTF-8 bytes of body and html together. A Matrix event ends at 65,536 bytes, and base64 in an encrypted
one costs a third: 40,000 leaves room for relations and keys. Past it the plain body goes alone."""

MAX_TITLE = 120
"""Characters of a title that somebody gives (C9)."""
MAX_REACTION = 64
MAX_FILE_NAME = 200


class AttachmentKind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "voice"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Text:
    body: str
    html: str | None = None
    emote: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"type": "text", "body": self.body, "html": self.html, "emote": self.emote}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["body"], data.get("html"), bool(data.get("emote", False)))


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that was sent; ``size`` in bytes, ``width`` and ``height`` in pixels, duration in milliseconds.

    ``attachment_id`` names the sealed bytes; None when they could not be had.
    """

    kind: AttachmentKind
    name: str
    mime: str
    size: int
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    caption: str | None = None
    attachment_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "attachment",
            "kind": self.kind.value,
            "name": self.name,
            "mime": self.mime,
            "size": self.size,
            "width": self.width,
            "height": self.height,
            "duration_ms": self.duration_ms,
            "caption": self.caption,
            "attachment_id": self.attachment_id,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            AttachmentKind(data["kind"]),
            data["name"],
            data["mime"],
            data["size"],
            data.get("width"),
            data.get("height"),
            data.get("duration_ms"),
            data.get("caption"),
            data.get("attachment_id"),
        )


@dataclass(frozen=True, slots=True)
class Location:
    """A place as a ``geo:`` address, shown as a link (M12)."""

    uri: str
    body: str

    def to_json(self) -> dict[str, Any]:
        return {"type": "location", "uri": self.uri, "body": self.body}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["uri"], data["body"])


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Something that can't be shown, which is said and not dropped: ``what`` names it ("a poll")."""

    what: str
    body: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"type": "unsupported", "what": self.what, "body": self.body}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["what"], data.get("body", ""))


@dataclass(frozen=True, slots=True)
class Reaction:
    key: str

    def to_json(self) -> dict[str, Any]:
        return {"type": "reaction", "key": self.key}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["key"])


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to the conversation. ``params`` are JSON values; people stand in it by id,
    because who may see which name is decided per reader."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"type": "notice", "code": self.code, "params": dict(self.params)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["code"], dict(data.get("params", {})))


Content = Text | Attachment | Location | Unsupported | Reaction | Notice

_TYPES: dict[str, type[Content]] = {
    "text": Text,
    "attachment": Attachment,
    "location": Location,
    "unsupported": Unsupported,
    "reaction": Reaction,
    "notice": Notice,
}


def content_from_json(data: Mapping[str, Any]) -> Content:
    """Raises ``KeyError`` or ``ValueError`` for what no ``to_json`` wrote."""
    return _TYPES[data["type"]].from_json(data)


# Line feed and tab say something; other control characters, lone surrogates and the two overrides that
# make a line read backwards do not. Marks and isolates stay: Arabic and Hebrew need them.
_MEANINGLESS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e\ufffe\uffff\ud800-\udfff]")
_BLANK_LETTERS = frozenset("\u2800\u3164\u115f\u1160\uffa0")


def clean_text(text: str) -> str:
    """One kind of line end, nothing that can't be seen or said, no blank ends."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return _MEANINGLESS.sub("", lines).strip()


def says_something(text: str) -> bool:
    """Whether a reader would see anything of this cleaned text."""
    if text.isascii():
        return bool(text)
    return any(c not in _BLANK_LETTERS and unicodedata.category(c)[0] not in "ZC" for c in text)


def check_text(text: str) -> str | Refusal:
    """The text as it is kept, or why it can't be sent."""
    cleaned = clean_text(text)
    if not says_something(cleaned):
        return Refusal("empty", "There is nothing to send yet. Write a message first.")
    too_long = len(cleaned) - MAX_TEXT
    if too_long > 0:
        plural = "character" if too_long == 1 else "characters"
        return Refusal(
            "too_long",
            f"A message can have up to {MAX_TEXT:,} characters. "
            f"This one is {too_long:,} {plural} too long; shorten it, or send it in two parts.",
        )
    return cleaned


def check_title(text: str) -> str | Refusal:
    """A title on one line; an empty one is none."""
    title = " ".join(clean_text(text).split())
    if len(title) > MAX_TITLE:
        return Refusal(
            "too_long", f"A title can have up to {MAX_TITLE} characters; this one has {len(title)}."
        )
    return title


def bounded_html(body: str, html: str | None) -> str | None:
    """The html if it fits beside its body into one Matrix event, else None: the body says the same."""
    if html is None or len(body.encode()) + len(html.encode()) > MAX_FORMATTED_BYTES:
        return None
    return html


_ATTACHMENT_WORDS = {
    AttachmentKind.IMAGE: "Photo",
    AttachmentKind.VIDEO: "Video",
    AttachmentKind.AUDIO: "Audio",
    AttachmentKind.VOICE: "Voice message",
    AttachmentKind.FILE: "File",
}


def _words(content: Content) -> str:
    match content:
        case Text(body=body):
            return body
        case Attachment(kind=kind, name=name, caption=caption):
            words = _ATTACHMENT_WORDS[kind]
            detail = caption or (name if kind is AttachmentKind.FILE else "")
            return f"{words}: {detail}" if detail else words
        case Location():
            return "Location"
        case Unsupported(what=what, body=body):
            return body or f"Sent {what}, which can't be shown here"
        case Reaction(key=key):
            return f"Reacted with {key}"
        case Notice(code=code):
            return code.replace("_", " ").capitalize()


def preview(
    content: Content | None, *, own: bool = False, author: str | None = None, limit: int = 120
) -> str:
    """One line for the list: "You: See you on Monday", "Photo". None stands for a deleted message.

    ``author`` goes before the words where several people write. A notice's own words come from
    ``policies.notices``, which knows the reader; here it is only named.
    """
    if content is None:
        return "Message deleted"
    line = " ".join(_words(content)[: limit * 4].split())
    if isinstance(content, Text) and content.emote:
        line = f"{'You' if own else author or ''} {line}".strip()
    elif own and not isinstance(content, Notice):
        line = f"You: {line}"
    elif author and not isinstance(content, Notice):
        line = f"{author}: {line}"
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
