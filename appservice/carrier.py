"""Many legs at a time, each leg by one task: woken by the feed, swept every few seconds."""

import asyncio
from collections.abc import Collection
from uuid import UUID

import structlog

from appservice.context import Context
from appservice.deliver import carry
from bridge import outbox
from bridge.database import UNREACHABLE
from policies.vocabulary import LegId

log = structlog.get_logger()


class Carrier:
    """At most `at_once` legs are carried at the same time."""

    def __init__(self, context: Context, *, at_once: int = 12, sweep_seconds: float = 3) -> None:
        self._context = context
        self._gate = asyncio.Semaphore(at_once)
        self._sweep = sweep_seconds
        self._conversations: set[UUID] = set()
        self._legs: set[LegId] = set()
        self._everything = True
        self._woken = asyncio.Event()
        self._busy: dict[LegId, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, conversation: UUID | None, legs: Collection[LegId] | None = None) -> None:
        """Something is to be carried: to these legs, else in this conversation, or (None) anywhere."""
        if conversation is None:
            self._everything = True
        elif legs is not None:
            self._legs.update(legs)
            if not self._legs:
                return
        else:
            self._conversations.add(conversation)
        self._woken.set()

    async def run(self) -> None:
        sweep_at = 0.0
        while True:
            try:
                async with asyncio.timeout_at(sweep_at):
                    await self._woken.wait()
            except TimeoutError:
                self._everything = True
                sweep_at = asyncio.get_running_loop().time() + self._sweep
            self._woken.clear()
            legs, self._legs = self._legs, set()
            for leg in legs:
                self._start(leg)
            if not self._everything and not self._conversations:
                continue
            which = None if self._everything else self._conversations
            self._everything, self._conversations = False, set()
            try:
                async with self._context.pool.acquire() as connection:
                    due = await outbox.legs_due(connection, which)
            except UNREACHABLE as error:
                log.warning("database_unreachable", work="carrier", error=type(error).__name__)
                await asyncio.sleep(self._sweep)
                self.wake(None)
                continue
            for leg in due:
                self._start(leg)

    def _start(self, leg: LegId) -> None:
        if leg in self._busy:
            self._busy[leg] = True  # more came while it was at work: it looks once more before it ends
            return
        self._busy[leg] = False
        task = asyncio.create_task(self._work(leg))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, leg: LegId) -> None:
        try:
            async with self._gate:
                while await self._alone(leg) or self._busy[leg]:
                    self._busy[leg] = False
        except Exception as error:
            # The database is away, or a mistake of ours: the sweep comes back to this leg, the others go on.
            log.error("leg_failed", leg=str(leg), error=type(error).__name__)
        finally:
            del self._busy[leg]

    async def _alone(self, leg: LegId) -> bool:
        """Never beside `revoke`: what it has taken out of a room is all that went in."""
        async with self._context.lock_of(leg):
            return await carry(self._context, leg)
