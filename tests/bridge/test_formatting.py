import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.formatting import MAX_DEPTH, body_of, from_composer, sanitise

LINK = '<a href="https://ruh.example" rel="noopener noreferrer">'
markup = st.text(alphabet="ab *_[]()<>&\"'\\\n1.-:/", max_size=80)


@pytest.mark.parametrize(
    "text",
    [
        "Good morning",
        "snake_case and 2*3 and [brackets]",
        "<b>not bold</b> & so on",
        "# no heading\n> no quotation\n`no code`",
        "https://ruh.example/a_b_c",
        "-5 degrees, C:\\temp",
        "\\*as typed\\*",
        "two\nlines",
        "",
    ],
)
def test_plain_text_stays_plain(text: str) -> None:
    assert from_composer(text) == (text, None)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and _italic_", "<strong>bold</strong> and <em>italic</em>"),
        ("one\n**two**", "one<br>\n<strong>two</strong>"),
        ("a **b**\n\nc", "<p>a <strong>b</strong></p>\n<p>c</p>"),
        ("1. tea\n2. rest", "<ol>\n<li>tea</li>\n<li>rest</li>\n</ol>"),
        ("3. tea\n4. rest", '<ol start="3">\n<li>tea</li>\n<li>rest</li>\n</ol>'),
        ("- tea\n- rest", "<ul>\n<li>tea</li>\n<li>rest</li>\n</ul>"),
        ("see [us](https://ruh.example)", f"see {LINK}us</a>"),
        ("<i>**x**</i>", "&lt;i&gt;<strong>x</strong>&lt;/i&gt;"),
    ],
)
def test_simple_formatting_becomes_html(text: str, html: str) -> None:
    assert from_composer(text) == (text, html)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "ftp://x.example", "/etc", "mailto:a@b.c"]
)
def test_links_lead_to_the_web_only(address: str) -> None:
    assert from_composer(f"[here]({address})") == (f"[here]({address})", None)


@given(markup)
def test_what_was_typed_is_the_body_whatever_it_is(text: str) -> None:
    body, html = from_composer(text)
    assert body == text
    assert html is None or sanitise(html) == html.strip()


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("plain", "plain"),
        (
            "<strong>b</strong><em>i</em><del>d</del><code>c</code>",
            "<strong>b</strong><em>i</em><del>d</del><code>c</code>",
        ),
        ("<mx-reply><blockquote>before</blockquote></mx-reply>after", "after"),
        ("<script>steal()</script><p onclick='x'>hi</p>", "<p>hi</p>"),
        ("<span data-mx-color='#f00' data-mx-spoiler style='x'>s</span>", "<span>s</span>"),
        ("<a href='https://ruh.example' target='_top'>us</a>", f"{LINK}us</a>"),
        ("<a href='javascript:x()'>here</a>", "here"),
        ("<a href='/local'>here</a>", "here"),
        ("<a href='https://matrix.to/#/@ruh_x:ruh.test'>A.B.</a>: hi", "A.B.: hi"),
        ('<a href="https:&#47;&#47;matrix.to/#/@c234:ruh.test">c234</a>: hi', "c234: hi"),
        ("<a href='HTTPS://user@www.Matrix.To:443/#/@c234:ruh.test'>c234</a>: hi", "c234: hi"),
        ("<a href='https://[matrix.to/#/@c234:ruh.test'>c234</a>: hi", "c234: hi"),
        ("<a class=p href=matrix:u/ruh_x:ruh.test>A.B.</a> hi", "A.B. hi"),
        ("<img data-mx-emoticon src='mxc://a/b' alt=':sun:' onerror=x> day", ":sun: day"),
        ("<img src='https://track.example/x.png'>", None),
        ("<img alt='&lt;b&gt;'>", "&lt;b&gt;"),
        ("<ol start='4'><li>x</li></ol>", '<ol start="4"><li>x</li></ol>'),
        ("<iframe src='https://x.example'></iframe><style>*{}</style>", None),
        ("<b>never closed", "<b>never closed</b>"),
        ("<table><tr><td>1</td></tr></table>", "<table><tbody><tr><td>1</td></tr></tbody></table>"),
        ("  ", None),
    ],
)
def test_a_clients_html_becomes_safe(html: str, clean: str | None) -> None:
    assert sanitise(html) == clean


@given(st.text(alphabet="<>/abip =\"'hrefsconl:jt", max_size=200))
@settings(max_examples=300, deadline=None)
def test_nothing_active_survives(html: str) -> None:
    clean = sanitise(html) or ""
    assert not re.search(
        r"<(?!/?(?:[abisp]|br|hr|pre|li|tr|th|col|del|code|span|strike|table)\b)[a-z]", clean
    )
    assert not re.search(r"<[^>]*\s(?!href=|rel=|start=)[a-z]+=", clean)
    assert sanitise(clean) == (clean or None)


def test_too_deep_html_is_left_to_the_body() -> None:
    assert sanitise("<div>" * MAX_DEPTH + "x") is not None
    assert sanitise("<div>" * (MAX_DEPTH + 1) + "x") is None


@pytest.mark.parametrize(
    "part", ["<div>", "<img ", "<a href=x ", "<b><i>", "<a href='matrix:", "&", "<table>"]
)
def test_no_message_of_an_events_size_keeps_the_process_busy(part: str) -> None:
    began = time.process_time()
    sanitise(part * (65_536 // len(part)))
    assert time.process_time() - began < 0.25


@pytest.mark.parametrize(
    ("html", "body"),
    [
        ("<p>Hello</p><p>there<br>you</p>", "Hello\n\nthere\nyou"),
        ("a &amp; <b>b</b> <i>c</i>", "a & b c"),
        ("<ol>\n<li>tea</li>\n<li><p>rest</p></li>\n</ol>\nafter", "1. tea\n2. rest\nafter"),
        ('<ol start="3"><li>x<ul><li>y</li></ul></li></ol>', "3. x\n  - y"),
        ("<blockquote><p>one</p><p>two</p></blockquote>answer", "> one\n>\n> two\n\nanswer"),
        (f"{LINK}us</a> {LINK}https://ruh.example</a>", "us (https://ruh.example) https://ruh.example"),
        ("<pre><code>a\n  b</code></pre>", "a\n  b"),
        ("<table><tbody><tr><td>1</td><td>2</td></tr></tbody></table>", "1\t2"),
        ("x<hr>y", "x\n---\ny"),
    ],
)
def test_html_has_plain_words(html: str, body: str) -> None:
    assert body_of(html) == body
