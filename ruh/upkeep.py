"""What an operator does now and then: migrate the database, change the master key, verify the audit trail,
and, after an older database was put back, what must be done before anything is sent again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from appservice.lease import LOCK_SPACE
from bridge import audit
from bridge.audit import Fault
from bridge.config import CommonSettings
from bridge.database import Transaction, apply_migrations, open_pool, transaction
from bridge.errors import RuhError, SealBroken
from bridge.sealing import Keyring, rotate


class DatabaseUnreachable(RuhError):
    """The database can't be reached; check RUH_DATABASE_URL and that it is running."""

    retry = True


class KeyMissing(RuhError):
    """A data key opens with none of the master keys; add the one before to RUH_PREVIOUS_MASTER_KEYS."""


class StillRunning(RuhError):
    """`ruh appservice` is at work with this database. Stop it first, and start it afterwards."""


UNREACHABLE = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InvalidPasswordError,
               asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError,
               asyncpg.ClientConfigurationError)  # fmt: skip


async def migrate(settings: CommonSettings) -> int:
    try:
        await apply_migrations(settings.database_url)
    except UNREACHABLE as error:
        raise DatabaseUnreachable from error
    print("The database is at this version.")
    return 0


@asynccontextmanager
async def _database(settings: CommonSettings) -> AsyncIterator[tuple[Transaction, Keyring]]:
    """One transaction, and the keys. Raises DatabaseUnreachable, KeyMissing."""
    keyring = Keyring(settings.master_key_bytes, settings.previous_master_key_bytes)
    try:
        pool = await open_pool(settings.database_url, size=1)
    except UNREACHABLE as error:
        raise DatabaseUnreachable from error
    try:
        async with transaction(pool) as tx:
            yield tx, keyring
    except SealBroken as error:
        raise KeyMissing from error
    finally:
        with suppress(asyncpg.PostgresError):
            await pool.close()


async def rotate_key(settings: CommonSettings) -> int:
    """Old data keys, new master key: what is sealed stays as it is, so this is quick at any size."""
    async with _database(settings) as (tx, keyring):
        moved = await rotate(tx, keyring)
    print(f"{moved} data keys are now under the master key in force; the previous ones may be taken away.")
    return 0


# A ratchet that has turned back would encrypt a second message with a key that was used since (with what was
# shared of it); links and sessions that have ended since would open again.
_NOT_FROM_A_BACKUP = {
    "megolm_outbound": "sessions to rooms",
    "olm_session": "sessions to devices",
    "activation WHERE used_at IS NULL": "activation links",
    "portal_session": "sign-ins",
}


async def restored(settings: CommonSettings) -> int:
    """An older state of the database was put back: what must not go on from there is begun anew."""
    async with _database(settings) as (tx, _):
        if not await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK_SPACE):
            raise StillRunning
        gone = {what: await tx.execute(f"DELETE FROM {rows}") for rows, what in _NOT_FROM_A_BACKUP.items()}
    counts = ", ".join(f"{done.rpartition(' ')[2]} {what}" for what, done in gone.items())
    print(f"Taken out, to be made anew when needed: {counts}.")
    print("Whoever had no password yet needs a new activation link. The appservice may start now.")
    return 0


_FAULTS = {
    Fault.MISSING: "rows were taken out.",
    Fault.ALTERED: "its row is not what was linked.",
    Fault.BACKDATED: "its row is dated more than an hour before the ones before it; it was put in later.",
    Fault.NOT_AS_NOTED: "it holds, but it isn't the link that was noted; the chain has been made anew.",
}


async def verify_audit(settings: CommonSettings, noted: tuple[int, str] | None) -> int:
    """1 at the first link that doesn't hold."""
    async with _database(settings) as (tx, keyring):
        found = await audit.verify(tx, keyring, noted)
    print(f"{found.held} links of the audit trail hold; {found.unlinked} rows are waiting for theirs.")
    if found.fault is not None:
        print(f"Link {found.held + 1} doesn't: {_FAULTS[found.fault]}")
        return 1
    if found.head is not None:
        print(f"The last is {found.head}. Keep it elsewhere, for `ruh audit verify --noted {found.head}`.")
    return 0
