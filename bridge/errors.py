"""Every error that can reach a person says what happened in words, and whether trying again helps.

The docstring of an error class is the message that its reader gets; `retry` tells callers (and the
retry loops) whether the same request may succeed later without anybody changing anything.
"""

from inspect import cleandoc


class RuhError(Exception):
    """Something went wrong on our side. It has been noted; please try again."""

    retry: bool = False

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


class SealBroken(RuhError):
    """This can't be opened: it was erased, changed, or sealed under a key that isn't here."""


class PersonUnknown(RuhError):
    """There is nobody under this id."""


class PlatformIdTaken(RuhError):
    """This platform id belongs to somebody else already."""


class AddressTaken(RuhError):
    """Somebody else signs in with this e-mail address already. Use another one."""
