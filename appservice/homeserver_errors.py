"""What can go wrong between us and the homeserver; every failure is one of three kinds.

The kind alone decides what a caller does: wait and try again, wait as long as told, or give up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from bridge.errors import RuhError


class HomeserverError(RuhError):
    """The homeserver did not do what we asked."""

    retry = False

    def __init__(
        self, status: int, errcode: str, detail: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{errcode} ({status}) {detail}".rstrip())
        self.status = status
        self.errcode = errcode
        self.retry_after = retry_after


class Unavailable(HomeserverError):
    """The homeserver cannot be reached at the moment; trying again helps."""

    retry = True


class RateLimited(HomeserverError):
    """The homeserver asks us to slow down; trying again after `retry_after` seconds helps."""

    retry = True


class Refused(HomeserverError):
    """The homeserver refused; trying the same again does not help."""


def from_answer(status: int, body: bytes, headers: Mapping[str, str]) -> HomeserverError:
    """The error for an answer that is not a success. `error` texts stay out: they can quote what we sent."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    errcode = answer.get("errcode")
    if not isinstance(errcode, str):
        errcode = "M_UNKNOWN"
    if status == 429 or errcode == "M_LIMIT_EXCEEDED":
        return RateLimited(status, errcode, retry_after=_retry_after(answer, headers))
    if status >= 500 or status == 408:
        return Unavailable(status, errcode)
    return Refused(status, errcode)


def _retry_after(answer: Mapping[str, object], headers: Mapping[str, str]) -> float:
    """Seconds to wait: the header since Matrix 1.10, `retry_after_ms` before; 1 s when neither says."""
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        pass
    milliseconds = answer.get("retry_after_ms")
    if isinstance(milliseconds, (int, float)) and not isinstance(milliseconds, bool):
        return max(0.0, milliseconds / 1000)
    return 1.0
