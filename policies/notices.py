"""The words of what happened to a conversation, for whoever reads them.

A notice is stored as a code with ids; only the assistant's answer to a client carries its words. Staff read
names; clients read what ``naming`` gives them, and nothing at all of what is the team's own business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from policies.content import Notice
from policies.naming import listed
from policies.vocabulary import PersonId

# code → (for staff, for clients); None: this reader isn't told. "{person}" is who it is about.
WORDS: Mapping[str, tuple[str | None, str | None]] = {
    "started": ("Conversation started", None),
    "member_added": ("{person} was added", "{person} joined"),
    # Of a large group, whose masks come only when somebody speaks.
    "roster": (None, "With you in this chat: {people}"),
    "member_removed": ("{person} was removed", "{person} left"),
    "member_left": ("{person} left", "{person} left"),
    "closed": (
        "Conversation closed. It can still be read.",
        "This conversation has been closed. You can still read it, but not write here any more.",
    ),
    "renamed": ("Title changed", None),
    "waiting_to_sign_in": (
        "{person} hasn’t signed in to chat yet. Your messages will reach them when they do.",
        None,
    ),
    "signed_in": ("{person} signed in to chat", None),
    "left_room": (
        "{person} left this chat in their app. Your messages wait until they come back.",
        None,
    ),
    "invited_again": ("{person} was invited back into this chat", None),
    "identity_changed": (
        "{person}’s security details have changed, as after a reinstalled app. Please check with them, for "
        "example by phone, that it was them. Until you confirm, nothing is sent to them.",
        None,
    ),
    "identity_released": ("Confirmed that this is {person}. Waiting messages are being sent.", None),
    "unverified_app": (
        "What {person} wrote last came from an app that they haven’t verified. If that surprises you, check "
        "with them, for example by phone, that it was them.",
        None,
    ),
    "undecryptable": (
        "A message from {person} could not be read. Please ask them to send it again.",
        "Your last message could not be read here. Please send it again.",
    ),
    "unreadable": (
        "{person} sent something that could not be read. Please ask them to send it another way.",
        "What you sent could not be read here. Please try it another way.",
    ),
    "message_too_long": (
        "{person} sent a message that was too long to be delivered. They have been told.",
        "Your message was too long and was not delivered. Please send it in shorter parts.",
    ),
    "attachment_lost": (
        "A file from {person} could not be fetched. Please ask them to send it again.",
        "Your file could not be fetched. Please send it again.",
    ),
    # A client's file in a community chat: its name and what is written inside it can name people (C7).
    "file_stays": (
        "Only the team can open this file. The other clients are told that {person} sent one.",
        "Your file has reached the team. The other members of this group can’t open it; they are told that "
        "you sent one.",
    ),
    "delivery_failed": (
        "A message could not be delivered to {person}. Please try again, or ask Client Care for help.",
        None,
    ),
    "chat_off": (
        None,
        "Your chat is switched off at the moment, so this message was not delivered to anybody. "
        "You can still read everything here.",
    ),
    # A client's command and what the assistant said to it: theirs alone (A7).
    "command": (None, None),
    "answered": (None, "{words}"),
    "client_archived": ("{person} is archived", None),
    "client_active": ("{person} is active again", None),
}

ADDED_YOURSELF = "You were added to this chat. You can read what is written from now on."

NameOf = Callable[[PersonId], str]


def _nobody(_: PersonId) -> str:
    return "Somebody"


def _filled(template: str | None, notice: Notice, name_of: NameOf) -> str | None:
    if template == "{words}":
        return str(notice.params.get("words") or "") or None
    if template is None or "{person}" not in template:
        return template
    person = notice.params.get("person")
    name = name_of(PersonId(UUID(str(person)))) if person else _nobody(PersonId(UUID(int=0)))
    return template.replace("{person}", name)


def for_staff(notice: Notice, name_of: NameOf) -> str | None:
    """The line to show in the portal, or None for nothing; ``name_of`` gives full names (C8).

    An unknown code, which a newer process wrote, is shown by its name.
    """
    if notice.code not in WORDS:
        return notice.code.replace("_", " ").capitalize()
    return _filled(WORDS[notice.code][0], notice, name_of)


def for_client(notice: Notice, name_of: NameOf = _nobody, reader: PersonId | None = None) -> str | None:
    """The line to send to a client, or None for nothing; ``name_of`` gives what they may see (C7)."""
    template = WORDS.get(notice.code, (None, None))[1]
    if notice.code == "member_added" and reader is not None and notice.params.get("person") == str(reader):
        return ADDED_YOURSELF
    if template is not None and "{people}" in template:
        people = [PersonId(UUID(str(person))) for person in notice.params.get("people", ())]
        names = [name_of(person) for person in people if person != reader]
        return template.replace("{people}", listed(names)) if names else None
    return _filled(template, notice, name_of)
