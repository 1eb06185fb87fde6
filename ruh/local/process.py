"""A process that we start never outlives us: it stops when asked, and the kernel ends it if we are killed.

A child stands in a session of its own, so that a terminal's Ctrl-C reaches only us and we end the
children in order.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
ROOT = Path(__file__).resolve().parents[2]
LONGEST_LOG = 10_000_000  # bytes; a longer one is put aside at the next start


@dataclass(frozen=True)
class Program:
    """What to run, and how it likes to be asked to stop."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str | None] = field(default_factory=dict)  # None: not handed on
    log: Path | None = None  # None: our standard error
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGTERM  # what the kernel sends it when we are gone
    stop_within: float = 15.0  # seconds, then it is killed


def _end_with_parent(parent: int, how: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(how))
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)

    return before_exec


def _python_path() -> str:
    """Ours first, so that a child finds these sources also where they aren't installed."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def popen_options(program: Program) -> dict[str, Any]:
    """Keyword arguments for `Popen` and for asyncio's subprocesses alike."""
    environ = {**os.environ, "PYTHONPATH": _python_path(), **program.environ}
    return {
        "stdin": subprocess.DEVNULL,
        "env": {name: value for name, value in environ.items() if value is not None},
        "start_new_session": True,
        "preexec_fn": _end_with_parent(os.getpid(), program.orphan_signal),
    }


def open_log(program: Program) -> int:
    """Where its output goes: a descriptor that the caller closes once the child has it."""
    if program.log is None:
        return os.dup(2)
    program.log.parent.mkdir(parents=True, exist_ok=True)
    if program.log.exists() and program.log.stat().st_size > LONGEST_LOG:
        program.log.replace(program.log.with_name(program.log.name + ".old"))
    return os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def start(program: Program) -> subprocess.Popen[bytes]:
    """Start it and return at once; for callers without an event loop (tests)."""
    output = open_log(program)
    try:
        return subprocess.Popen(program.argv, stdout=output, stderr=output, **popen_options(program))
    finally:
        os.close(output)


def stop(program: Program, process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, insist; returns when it has ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a stopped process would never hear the rest
        process.send_signal(program.stop_signal)
    try:
        process.wait(program.stop_within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def log_tail(program: Program, lines: int = 12) -> str:
    """The end of its log, for the message that says why it didn't start."""
    if program.log is None or not program.log.exists():
        return ""
    return "\n".join(program.log.read_text(errors="replace").splitlines()[-lines:])
