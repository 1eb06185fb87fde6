"""Processes that die come back; none outlives the one that started them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ruh.local.process import ROOT, Program
from ruh.supervisor import Service, StartFailed, Supervisor

SLEEPER = (sys.executable, "-S", "-c", "import time; time.sleep(600)")


async def _at_once() -> None:
    pass


async def _never() -> None:
    await asyncio.Event().wait()


async def until(true: object, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def supervisor(said: list[str]) -> AsyncIterator[Supervisor]:
    made = Supervisor(said.append, first_pause=0.05)
    yield made
    await made.stop()


async def test_a_killed_process_is_started_again_and_a_line_says_so(
    supervisor: Supervisor, said: list[str]
) -> None:
    await supervisor.start(Service(Program("sleeper", SLEEPER), _at_once))
    first = supervisor.pid("sleeper")
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pid("sleeper") != first)
    assert alive(supervisor.pid("sleeper"))
    assert said[1:] == ["sleeper ended (signal SIGKILL); starting it again in 0.05 s"]


async def test_one_that_keeps_dying_is_given_longer_and_longer_pauses(
    supervisor: Supervisor, said: list[str]
) -> None:
    dies = Program("dies", (sys.executable, "-S", "-c", "raise SystemExit(3)"))
    await supervisor.start(Service(dies, _at_once))
    await until(lambda: len(said) == 4)
    assert [line.rsplit("in ", 1)[1] for line in said[1:]] == ["0.05 s", "0.1 s", "0.2 s"]
    assert "exit code 3" in said[1]


async def test_what_ends_before_it_is_ready_is_a_failure_that_shows_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    argv = (sys.executable, "-S", "-c", "print('no such port'); raise SystemExit(1)")
    with pytest.raises(StartFailed, match="no such port"):
        await supervisor.start(Service(Program("dies", argv, log=tmp_path / "log"), _never))


async def test_all_end_in_the_order_opposite_to_their_start(tmp_path: Path, said: list[str]) -> None:
    ends = tmp_path / "ends"
    # Blocked and waited for: a handler would be lost between the flag and a sleep.
    script = (
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "open(sys.argv[1] + sys.argv[2], 'w')\n"
        "signal.sigwait({signal.SIGTERM})\n"
        "open(sys.argv[1], 'a').write(sys.argv[2] + ' ')"
    )
    supervisor = Supervisor(said.append)
    for name in ("first", "second"):

        async def started(flag: Path = tmp_path / f"ends{name}") -> None:
            await until(flag.exists)

        program = Program(name, (sys.executable, "-S", "-c", script, str(ends), name))
        await supervisor.start(Service(program, started))
    await supervisor.stop()
    assert ends.read_text() == "second first "
    assert all("is ready" in line for line in said)


async def test_one_that_does_not_want_to_stop_is_killed(said: list[str], tmp_path: Path) -> None:
    script = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " open(sys.argv[1], 'w'); time.sleep(600)"
    )
    flag = tmp_path / "deaf"
    deaf = Program("deaf", (sys.executable, "-S", "-c", script, str(flag)), stop_within=0.2)
    supervisor = Supervisor(said.append)
    await supervisor.start(Service(deaf, lambda: until(flag.exists)))
    pid = supervisor.pid("deaf")
    await supervisor.stop()
    assert not alive(pid)


async def test_children_of_a_killed_parent_die_with_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from ruh.local import process\n"
        "sleeper = (sys.executable, '-S', '-c', 'import time; time.sleep(600)')\n"
        "child = process.start(process.Program('sleeper', sleeper))\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    await until(lambda: not alive(child))
