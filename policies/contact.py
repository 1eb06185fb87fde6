"""Therapist first: a client can reach nobody until a therapist or a booking has opened the way (P3, P4, P6).

Also what is said at that point: the welcome (once per client and therapist), and the assistant's kind no.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from policies import phrases
from policies.chat_settings import InForce, Switch, told_when_off
from policies.naming import ASSISTANT_NAME
from policies.vocabulary import Name, Refusal

DEFAULT_WELCOME = (
    "Hello {client.first_name|there}, and welcome. I’m {therapist.name|your therapist}. "
    "You can write to me here whenever something is on your mind; "
    "I read my messages between sessions and answer as soon as I can.\n\n"
    "This chat is not watched around the clock. If it is urgent, please call your local emergency services."
)


@dataclass(frozen=True, slots=True)
class Contact:
    """How far a client and a therapist have come."""

    opened_by_staff: bool = False
    booked: bool = False
    welcomed: bool = False

    @property
    def has_begun(self) -> bool:
        return self.opened_by_staff or self.booked


@dataclass(frozen=True, slots=True)
class BookingEffects:
    """What a reported booking causes."""

    make_thread: bool
    send_welcome: bool
    make_active: bool


def on_booking(contact: Contact, *, has_thread: bool, archived: bool, direct: InForce) -> BookingEffects:
    """Once per client and therapist, never twice: also when the thread was there before the booking (P4).

    With direct messaging off nothing new goes to the client (P5), a welcome neither; the next booking
    after it was switched on brings it.
    """
    return BookingEffects(
        make_thread=not has_thread,
        send_welcome=direct.on and not contact.welcomed,
        make_active=archived,
    )


def welcome(own: str | None, *, client: Name, therapist: Name, practice: str) -> str:
    """The therapist's own welcome if they wrote one (A8), else the default, ready to send."""
    values = phrases.values_for(client=client, therapist=therapist, practice=practice)
    return phrases.expand(own if own and own.strip() else DEFAULT_WELCOME, values)


def before_contact(practice: str) -> str:
    """The assistant's answer to a client whom nobody has contacted yet."""
    return (
        f"Hello, I’m {ASSISTANT_NAME}, the assistant of {practice}. "
        "Your therapist will write to you first, and then you can answer them here at any time. "
        "There is nothing you need to do until then. "
        "If it is urgent, please call your local emergency services."
    )


def may_open(contact: Contact, direct: InForce, practice: str) -> Refusal | None:
    """Whether a client may come to their therapist's thread by themselves (P6), and the words if not."""
    if not contact.has_begun:
        return Refusal("before_contact", before_contact(practice))
    if not direct.on:
        return Refusal("chat_off", told_when_off(Switch.DIRECT_MESSAGING))
    return None


class Way(StrEnum):
    """How a client and their thread came together."""

    HERE = "here"
    """They asked in it."""
    FOUND = "found"
    BACK = "back"
    """They had left its room and are asked into it again."""
    MADE = "made"
    CLOSED = "closed"


_BROUGHT = {
    Way.HERE: "This is your conversation with {}. What you write here, they will read.",
    Way.FOUND: "Your conversation with {0} is among your chats, under the name “{0}”. Please write there.",
    Way.BACK: "You are back in your conversation with {0}. It is among your chats, under the name “{0}”.",
    Way.MADE: "Your conversation with {0} is open. In a moment it is among your chats, "
    "under the name “{0}”. Please write there.",
    Way.CLOSED: "Your conversation with {} has been closed. You can still read it. "
    "Please contact the practice another way; if it is urgent, call your local emergency services.",
}


def brought(therapist: Name, way: Way) -> str:
    """The assistant's answer once it is clear where a client writes to their therapist."""
    return _BROUGHT[way].format(therapist.full)


def where_to_ask(therapists: list[Name]) -> str:
    """The answer in a conversation, where a number would be a message to the others."""
    names = "\n".join(f"– {name.full}" for name in therapists)
    return (
        f"You can write to each of these alone:\n{names}\nPlease open a chat with me, {ASSISTANT_NAME}, "
        "and send !start there: I’ll ask you whom."
    )


def whom(therapists: list[Name]) -> str:
    """The assistant's question where more than one therapist could be meant."""
    lines = "\n".join(f"{number}. {name.full}" for number, name in enumerate(therapists, start=1))
    return f"Whom would you like to write to? Answer with the number.\n{lines}"
