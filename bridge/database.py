"""One pool a process, one transaction a use case; no network call inside an open transaction."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pogo_core.util import migrate

from bridge.errors import RuhError

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Transaction: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""A connection with an open transaction: what every use case takes."""

TAKEN_BACK: tuple[type[Exception], ...] = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Two waited for each other and the database took this one back: done again, it gets through."""

UNREACHABLE: tuple[type[Exception], ...] = (
    OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.InterfaceError, *TAKEN_BACK,
)  # fmt: skip
"""The database is away, was for a moment, or had to choose one of two: nothing has happened, the same may
be done again."""

MIGRATIONS = Path(__file__).parent / "migrations"


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # the class is generic to mypy only
    """Nothing of ours outlives its transaction (no session settings, cursors or locks), so that giving a
    connection back to the pool needs no round trip to clean it."""

    def get_reset_query(self) -> str:
        return ""


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def open_pool(url: str, *, size: int = 10) -> Pool:
    """A pool of at most `size` connections. Commands end after 30 s: nothing here needs longer."""
    return await asyncpg.create_pool(
        url, min_size=1, max_size=size, init=_prepare, command_timeout=30, timeout=10,
        max_inactive_connection_lifetime=300, connection_class=_Connection,
    )  # fmt: skip


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection of its own, for LISTEN and for leases; the caller closes it."""
    connection = await asyncpg.connect(url, timeout=10, command_timeout=30)
    await _prepare(connection)
    return connection


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Transaction]:
    """Commits at the end of the block; any exception takes everything back, but for what it says is kept."""
    try:
        async with pool.acquire() as connection, connection.transaction():
            yield connection
    except RuhError as error:
        if (kept := error.kept) is not None:
            await pool.execute(kept.sql, *kept.arguments)
        raise


async def apply_migrations(url: str) -> None:
    """Bring the schema to this version; a second process waits for the first."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtext('ruh migrations'))")
        await migrate.apply(connection, MIGRATIONS, schema_name="public")
    finally:
        await connection.close()
