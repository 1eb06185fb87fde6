"""A process that dies is started again, after a pause that grows while it keeps dying; all end with us.

They are started in order, each once the one before is ready, and stopped the other way round.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from bridge.errors import RuhError
from ruh.local.process import Program, log_tail, open_log, popen_options

FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0  # seconds of life after which a death counts as the first again


class StartFailed(RuhError):
    """A process could not be started."""


@dataclass(frozen=True)
class Service:
    """A program, what must be done before each start of it, and how it is known to be ready."""

    program: Program
    ready: Callable[[], Awaitable[None]]
    prepare: Callable[[], object] = lambda: None


class Supervisor:
    def __init__(self, say: Callable[[str], None], first_pause: float = FIRST_PAUSE) -> None:
        self._say = say
        self._first_pause = first_pause
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._services: list[Service] = []
        self._starting: set[asyncio.Task[asyncio.subprocess.Process]] = set()
        self._watchers: list[asyncio.Task[None]] = []

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    async def start(self, service: Service) -> None:
        """Returns when it is ready; raises StartFailed with the end of its log when it ends before."""
        self._services.append(service)
        began = time.monotonic()
        process = await self._spawn(service)
        ready = asyncio.ensure_future(service.ready())
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                words = f"{service.program.name} ended ({_how(process)}) before it was ready."
                raise StartFailed("\n".join(filter(None, (words, log_tail(service.program)))))
            ready.result()
        finally:
            ready.cancel()
            ended.cancel()
        self._say(f"{service.program.name} is ready ({time.monotonic() - began:.1f} s)")
        self._watchers.append(asyncio.create_task(self._watch(service, time.monotonic())))

    async def stop(self) -> None:
        """End all, last started first. Nothing is left when this returns."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, *self._starting, return_exceptions=True)
        for service in reversed(self._services):
            process = self._processes.get(service.program.name)
            if process is not None:
                await _end(process, service.program)

    def kill(self) -> None:
        """For somebody who can't wait: what is running is killed; PostgreSQL recovers at its next start."""
        for process in self._processes.values():
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()

    async def _spawn(self, service: Service) -> asyncio.subprocess.Process:
        await asyncio.to_thread(service.prepare)
        # Shielded: a process that was started and not noted would outlive `stop`.
        starting = asyncio.create_task(self._exec(service.program))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return await asyncio.shield(starting)

    async def _exec(self, program: Program) -> asyncio.subprocess.Process:
        output = open_log(program)
        try:
            process = await asyncio.create_subprocess_exec(
                *program.argv, stdout=output, stderr=output, **popen_options(program)
            )
        except OSError as error:
            raise StartFailed(f"{program.name} can't be started: {error.strerror or error}.") from error
        finally:
            os.close(output)
        self._processes[program.name] = process
        return process

    async def _watch(self, service: Service, since: float) -> None:
        pause = self._first_pause
        name = service.program.name
        while True:
            process = self._processes[name]
            await process.wait()
            if time.monotonic() - since > STEADY_AFTER:
                pause = self._first_pause
            self._say(f"{name} ended ({_how(process)}); starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            since = time.monotonic()
            try:
                await self._spawn(service)
            except (RuhError, OSError) as error:
                self._say(str(error))


def _how(process: asyncio.subprocess.Process) -> str:
    code = process.returncode
    if code is None:
        return "no exit code"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"exit code {code}"


async def _end(process: asyncio.subprocess.Process, program: Program) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.send_signal(program.stop_signal)
    try:
        await asyncio.wait_for(process.wait(), program.stop_within)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
