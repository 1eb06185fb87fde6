"""One process a shard: an advisory lock that PostgreSQL takes back when its holder is gone.

The lock keeps a second process waiting; the shard's epoch (`bridge.shards`) stops one that lost the lock
without noticing.
"""

import asyncio
from types import TracebackType
from typing import Self

import structlog

from bridge.database import UNREACHABLE, connect

log = structlog.get_logger()
LOCK_SPACE = 0x52756800  # "Ruh": the shard is added to it
RETRY = 1.0  # seconds


class Lease:
    """Entered once the shard is ours; `lost` is set when it may not be any more."""

    def __init__(self, database_url: str, shard: int) -> None:
        self._url = database_url
        self._shard = shard
        self.lost = asyncio.Event()

    async def __aenter__(self) -> Self:
        said = False
        while True:
            try:
                connection = await connect(self._url)
            except UNREACHABLE as error:
                log.warning("database_unreachable", error=type(error).__name__)
                await asyncio.sleep(RETRY)
                continue
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_SPACE + self._shard):
                connection.add_termination_listener(lambda _: self.lost.set())
                self._connection = connection
                return self
            await connection.close()
            if not said:
                log.info("shard_taken", shard=self._shard)
                said = True
            await asyncio.sleep(RETRY)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._connection.is_closed():
            await self._connection.close(timeout=2)
