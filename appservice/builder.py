"""Many legs at a time, each made by one task: woken by the feed, looked for every few seconds.

One that hangs or fails holds nobody else up; a thread that a booking made goes before a blast's.
"""

import asyncio

import structlog

from appservice import legs
from appservice.context import Context
from bridge.database import UNREACHABLE, transaction
from bridge.legs import Leg, due

log = structlog.get_logger()

SWEEP = 3.0  # seconds
PAUSE = 1.0  # seconds, while the database is away


class Builder:
    """At most `at_once` legs are made or changed at the same time."""

    def __init__(self, context: Context, woken: asyncio.Event, *, at_once: int = legs.AT_ONCE) -> None:
        self._context, self._woken, self._at_once = context, woken, at_once
        self._at_work = context.building

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._woken.clear()
                for leg in await self._due():
                    self._at_work.add(leg.id)
                    tasks.create_task(self._work(leg))
                try:
                    async with asyncio.timeout(SWEEP):
                        await self._woken.wait()
                except TimeoutError:
                    pass

    async def _due(self) -> list[Leg]:
        free = self._at_once - len(self._at_work)
        if free == 0:
            return []  # whoever ends wakes us
        try:
            async with transaction(self._context.pool) as tx:
                return await due(tx, free, besides=self._at_work)
        except UNREACHABLE as error:
            log.warning("database_unreachable", work="builder", error=type(error).__name__)
            return []

    async def _work(self, leg: Leg) -> None:
        try:
            await legs.attempt(self._context, leg)
        except UNREACHABLE as error:
            log.warning("database_unreachable", work="builder", error=type(error).__name__)
            await asyncio.sleep(PAUSE)
        finally:
            self._at_work.discard(leg.id)
            self._woken.set()
