"""What a piece of work took: seconds, the homeserver's new events, CPU of both sides.

The events are counted in the homeserver's own database, so that both sides of a row are seen to do the same.
"""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from tests.bench.cost import cpu_ms

T = TypeVar("T")


@dataclass
class Measure:
    seconds: float = 0.0
    events: int = 0
    our_cpu_ms: float = 0.0
    synapse_cpu_ms: float = 0.0


@dataclass(frozen=True)
class Compared:
    """One row: the homeserver by itself, and the same through Ruh. `load`: the machine's, with all this."""

    name: str
    raw: Measure
    ours: Measure
    load: float

    @property
    def ratio(self) -> float:
        """Our rate over the raw one, both for the raw side's number of events."""
        return self.raw.seconds / self.ours.seconds


class Meter:
    def __init__(self, events: "asyncpg.Connection[asyncpg.Record]", our_pid: int, synapse_pid: int) -> None:
        self._events, self._ours, self._synapse = events, our_pid, synapse_pid

    @asynccontextmanager
    async def onto(self, measure: Measure) -> AsyncIterator[None]:
        """Adds what happens in the block."""
        events = await self._count()
        ours, synapse, start = cpu_ms(self._ours), cpu_ms(self._synapse), time.perf_counter()
        yield
        measure.seconds += time.perf_counter() - start
        measure.our_cpu_ms += cpu_ms(self._ours) - ours
        measure.synapse_cpu_ms += cpu_ms(self._synapse) - synapse
        measure.events += await self._count() - events

    async def _count(self) -> int:
        return int(await self._events.fetchval("SELECT count(*) FROM events"))

    async def in_turns(
        self,
        name: str,
        everything: Sequence[T],
        raw: Callable[[Sequence[T]], Awaitable[None]],
        ours: Callable[[], Awaitable[None]],
    ) -> Compared:
        """Half of the raw side, ours, the other half: what the machine does besides meets both."""
        before, through = Measure(), Measure()
        half = (len(everything) + 1) // 2
        async with self.onto(before):
            await raw(everything[:half])
        async with self.onto(through):
            await ours()
        async with self.onto(before):
            await raw(everything[half:])
        return Compared(name, before, through, os.getloadavg()[0])
