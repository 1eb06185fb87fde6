"""What an operator does now and then: migrate the database, put data keys under a new master key."""

from contextlib import suppress

import asyncpg

from bridge.config import CommonSettings
from bridge.database import apply_migrations, open_pool, transaction
from bridge.errors import RuhError, SealBroken
from bridge.sealing import Keyring, rotate


class DatabaseUnreachable(RuhError):
    """The database can't be reached; check RUH_DATABASE_URL and that it is running."""

    retry = True


class KeyMissing(RuhError):
    """A data key opens with none of the master keys; add the one before to RUH_PREVIOUS_MASTER_KEYS."""


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


async def rotate_key(settings: CommonSettings) -> int:
    """Old data keys, new master key: what is sealed stays as it is, so this is quick at any size."""
    keyring = Keyring(settings.master_key_bytes, settings.previous_master_key_bytes)
    try:
        pool = await open_pool(settings.database_url, size=1)
    except UNREACHABLE as error:
        raise DatabaseUnreachable from error
    try:
        async with transaction(pool) as tx:
            moved = await rotate(tx, keyring)
    except SealBroken as error:
        raise KeyMissing from error
    finally:
        with suppress(asyncpg.PostgresError):
            await pool.close()
    print(f"{moved} data keys are now under the master key in force; the previous ones may be taken away.")
    return 0
