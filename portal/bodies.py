"""What a message says, as HTML that is safe to show and as one plain line.

Kept html was cleaned when it came in; it is cleaned again here: no row of the journal can script a page.
"""

import html
import re

import nh3
from markupsafe import Markup, escape

from policies.content import Attachment, Content, Location, Text, Unsupported

_ADDRESS = re.compile(r"\bhttps?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]")


def plain(content: Content | None) -> Content | None:
    """Without the marks of formatting: "**now**" is "now" in one line of a list."""
    if isinstance(content, Text) and content.html is not None:
        text = re.sub(r"<(?:br ?/?|/p|/li|/blockquote)>", " ", content.html)
        return Text(html.unescape(nh3.clean(text, tags=set())), None, content.emote)
    return content


def words(content: Content | None) -> Markup:
    """The words of a message as HTML that is safe to show."""
    match content:
        case Text(body=body, html=None):
            return _linked(body)
        case Text(html=str(formatted)):
            return _cleaned(formatted)
        case Attachment(caption=str(caption)):
            return _linked(caption)
        case Location(body=body):
            return escape(body)
        case Unsupported(what=what, body=body):
            return escape(body or f"Sent {what}, which can’t be shown here. Please ask what it was about.")
        case _:
            return Markup()


_TAGS = {
    "p", "br", "strong", "b", "em", "i", "u", "s", "del", "sub", "sup", "ul", "ol", "li", "blockquote",
    "pre", "code", "a", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
    "caption", "span", "div", "details", "summary",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
_LINK = Markup('<a href="{0}" target="_blank" rel="noreferrer noopener">{0}</a>')
_TARGETS = {"a": {"target": "_blank"}}


def _cleaned(formatted: str) -> Markup:
    clean = nh3.clean(
        formatted,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        set_tag_attribute_values=_TARGETS,
        link_rel="noreferrer noopener",
    )
    return Markup(clean)  # noqa: S704  cleaned just now


def _linked(text: str) -> Markup:
    """Escaped, with web addresses as links."""
    out, at = Markup(), 0
    for match in _ADDRESS.finditer(text):
        address = match[0]
        out += escape(text[at : match.start()]) + _LINK.format(address)
        at = match.end()
    return out + escape(text[at:])


def map_link(content: Location) -> str:
    """A ``geo:`` address as a link to a map that needs no account."""
    match = re.match(r"geo:(-?\d{1,2}(?:\.\d+)?),(-?\d{1,3}(?:\.\d+)?)", content.uri)
    return (
        f"https://www.openstreetmap.org/?mlat={match[1]}&mlon={match[2]}#map=16/{match[1]}/{match[2]}"
        if match
        else ""
    )


INLINE = {
    "image": {"image/png", "image/jpeg", "image/gif", "image/webp"},
    "video": {"video/mp4", "video/webm", "video/quicktime"},
    "audio": {"audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/webm", "audio/wav",
              "audio/x-wav", "audio/flac"},
}  # fmt: skip


def shown_kind(content: Attachment) -> str:
    """How a file is shown; what a browser can't be trusted with is offered as a download."""
    kind = "audio" if content.kind.value == "voice" else content.kind.value
    return content.kind.value if content.mime.split(";")[0].strip() in INLINE.get(kind, ()) else "file"


def size_words(size: int) -> str:
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    if size < 1_000_000:
        return f"{size / 1000:.0f} kB"
    return f"{size / 1_000_000:.1f} MB"
