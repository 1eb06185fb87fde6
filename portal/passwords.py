"""Staff passwords: argon2id, off the event loop, a few at a time.

A hash costs 64 MiB and some 60 ms; the semaphore keeps a burst of sign-ins from taking the machine.
"""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from policies.passwords import normalised

_hasher = PasswordHasher()
_AT_ONCE = 2
_UNKNOWN = _hasher.hash("nobody has this password")
"""Checked when there is no such account, so that the answer takes as long."""


def hash_password(password: str) -> str:
    """For whoever makes accounts; blocks for some 60 ms."""
    return _hasher.hash(normalised(password))


class Passwords:
    """One per process and event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """False for a wrong password, and after as long a time where there is no hash."""
        async with self._turn:
            return await asyncio.to_thread(_verify, password_hash, password)


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        return _hasher.verify(password_hash or _UNKNOWN, normalised(password)) and password_hash is not None
    except (Argon2Error, InvalidHashError):
        return False
