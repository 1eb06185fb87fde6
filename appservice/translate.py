"""Matrix events ↔ entries, pure. What can't be shown is said, never dropped (M12).

Message types of the client-server API, section "Instant messaging"; edits and replies as in
"Event replacements" and "Rich replies"; voice messages as in MSC3245.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.formatting import body_of, sanitise
from policies.content import (
    MAX_FILE_NAME,
    MAX_REACTION,
    MAX_TEXT,
    Attachment,
    AttachmentKind,
    Content,
    Location,
    Text,
    Unsupported,
    bounded_html,
    clean_text,
    says_something,
)

Json = dict[str, Any]
HTML = "org.matrix.custom.html"
EDIT_FALLBACK = 300  # characters
# A reply's quotation as older clients write it, in edits of replies too; it has a Matrix id in it (C7).
_QUOTING = re.compile(r"> (?:\* )?<@[^>\s]+>")

_KINDS = {
    "m.image": AttachmentKind.IMAGE,
    "m.video": AttachmentKind.VIDEO,
    "m.audio": AttachmentKind.AUDIO,
    "m.file": AttachmentKind.FILE,
}
_WORDS_OF_KINDS = {
    AttachmentKind.IMAGE: "a picture",
    AttachmentKind.VIDEO: "a video",
    AttachmentKind.AUDIO: "an audio file",
    AttachmentKind.VOICE: "a voice message",
}
_WORDS_OF_TYPES = {
    "m.poll.start": "a poll",
    "org.matrix.msc3381.poll.start": "a poll",
    "m.poll.response": "an answer to a poll",
    "org.matrix.msc3381.poll.response": "an answer to a poll",
    "m.beacon_info": "a live location",
    "org.matrix.msc3672.beacon": "a live location",
    "m.key.verification.request": "a request to verify a device",
    "m.call.invite": "a call",
}
# Signals between clients that were never meant to be read by a person.
SILENT = re.compile(
    r"^(m\.key\.verification\.(?!request)|m\.dummy|m\.room_key|m\.call\.(?!invite)|io\.element\.)"
)


@dataclass(frozen=True, slots=True)
class Said:
    """A message; `source` says where an attachment's bytes are (address and key, encrypted-file object)."""

    content: Content
    reply_to: str | None = None
    source: Json | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """Other words for an earlier event."""

    event_id: str
    content: Content


@dataclass(frozen=True, slots=True)
class Reacted:
    event_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing for a reader."""


Meaning = Said | Changed | Reacted | Silent


def from_matrix(event_type: str, content: Mapping[str, Any]) -> Meaning:
    """What a client's (decrypted) event means. Never raises: a malformed one is said to be so."""
    relation = content.get("m.relates_to")
    relation = relation if isinstance(relation, dict) else {}
    if event_type == "m.reaction":
        event_id, key = relation.get("event_id"), relation.get("key")
        if isinstance(event_id, str) and isinstance(key, str) and clean_text(key):
            return Reacted(event_id, clean_text(key)[:MAX_REACTION])
        return Silent()
    if SILENT.match(event_type):
        return Silent()
    if event_type == "m.sticker":
        return _attachment(AttachmentKind.IMAGE, content, _reply(relation))
    if event_type != "m.room.message":
        return Said(Unsupported(_WORDS_OF_TYPES.get(event_type, "something"), _fallback(content)))
    if relation.get("rel_type") == "m.replace" and isinstance(relation.get("event_id"), str):
        new = content.get("m.new_content")
        said = _message(new if isinstance(new, dict) else content, None)
        return Changed(relation["event_id"], said.content)
    return _message(content, _reply(relation))


def _reply(relation: Mapping[str, Any]) -> str | None:
    """The event replied to; a thread's message is shown as a reply to what it follows."""
    reply = relation.get("m.in_reply_to")
    event_id = reply.get("event_id") if isinstance(reply, dict) else None
    if event_id is None and relation.get("rel_type") == "m.thread":
        event_id = relation.get("event_id")
    return event_id if isinstance(event_id, str) else None


def _message(content: Mapping[str, Any], reply_to: str | None) -> Said:
    kind = content.get("msgtype")
    kind = kind if isinstance(kind, str) else ""
    if kind in ("m.text", "m.notice", "m.emote"):
        return Said(_text(content, reply_to, emote=kind == "m.emote"), reply_to)
    if kind in _KINDS:
        return _attachment(_KINDS[kind], content, reply_to)
    if (
        kind == "m.location"
        and isinstance(content.get("geo_uri"), str)
        and content["geo_uri"].startswith("geo:")
    ):
        return Said(Location(content["geo_uri"][:300], _fallback(content)), reply_to)
    words = "a request to verify a device" if kind == "m.key.verification.request" else "something"
    return Said(Unsupported(words, _fallback(content)), reply_to)


def _text(content: Mapping[str, Any], reply_to: str | None, *, emote: bool) -> Content:
    html = content.get("formatted_body")
    clean = sanitise(html) if content.get("format") == HTML and isinstance(html, str) else None
    body = content.get("body")
    body = clean_text(body) if isinstance(body, str) else ""
    if reply_to is not None or _QUOTING.match(body):
        body = _without_fallback(body)
    if not says_something(body) and clean:
        body = body_of(clean)
    if not says_something(body):
        return Unsupported("an empty message")
    # A client's own limit is the size of an event, not ours: nothing of what they say is cut.
    return Text(body, bounded_html(body, clean), emote)


def _without_fallback(body: str) -> str:
    """A reply's words without the quotation that older clients put before them."""
    if not body.startswith("> "):
        return body
    lines = body.split("\n")
    rest = next((i for i, line in enumerate(lines) if not line.startswith(">")), len(lines))
    # Nothing but a quotation was their own doing: it stays, without whom it names.
    return "\n".join(lines[rest:]).strip() or _QUOTING.sub(">", body)


def _fallback(content: Mapping[str, Any]) -> str:
    body = content.get("body")
    body = clean_text(body) if isinstance(body, str) else ""
    return (_without_fallback(body) if _QUOTING.match(body) else body)[:MAX_TEXT]


def _attachment(kind: AttachmentKind, content: Mapping[str, Any], reply_to: str | None) -> Said:
    info = content.get("info")
    info = info if isinstance(info, dict) else {}
    source = content.get("file") if isinstance(content.get("file"), dict) else None
    if source is None and isinstance(content.get("url"), str):
        source = {"url": content["url"]}
    if source is None or not isinstance(source.get("url"), str):
        return Said(Unsupported("a file that has no address", _fallback(content)), reply_to)
    if kind is AttachmentKind.AUDIO and ("org.matrix.msc3245.voice" in content or "m.voice" in content):
        kind = AttachmentKind.VOICE
    body, name = _fallback(content), content.get("filename")
    name = clean_text(name) if isinstance(name, str) and clean_text(name) else None
    caption = body if name is not None and body and body != name else None
    mime = info.get("mimetype")
    attachment = Attachment(
        kind, (name or body or "file")[:MAX_FILE_NAME],
        mime[:100] if isinstance(mime, str) else "application/octet-stream", _whole(info.get("size")) or 0,
        _whole(info.get("w")), _whole(info.get("h")), _whole(info.get("duration")), caption,
    )  # fmt: skip
    return Said(attachment, reply_to, source)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else None


def message_content(content: Content, *, reply_to: str | None = None, replaces: str | None = None) -> Json:
    """The m.room.message for a text, as new words or as other words for `replaces`."""
    said = _said(content)
    if replaces is not None:
        # The outer words are for clients that know no edits; the new ones twice would pass an event's size.
        outer = {"msgtype": said["msgtype"], "body": f"* {said['body'][:EDIT_FALLBACK]}", "m.mentions": {}}
        return {
            **outer,
            "m.new_content": said,
            "m.relates_to": {"rel_type": "m.replace", "event_id": replaces},
        }
    if reply_to is not None:
        said["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
    return said


def _said(content: Content) -> Json:
    match content:
        case Text(body=body, html=html, emote=emote):
            said: Json = {"msgtype": "m.emote" if emote else "m.text", "body": body, "m.mentions": {}}
            return said | ({"format": HTML, "formatted_body": html} if html else {})
        case Location(uri=uri, body=body):
            return {"msgtype": "m.location", "geo_uri": uri, "body": body or uri}
        case Unsupported(what=what, body=body):
            return {
                "msgtype": "m.text",
                "body": body or f"(sent {what}, which can't be shown here)",
                "m.mentions": {},
            }
        case Attachment(kind=kind, caption=caption):
            # Its bytes stay with the team. The name of the file may be somebody's: it isn't told (C7).
            sent = f"(sent {_WORDS_OF_KINDS.get(kind, 'a file')}, which only the team can open)"
            body = f"{sent}\n{caption}" if caption else sent
            return {"msgtype": "m.text", "body": body, "m.mentions": {}}
        case _:
            raise ValueError(f"{type(content).__name__} is no message")


def reaction_content(event_id: str, key: str) -> Json:
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": key}}
