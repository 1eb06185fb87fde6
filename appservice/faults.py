"""Places where a test may kill the process, to show that a crash there loses nothing.

`RUH_FAULT=deliver.sent` ends the process the first time it comes to that place, `deliver.sent:3` the third.
"""

import os
import signal

_name, _, _count = os.environ.get("RUH_FAULT", "").partition(":")
_left = int(_count or 1)

POINTS = (
    "deliver.loaded",
    "deliver.shared",
    "deliver.encrypted",
    "deliver.prepared",
    "deliver.sent",
    "deliver.recorded",
    "sync.received",
    "sync.keys",
    "sync.decrypted",
    "sync.posted",
    "sync.committed",
    "share.stored",
    "share.sent",
    "keys.saved",
    "leg.created",
    "leg.stored",
    "leg.seated",
    "leg.invited",
    "lobby.opened",
    "lobby.joined",
    "blast.recipient",
    "revoke.counted",
    "revoke.redacted",
    "revoke.kicked",
    "revoke.media",
    "revoke.purging",
    "revoke.purged",
    "revoke.vacated",
)


def point(name: str) -> None:
    """Die here, if a test asked for it."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
