"""Clients' accounts come to the homeserver as the bridge wants them: made, then with the client's password.

Claimed, then done, then finished: a crash between any two leaves the account due again, and doing it twice
is as good as once. No display name is given: the account says nothing about who it is for (P2).
"""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta

import asyncpg
import structlog

from appservice.homeserver import Homeserver, HomeserverError
from bridge import accounts
from bridge.accounts import DueAccount
from bridge.database import Pool, transaction
from bridge.errors import SealBroken
from bridge.sealing import Keyring
from policies import retries
from policies.retries import Trouble

POLL = 30.0
"""Seconds after which we look without having been woken: a notification may have been missed."""

AFTER_REFUSAL = 600.0
"""Seconds. A refusal needs somebody to act; then it works without their having to tell us."""

log = structlog.get_logger()


async def bring_accounts(
    pool: Pool, keyring: Keyring, homeserver: Homeserver, *, woken: asyncio.Event, poll: float = POLL
) -> None:
    """For ever: bring what is due, then wait for `woken`, for the next one that is due, or `poll` seconds.

    Whoever reads the feed sets `woken` on `Change.ACCOUNT` and `Change.REWAKE`.
    """
    while True:
        woken.clear()
        try:
            pause = await bring_due(pool, keyring, homeserver)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("accounts_interrupted", error=type(error).__name__)
            pause = 2.0
        await _wait(woken, poll if pause is None else min(poll, pause))


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()


async def bring_due(pool: Pool, keyring: Keyring, homeserver: Homeserver) -> float | None:
    """Bring accounts until none is due or the homeserver has trouble with all of them; the seconds until
    it is worth looking again, None when nothing waits.

    One after the other: a password costs the homeserver 0.2 s of CPU, which messages need more.
    """
    while True:
        async with transaction(pool) as tx:
            claimed = await accounts.claim_due(tx, 1)
            if not claimed:
                due_in = await accounts.seconds_until_due(tx)
                # 0: somebody else holds the row at this moment.
                return None if due_in is None else max(due_in, 0.1)
        try:
            await _bring(pool, keyring, homeserver, claimed[0])
        except HomeserverError as error:
            trouble = retries.classify(error.status or None, error.errcode)
            pause = _pause(error, trouble, claimed[0].attempts)
            await _postpone(pool, claimed[0], error.errcode, pause)
            if trouble not in _ONLY_THIS_ONE:
                return pause


async def _bring(pool: Pool, keyring: Keyring, homeserver: Homeserver, due: DueAccount) -> None:
    try:
        async with transaction(pool) as tx:
            password = await accounts.open_password(tx, keyring, due)
    except SealBroken:
        await _postpone(pool, due, "RUH_SEAL_BROKEN", AFTER_REFUSAL)
        return
    await homeserver.create_account(due.user_id, password)
    async with transaction(pool) as tx:
        await accounts.finish(tx, due)
    log.info("account_brought", person=str(due.person_id), password=password is not None)


async def _postpone(pool: Pool, due: DueAccount, code: str, pause: float) -> None:
    async with transaction(pool) as tx:
        await accounts.postpone(tx, due, code, timedelta(seconds=pause))
    log.warning(
        "account_postponed",
        person=str(due.person_id),
        error=code,
        attempts=due.attempts,
        pause=round(pause, 1),
    )


# What is wrong with this account alone; anything else would meet the next one too.
_ONLY_THIS_ONE = (Trouble.REFUSED, Trouble.INVALID)


def _pause(error: HomeserverError, trouble: Trouble, attempts: int) -> float:
    decided = retries.after_failure(trouble, attempts, jitter=random.random(), retry_after=error.retry_after)
    return AFTER_REFUSAL if isinstance(decided, retries.GiveUp) else decided.delay
