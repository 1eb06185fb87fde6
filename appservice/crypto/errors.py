"""Why an encrypted event cannot be read. `code` goes into logs and tables, never what was in the event."""

from __future__ import annotations

from bridge.errors import RuhError


class DecryptionError(RuhError):
    """A message could not be decrypted."""

    code = "undecryptable"


class MissingSession(DecryptionError):
    """The key of this message has not arrived; it may still come."""

    retry = True
    code = "missing_session"

    def __init__(self, withheld: str | None = None) -> None:
        super().__init__()
        self.withheld = withheld


class UnknownDevice(DecryptionError):
    """The key of this message came from a device that we have not seen yet; look at the sender's devices."""

    retry = True
    code = "unknown_device"


class Replayed(DecryptionError):
    """Another event carries the same encrypted message; it was sent again by somebody else."""

    code = "replayed"


class WrongSender(DecryptionError):
    """The key of this message belongs to somebody other than its sender."""

    code = "wrong_sender"


class Malformed(DecryptionError):
    """The message is not well formed."""

    code = "malformed"

    def __init__(self, detail: str = "malformed") -> None:
        super().__init__()
        self.code = detail


class OlmFailed(DecryptionError):
    """A message between devices could not be decrypted; their session needs replacing."""

    code = "olm_failed"


class Duplicate(DecryptionError):
    """A message between devices arrived a second time."""

    code = "olm_duplicate"


class ShareOutdated(RuhError):
    """The key has to be shared again before anything is encrypted with it."""

    retry = True
