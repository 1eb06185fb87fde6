"""A restored message that can't come from its author any more: how the assistant says it for them (M8).

A redaction can't be undone in Matrix, so a restored message goes out again. Its author's face or mask sends
it where it still can; in the author's own room, and where their mask is gone, the assistant does.
"""

from __future__ import annotations

from html import escape

from policies.content import Content, Text, bounded_html, preview


def attributed(content: Content, author: str | None) -> Text:
    """``author`` as the reader knows them; None: the reader wrote it themselves."""
    intro = "Your message has been restored:" if author is None else f"{author} wrote (restored):"
    body, html = (content.body, content.html) if isinstance(content, Text) else (preview(content), None)
    if isinstance(content, Text) and content.emote:
        body, html = f"* {body}", None
    body = f"{intro}\n{body}"
    return Text(body, bounded_html(body, html and f"<p>{escape(intro)}</p>{html}"))
