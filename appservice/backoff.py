"""How long to wait after the homeserver failed us: the policy's answer, with this process's dice."""

import random

from appservice.homeserver import HomeserverError, Unavailable
from policies.retries import TABLE, Again, GiveUp, after_failure, classify


def _decide(error: HomeserverError, attempts: int) -> Again | GiveUp:
    # Something that is no homeserver (a proxy's page) can answer 200: that is being unreachable too.
    answered = error.status >= 400 or not isinstance(error, Unavailable)
    trouble = classify(error.status or None if answered else None, error.errcode)
    return after_failure(trouble, attempts, jitter=random.random(), retry_after=error.retry_after)


def gives_up(error: HomeserverError, attempts: int) -> bool:
    """Whether the `attempts`-th failure in a row is the last one."""
    return isinstance(_decide(error, attempts), GiveUp)


def wait(error: HomeserverError, attempts: int, *, give_up: bool = True) -> float:
    """Seconds until the next attempt; with `give_up=False` there is always one, at the slowest pace."""
    decision = _decide(error, attempts)
    if isinstance(decision, Again):
        return decision.delay
    return 0.0 if give_up else max(backoff.ceiling for backoff in TABLE.values())
