"""A client's Matrix account is wanted here and made by the appservice, which alone talks to the homeserver.

A password passes through sealed and is forgotten once the homeserver has it; the row never says more
of a failure than its code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bridge import audit
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import PersonUnknown
from bridge.feed import Change, Notification, notify
from bridge.sealing import Keyring, standing_key
from policies.vocabulary import MatrixUserId, PersonId

LEASE = timedelta(minutes=2)
"""Longer than a homeserver call can take: an account that was claimed and not finished is due again then."""

_IN_FLIGHT = "attempts > 0 AND error IS NULL AND next_attempt_at > now()"


class AccountState(StrEnum):
    WANTED = "wanted"
    MADE = "made"
    DEACTIVATED = "deactivated"


@dataclass(frozen=True, slots=True)
class Account:
    """`ready`: it can be signed in to with the password that was asked for last."""

    user_id: MatrixUserId
    state: AccountState
    password_set_at: datetime | None
    password_on_its_way: bool
    attempts: int
    error: str | None

    @property
    def ready(self) -> bool:
        return (
            self.state is AccountState.MADE
            and self.password_set_at is not None
            and not self.password_on_its_way
        )


@dataclass(frozen=True, slots=True)
class DueAccount:
    """One that the appservice has claimed; `attempts` counts this one."""

    person_id: PersonId
    user_id: MatrixUserId
    made: bool
    password_sealed: bytes | None
    attempts: int


async def find(tx: Transaction, person_id: PersonId) -> Account | None:
    """None for staff, who have no account of their own."""
    return (await find_many(tx, [person_id])).get(person_id)


async def find_many(tx: Transaction, ids: Sequence[PersonId]) -> dict[PersonId, Account]:
    rows = await tx.fetch(
        """SELECT person_id, user_id, state, password_set_at, password_sealed IS NOT NULL AS on_its_way,
                  attempts, error
           FROM account WHERE person_id = ANY($1)""",
        list(ids),
    )
    return {
        PersonId(row["person_id"]): Account(
            MatrixUserId(row["user_id"]), AccountState(row["state"]), row["password_set_at"],
            row["on_its_way"], row["attempts"], row["error"],
        )
        for row in rows
    }  # fmt: skip


async def request_password(tx: Transaction, keyring: Keyring, person_id: PersonId, password: str) -> None:
    """Give a client this password on the homeserver, as soon as the appservice gets to it.

    For staff, who sign in to the portal, see `bridge.people.set_password_hash`. Raises PersonUnknown.
    """
    key = await standing_key(tx, keyring, "directory")
    done = await tx.execute(
        # While one is on its way this one waits for it, lest the older arrive after the newer.
        f"""UPDATE account SET password_sealed = $2, error = NULL,
               attempts = CASE WHEN {_IN_FLIGHT} THEN attempts ELSE 0 END,
               next_attempt_at = CASE WHEN {_IN_FLIGHT} THEN next_attempt_at ELSE now() END
           WHERE person_id = $1 AND state <> 'deactivated'""",
        person_id, key.seal(password.encode(), _context(person_id)),
    )  # fmt: skip
    if done == "UPDATE 0":
        raise PersonUnknown
    await audit.record(tx, Did.PERSON_CHANGED, subject=person_id, changed="password")
    await notify(tx, Notification(Change.ACCOUNT, person=person_id))


async def claim_due(tx: Transaction, limit: int) -> list[DueAccount]:
    """Take accounts to bring to the homeserver; nobody else gets them for the length of the lease."""
    rows = await tx.fetch(
        """UPDATE account SET attempts = attempts + 1, next_attempt_at = now() + $2
           WHERE person_id IN (
               SELECT person_id FROM account
               WHERE (state = 'wanted' OR password_sealed IS NOT NULL) AND state <> 'deactivated'
                 AND next_attempt_at <= now()
               ORDER BY password_sealed IS NULL, next_attempt_at
               LIMIT $1 FOR UPDATE SKIP LOCKED)
           RETURNING person_id, user_id, state, password_sealed, attempts""",
        limit, LEASE,
    )  # fmt: skip
    return [
        DueAccount(
            PersonId(row["person_id"]), MatrixUserId(row["user_id"]), row["state"] == "made",
            row["password_sealed"], row["attempts"],
        )
        for row in rows
    ]  # fmt: skip


async def open_password(tx: Transaction, keyring: Keyring, due: DueAccount) -> str | None:
    if due.password_sealed is None:
        return None
    key = await standing_key(tx, keyring, "directory")
    return key.open(due.password_sealed, _context(due.person_id)).decode()


async def finish(tx: Transaction, due: DueAccount) -> None:
    """The homeserver has the account and the password that was claimed. A newer password stays due."""
    await tx.execute(
        """UPDATE account SET
               state = CASE state WHEN 'wanted' THEN 'made' ELSE state END,
               password_set_at = CASE WHEN $2::bytea IS NULL THEN password_set_at ELSE now() END,
               password_sealed = CASE WHEN password_sealed = $2 THEN NULL ELSE password_sealed END,
               attempts = 0, next_attempt_at = now(), error = NULL
           WHERE person_id = $1""",
        due.person_id, due.password_sealed,
    )  # fmt: skip
    await notify(tx, Notification(Change.ACCOUNT, person=due.person_id))


async def postpone(tx: Transaction, due: DueAccount, error: str, pause: timedelta) -> None:
    """It didn't work; `error` is a code. A password that was asked for meanwhile is due at once."""
    await tx.execute(
        """UPDATE account SET error = $3, next_attempt_at =
               CASE WHEN password_sealed IS NOT DISTINCT FROM $2 THEN now() + $4 ELSE now() END
           WHERE person_id = $1""",
        due.person_id, due.password_sealed, error, pause,
    )  # fmt: skip


async def seconds_until_due(tx: Transaction) -> float | None:
    """Until the next account is due, 0 for now; None when nothing waits."""
    seconds = await tx.fetchval(
        """SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM account
           WHERE (state = 'wanted' OR password_sealed IS NOT NULL) AND state <> 'deactivated'"""
    )
    return None if seconds is None else max(0.0, float(seconds))


def _context(person_id: PersonId) -> str:
    return f"person {person_id} password"
