"""Who is signed in to the portal, and who tried too often. A dump of these tables lets nobody in.

The cookie's token is kept as a hash; a session ends after `idle` without a request. Failures are counted
per account and per address, in the database, so that every portal process counts the same.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge import directory
from bridge.database import Transaction
from bridge.sealing import Keyring, standing_key
from policies.vocabulary import Person, PersonId

WINDOW = timedelta(minutes=15)
LIMITS: Mapping[str, int] = {"account": 5, "address": 30}
"""Failures within the window after which the next attempt has to wait. A practice shares one address."""

_TOUCH = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Session:
    person_id: PersonId
    csrf: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """An account and an address that try to sign in, as keyed hashes."""

    account: bytes
    address: bytes


async def begin(tx: Transaction, person: PersonId, at: datetime) -> str:
    """A new session; returns the token for the cookie, which is kept nowhere else."""
    token = secrets.token_urlsafe(32)
    await tx.execute(
        "INSERT INTO portal_session (token_hash, person_id, csrf, created_at, last_seen_at)"
        " VALUES ($1, $2, $3, $4, $4)",
        _hashed(token), person, secrets.token_urlsafe(24), at,
    )  # fmt: skip
    return token


async def find(
    tx: Transaction, keyring: Keyring, token: str, *, at: datetime, idle: timedelta, touch: bool = True
) -> tuple[Session, Person] | None:
    """Whose session this token's is, unless it ended; `touch`: somebody is there, so it goes on.

    Staff who were archived are signed out by it. One statement, for every request asks it; another, once a
    minute, writes that they are there.
    """
    row = await tx.fetchrow(
        f"SELECT s.csrf, s.last_seen_at, {directory.COLUMNS}"
        " FROM portal_session s JOIN person p ON p.id = s.person_id"
        " WHERE s.token_hash = $1 AND s.last_seen_at > $2 AND p.status = 'active' AND p.role <> 'client'",
        _hashed(token), at - idle,
    )  # fmt: skip
    if row is None:
        return None
    if touch and row["last_seen_at"] < at - _TOUCH:
        await tx.execute(
            "UPDATE portal_session SET last_seen_at = $2 WHERE token_hash = $1", _hashed(token), at
        )
    person = directory.to_person(keyring, row)
    return Session(person.id, row["csrf"]), person


async def end(tx: Transaction, token: str) -> None:
    await tx.execute("DELETE FROM portal_session WHERE token_hash = $1", _hashed(token))


async def end_all(tx: Transaction, person: PersonId) -> None:
    """Signed out everywhere: their password is another one now."""
    await tx.execute("DELETE FROM portal_session WHERE person_id = $1", person)


async def end_idle(tx: Transaction, at: datetime, idle: timedelta) -> None:
    """Forget what has ended: sessions, and attempts that count no more."""
    await tx.execute("DELETE FROM portal_session WHERE last_seen_at <= $1", at - idle)
    await tx.execute("DELETE FROM sign_in_attempt WHERE at <= $1", at - WINDOW)


async def attempt_of(tx: Transaction, keyring: Keyring, email: str, address: str) -> Attempt:
    key = await standing_key(tx, keyring, "directory")
    return Attempt(key.lookup("attempt account", email), key.lookup("attempt address", address))


async def wait(tx: Transaction, attempt: Attempt, at: datetime) -> timedelta | None:
    """How long until the next attempt is looked at; None: now.

    Holds an advisory lock on the account to the end of the transaction, so that parallel guesses queue up.
    """
    await tx.execute(
        "SELECT pg_advisory_xact_lock($1)", int.from_bytes(attempt.account[:8], "big", signed=True)
    )
    longest = None
    for subject, limit in ((attempt.account, LIMITS["account"]), (attempt.address, LIMITS["address"])):
        counts_until = await tx.fetchval(
            "SELECT at FROM sign_in_attempt WHERE subject = $1 AND at > $2 ORDER BY at DESC OFFSET"
            " $3 LIMIT 1",
            subject, at - WINDOW, limit - 1,
        )  # fmt: skip
        if counts_until is not None:
            longest = max(longest or timedelta(), counts_until + WINDOW - at)
    return longest


async def note(tx: Transaction, attempt: Attempt, at: datetime) -> None:
    """Counts an attempt before its password is looked at: whoever hangs up has tried all the same."""
    await tx.executemany(
        "INSERT INTO sign_in_attempt (subject, at) VALUES ($1, $2)",
        [(attempt.account, at), (attempt.address, at)],
    )


async def succeeded(tx: Transaction, attempt: Attempt, at: datetime) -> None:
    """The right password: the account's failures are forgotten, and this attempt wasn't one."""
    await tx.execute("DELETE FROM sign_in_attempt WHERE subject = $1", attempt.account)
    await tx.execute("DELETE FROM sign_in_attempt WHERE subject = $1 AND at = $2", attempt.address, at)


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
