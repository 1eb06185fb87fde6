"""Words in and out of formatting: what a writer types becomes html, what a client sends becomes safe html.

Html from outside passes `sanitise` before it is kept, so that whatever is in the journal can be shown as it
is. The tags are those of the client-server API ("m.room.message msgtypes"), less what calls another host.
"""

import re
from html import escape, unescape
from html.parser import HTMLParser
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt

MAX_TAGS = 2000
"""Tags of one message. Parsing takes the square of the nesting: 1.4 s for 20,000 levels, 15 ms here."""
MAX_DEPTH = 60
"""Levels of nesting, of Matrix's recommended limit of 100. Deeper html is dropped: the body says the same."""

# fmt: off
_BLOCKS = frozenset({
    "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "p", "ul", "ol", "li", "div", "table", "thead", "tbody",
    "tr", "th", "td", "caption", "pre", "details", "summary", "hr",
})
_INLINE = frozenset({
    "del", "a", "sup", "sub", "b", "i", "u", "strong", "em", "s", "strike", "code", "br", "span",
})
# fmt: on
_LINK_REL = "noopener noreferrer"


def _is_pill(address: str) -> bool:
    """A mention's address, however it is written: "https://matrix.to/#/@…"."""
    try:
        host = urlsplit(address.strip()).hostname or ""
    except ValueError:
        return True
    return host == "matrix.to" or host.endswith(".matrix.to")


# One of each for the process: building them costs a thousand times what a use does.
_cleaner = nh3.Cleaner(
    tags=set(_BLOCKS | _INLINE),
    # A reply's quotation of what it answers: the journal knows the real one.
    clean_content_tags={"mx-reply", "script", "style"},
    attributes={"a": {"href"}, "ol": {"start"}},
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    attribute_filter=lambda tag, name, value: None if tag == "a" and _is_pill(value) else value,
    link_rel=_LINK_REL,
)
_markdown = MarkdownIt("zero", {"breaks": True, "maxNesting": 20}).enable(
    ["emphasis", "escape", "link", "newline", "list"]
)
_WEB_ADDRESS = re.compile(r"https?://\S+\Z", re.IGNORECASE)


def _is_web_address(url: str) -> bool:
    return _WEB_ADDRESS.match(url) is not None


_markdown.validateLink = _is_web_address  # type: ignore[method-assign]

# Whatever our Markdown could give a meaning to. Most messages have none of it and never meet the parser.
_MAY_BE_MARKUP = re.compile(r"[*_\[\\]|^\s{0,3}(?:[-+]|\d{1,9}[.)])\s", re.MULTILINE)
_IS_FORMATTED = re.compile(r"<(?:strong|em|ul|ol|a )")


def from_composer(text: str) -> tuple[str, str | None]:
    """(body, html) of a cleaned text; html is None when nothing in it is formatted.

    Bold, italic, lists, and links to http and https only; line ends stay line ends, tags stay words.
    The body is the text as typed: it is what an edit starts from.
    """
    if not _MAY_BE_MARKUP.search(text):
        return text, None
    html = _cleaner.clean(_markdown.render(text)).strip()
    if not _IS_FORMATTED.search(html):
        return text, None
    if html.count("<p>") == 1 and html.startswith("<p>") and html.endswith("</p>"):
        html = html[3:-4]
    return text, html


_IMAGE = re.compile(r"<img\b[^<>]*>", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"""\b(?:alt|title)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_DEAD_LINK = re.compile(rf'<a rel="{_LINK_REL}">(.*?)</a>', re.DOTALL)
_SPACES = re.compile(r"[ \t\r\n\f]+")
_TAG = re.compile(r"<(/?)([a-z0-9]+)")


def sanitise(html: str) -> str | None:
    """A client's `formatted_body` as it may be kept and shown, None when nothing of it is left.

    Pictures (a custom emoji, say) become their alternative words; mentions become the name alone, because
    the address in them is one leg's mask and means nothing, or too much, in another.
    """
    if "<" not in html and "&" not in html:
        return html.strip() or None
    if html.count("<") > MAX_TAGS:
        return None
    if "<img" in html.lower():
        html = _IMAGE.sub(_alternative, html)
    clean = _DEAD_LINK.sub(r"\1", _cleaner.clean(html)).strip()
    return clean if clean and _depth(clean) <= MAX_DEPTH else None


def _alternative(image: re.Match[str]) -> str:
    words = _ALTERNATIVE.search(image[0])
    return escape(unescape(words[1] or words[2] or "")) if words else ""


def _depth(clean: str) -> int:
    """Of cleaned html, where every tag but br and hr is closed."""
    if clean.count("</") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for closing, tag in _TAG.findall(clean):
        if tag not in ("br", "hr"):
            depth += -1 if closing else 1
            deepest = max(deepest, depth)
    return deepest


def body_of(html: str) -> str:
    """Cleaned html in plain words: lists with their marks, links with their address, quotations with ">"."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = [line.rstrip() for line in reader.text().split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    """Collects words; lists and quotations keep a stack of what is around them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._lists: list[int | None] = []  # the next number, None for bullets
        self._quotes: list[int] = []  # where each quotation begins in _out
        self._href: str | None = None
        self._link_start = 0
        self._verbatim = 0

    def text(self) -> str:
        return "".join(self._out)

    def handle_data(self, data: str) -> None:
        if not self._verbatim:
            data = _SPACES.sub(" ", data)
            data = data.lstrip(" ") if self._at_line_start() else data
        self._say(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "br":
            self._out.append("\n")
        elif tag == "hr":
            self._break("---\n")
        elif tag in ("ul", "ol"):
            start = given.get("start") or "1"
            self._lists.append(None if tag == "ul" else int(start) if start.isdecimal() else 1)
            self._break()
        elif tag == "li":
            self._break("  " * (len(self._lists) - 1) + self._mark())
        elif tag == "blockquote":
            self._break()
            self._quotes.append(len(self._out))
        elif tag == "a":
            self._href, self._link_start = given.get("href"), len(self._out)
        elif tag in ("td", "th"):
            self._say("" if self._at_line_start() else "\t")
        elif tag in _BLOCKS:
            self._verbatim += tag == "pre"
            if not (self._lists and tag == "p"):
                self._break()

    def handle_endtag(self, tag: str) -> None:
        if tag in ("ul", "ol"):
            self._lists = self._lists[:-1]
            self._break()
        elif tag == "blockquote" and self._quotes:
            self._quote(self._quotes.pop())
        elif tag == "a":
            words = "".join(self._out[self._link_start :]).strip()
            if self._href and self._href != words:
                self._out.append(f" ({self._href})")
            self._href = None
        elif tag in _BLOCKS and tag not in ("li", "td", "th"):
            self._verbatim -= tag == "pre"
            self._break("\n" if tag in ("p", "pre") and not self._lists else "")

    def _mark(self) -> str:
        if not self._lists or self._lists[-1] is None:
            return "- "
        number = self._lists[-1]
        self._lists[-1] = number + 1
        return f"{number}. "

    def _quote(self, start: int) -> None:
        said = "".join(self._out[start:]).strip().replace("\n", "\n> ")
        self._out[start:] = [f"> {said}\n\n"]

    def _say(self, words: str) -> None:
        if words:
            self._out.append(words)

    def _at_line_start(self) -> bool:
        return not self._out or self._out[-1].endswith("\n")

    def _break(self, then: str = "") -> None:
        """Begin a new line, if this one has begun, then go on with these words."""
        if not self._at_line_start():
            self._out.append("\n")
        self._say(then)
