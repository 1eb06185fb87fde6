"""What is tried again, when, and when we stop and say so.

Being unreachable is never a reason to give a message up: an outage ends. A refusal is: it is tried a few
times, because what refuses may be on its way to being repaired, and then the therapist is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    UNREACHABLE = "unreachable"
    """No connection, or no answer in time."""
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"
    """The homeserver won't have it: forbidden, or the room isn't there."""
    INVALID = "invalid"
    """What we sent can't be right, and won't be next time."""
    UNAUTHORISED = "unauthorised"
    """Our own token is wrong: nothing works until an operator acts, and then everything does."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of ``first * 2**n`` up to ``ceiling`` seconds; ``attempts`` None: for as long as it takes."""

    first: float
    ceiling: float
    attempts: int | None = None


TABLE: Mapping[Trouble, Backoff] = {
    # Short ceilings: after an outage of minutes a waiting message should go out within half a minute.
    Trouble.UNREACHABLE: Backoff(0.5, 30),
    Trouble.RATE_LIMITED: Backoff(1, 60),
    Trouble.SERVER_ERROR: Backoff(1, 30),
    Trouble.UNAUTHORISED: Backoff(5, 60),
    Trouble.REFUSED: Backoff(1, 60, attempts=6),
    Trouble.INVALID: Backoff(0, 0, attempts=1),
}

SAY_SO_AFTER = 20.0
"""Seconds of trying after which the portal no longer says "Sending" but that it takes longer."""


@dataclass(frozen=True, slots=True)
class Again:
    """Try again in ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop, and tell the reader these words."""

    words: str


_WORDS = {
    Trouble.INVALID: "This message could not be sent as it is. Please write it again.",
    Trouble.REFUSED: "This message could not be delivered. Please try again, or ask Client Care for help.",
}


def classify(status: int | None, errcode: str | None = None) -> Trouble:
    """From an HTTP status (None: no answer) and a Matrix error code."""
    if status is None or status == 408:
        return Trouble.UNREACHABLE
    if status == 429 or errcode == "M_LIMIT_EXCEEDED":
        return Trouble.RATE_LIMITED
    if status == 401 or errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"):
        return Trouble.UNAUTHORISED
    if status >= 500:
        # 502 and 504 are a proxy in front of a homeserver that is down.
        return Trouble.UNREACHABLE if status in (502, 503, 504) else Trouble.SERVER_ERROR
    if status in (403, 404):
        return Trouble.REFUSED
    return Trouble.INVALID


def after_failure(
    trouble: Trouble, attempts: int, *, jitter: float, retry_after: float | None = None
) -> Again | GiveUp:
    """After the ``attempts``-th failure in a row (1 or more).

    ``jitter`` is a random number of [0, 1): the wait is 50–100 % of the step, so that many workers don't
    come back together. ``retry_after`` (seconds) is what the homeserver asked for, and is kept to.
    """
    backoff = TABLE[trouble]
    if backoff.attempts is not None and attempts >= backoff.attempts:
        return GiveUp(_WORDS[trouble])
    # The exponent is bounded because 2.0 ** 1024 overflows after a long outage.
    step = min(backoff.ceiling, backoff.first * 2.0 ** min(attempts - 1, 32))
    delay = step * (0.5 + 0.5 * jitter)
    return Again(max(delay, retry_after) if retry_after is not None else delay)
