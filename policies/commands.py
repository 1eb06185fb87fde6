"""What is a command and what is just a message (A7): a client's is one word and nothing beside it.

"!help me, I can’t breathe" has to reach a person; so only the whole text counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from policies.naming import ASSISTANT_NAME, listed


class Command(StrEnum):
    """A client's commands, as they are typed."""

    HELP = "!help"
    START = "!start"


_COMMANDS = {command.value: command for command in Command}
_NUMBER = re.compile(r"(\d{1,3})[.)]?")


def parse(text: str) -> Command | None:
    """None: just a message."""
    return _COMMANDS.get(text.strip().casefold())


def chosen(text: str, offered: int) -> int | None:
    """Which of so many things a client means by "2", "2." or "٢": counted from 0; None: none of them."""
    match = _NUMBER.fullmatch(text.strip())
    number = int(match[1]) if match else 0
    return number - 1 if 1 <= number <= offered else None


_URGENT = "If it is urgent, please call your local emergency services."


def help_alone(practice: str) -> str:
    """The answer to "!help" in a chat with the assistant alone."""
    return (
        f"I’m {ASSISTANT_NAME}, the assistant of {practice}. Nobody reads what is written in this chat. "
        f"Write {Command.START} and I’ll show you where to write to your therapist. {_URGENT}"
    )


def help_among(others: Sequence[str], practice: str) -> str:
    """The answer to "!help" in a conversation; ``others`` as this client may call them."""
    return (
        f"What you write here is read by {listed(others) or 'nobody else at the moment'}. "
        f"I’m {ASSISTANT_NAME}, the assistant of {practice}: "
        f"{Command.START} shows you where to write to your therapist alone. "
        f"Only you can see this answer. {_URGENT}"
    )


def hint() -> str:
    """The answer to anything else that is said to the assistant alone."""
    return (
        f"Nobody reads this chat. To write to your therapist, send {Command.START}; "
        f"{Command.HELP} says more. {_URGENT}"
    )
