"""The words of the e-mail about a message that stays unread: no content, no name but the practice's (N1).

Whoever sees the mail learns that the practice has written, and nothing else; the link leads to where one
signs in.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Mail:
    subject: str
    text: str
    html: str


def to_client(practice: str, link: str) -> Mail:
    """``link``: a page that says how to sign in, or the practice's own web client."""
    return _mail(
        f"New message from {practice}",
        [
            f"You have a new message from {practice}. To keep it private, it isn’t in this e-mail.",
            f"To read it, open the chat app in which you write with {practice}.",
            "You aren’t signed in yet, or have a new phone? This page says how to sign in:",
        ],
        link,
        "How to sign in",
        [
            "In an emergency, please call your local emergency services. The chat isn’t watched around the "
            "clock.",
            "Please don’t answer this e-mail: nobody reads what is sent to it.",
        ],
    )


def to_staff(practice: str, link: str) -> Mail:
    """``link``: the conversation's page; it asks whoever isn't signed in."""
    return _mail(
        f"New message in {practice} chat",
        [
            f"A message in your {practice} chat is waiting to be read.",
            "To keep it private, it isn’t in this e-mail.",
        ],
        link,
        "Read it in the portal",
        ["You can choose in the portal, under Notifications, which conversations you get e-mails about."],
    )


def _mail(subject: str, before: list[str], link: str, words: str, after: list[str]) -> Mail:
    text = "\n\n".join(["Hello,", *before, link, *after]) + "\n"
    paragraphs = [f"<p>{escape(line)}</p>" for line in ("Hello,", *before)]
    paragraphs.append(f'<p><a href="{escape(link)}">{escape(words)}</a><br>{escape(link)}</p>')
    paragraphs += [f"<p>{escape(line)}</p>" for line in after]
    body = "\n".join(paragraphs)
    html = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(subject)}</title></head>\n"
        f'<body style="font-family: sans-serif; line-height: 1.5">\n{body}\n</body></html>\n'
    )
    return Mail(" ".join(subject.split()), text, html)
