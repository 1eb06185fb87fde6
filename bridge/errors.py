"""Every error that can reach a person says what happened in words, and whether trying again helps.

The docstring of an error class is the message that its reader gets; `retry` tells callers (and the
retry loops) whether the same request may succeed later without anybody changing anything.
"""

from dataclasses import dataclass
from inspect import cleandoc
from typing import Any


@dataclass(frozen=True, slots=True)
class Kept:
    """A statement for after the rollback: what stays although the error takes its transaction back."""

    sql: str
    arguments: tuple[Any, ...]


class RuhError(Exception):
    """Something went wrong on our side. It has been noted; please try again."""

    retry: bool = False
    kept: Kept | None = None

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default_message())

    @classmethod
    def default_message(cls) -> str:
        return " ".join(cleandoc(cls.__doc__ or RuhError.__doc__ or "").split())

    @property
    def message(self) -> str:
        return str(self.args[0])


class SettingsError(RuhError):
    """A setting is missing or malformed."""


class PersonUnknown(RuhError):
    """There is nobody under this id."""


class GroupUnknown(RuhError):
    """There is no group under this id."""


class PlatformIdTaken(RuhError):
    """This platform id belongs to somebody else already."""


class AddressTaken(RuhError):
    """Somebody else signs in with this e-mail address already. Use another one."""


class SealBroken(RuhError):
    """Something that is kept sealed could not be opened. It has been noted for the operator."""


class NotFound(RuhError):
    """There is no such conversation, or it isn't yours."""


class NotAllowed(RuhError):
    """That isn't possible here."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Invalid(RuhError):
    """That can't be sent like this."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class BookingConflict(RuhError):
    """This booking id was reported before, with another client or therapist."""


class LinkExpired(RuhError):
    """This link is too old. Ask for a new one; it takes a moment."""


class LinkUsed(RuhError):
    """This link has been used already. If that wasn't you, tell us at once."""


class LinkUnknown(RuhError):
    """This link isn't one of ours, or a newer one has taken its place."""
