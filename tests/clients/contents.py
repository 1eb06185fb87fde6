"""Message contents as today's clients write them; the same for every real client here."""

from __future__ import annotations

from typing import Any

Content = dict[str, Any]


def text(body: str, formatted: str | None = None) -> Content:
    content: Content = {"msgtype": "m.text", "body": body}
    if formatted is not None:
        content |= {"format": "org.matrix.custom.html", "formatted_body": formatted}
    return content


def reply(event_id: str, body: str, formatted: str | None = None) -> Content:
    # No quoted fallback: removed from the specification in 1.13 (MSC2781), and Element writes none.
    return text(body, formatted) | {"m.relates_to": {"m.in_reply_to": {"event_id": event_id}}}


def edit(event_id: str, body: str, formatted: str | None = None) -> Content:
    fallback = text(f"* {body}", None if formatted is None else f"* {formatted}")
    relation = {"rel_type": "m.replace", "event_id": event_id}
    return fallback | {"m.new_content": text(body, formatted), "m.relates_to": relation}


def reaction(event_id: str, key: str) -> Content:
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": key}}


def attachment(msgtype: str, name: str, mimetype: str, size: int, source: Content, extra: Content) -> Content:
    info = {"mimetype": mimetype, "size": size, **extra}
    return {"msgtype": msgtype, "body": name, "filename": name, "info": info, **source}


def voice(mimetype: str, size: int, source: Content, duration_ms: int) -> Content:
    content = attachment("m.audio", "Voice message.ogg", mimetype, size, source, {"duration": duration_ms})
    # MSC3245 over MSC1767's audio block: what makes clients draw a wave instead of a file.
    wave = {"duration": duration_ms, "waveform": [0, 256, 512, 1024, 512, 256]}
    return content | {"org.matrix.msc1767.audio": wave, "org.matrix.msc3245.voice": {}}


def location(latitude: float, longitude: float, body: str) -> Content:
    uri = f"geo:{latitude},{longitude}"
    return {
        "msgtype": "m.location",
        "body": body or f"Location was shared at {uri}",
        "geo_uri": uri,
        "org.matrix.msc3488.location": {"uri": uri},
    }
