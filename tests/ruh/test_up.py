"""`ruh up` as a newcomer and an evaluator run it: two side by side, killed, started again, stopped."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ruh.local.process import ROOT
from tests.support.synapse import free_port

pytestmark = pytest.mark.journey


class Up:
    """One `ruh up`, its one line of JSON and what it says meanwhile."""

    def __init__(self, state: Path, port: int, *options: str) -> None:
        self.log = state.parent / f"{state.name}.log"
        self._options = (*options, "--state", str(state), "--port", str(port))
        self.start()

    def start(self) -> None:
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ruh.main", "up", "--json", *self._options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def said(self) -> str:
        return self.log.read_text()

    def children(self) -> dict[int, str]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in listed}

    def child(self, words: str) -> int:
        return next(pid for pid, command in self.children().items() if words in command)

    def stop(self) -> str:
        """Returns what else it printed."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=60)
        return rest


@pytest.fixture
def place() -> Iterator[Path]:
    # A path that is too long for a socket (107 bytes), closed to others as root's home is.
    made = Path(tempfile.mkdtemp(prefix="ruh-up-"))
    deep = made / ("long" * 15) / ("name" * 10)
    deep.mkdir(parents=True)
    yield deep
    shutil.rmtree(made)


def get(url: str, token: str | None = None) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer) if token or "_matrix" in url else answer.status


def sign_in(homeserver: str, user_id: str, password: str) -> str:
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user_id},
        "password": password,
    }
    request = urllib.request.Request(f"{homeserver}/_matrix/client/v3/login", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["user_id"])


def until(true: Callable[[], bool], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_two_run_side_by_side_and_go_on_after_being_killed(place: Path) -> None:
    first, second = Up(place / "a", free_pair()), Up(place / "b", free_pair(), "--no-demo")
    try:
        answer, other = first.ready(), second.ready()
        assert other["people"] == []
        assert other["portal"] != answer["portal"]
        _check_people(answer)
        _check_private(place / "a")

        # One that dies is started again, and a line says so.
        portal = first.child("ruh.main portal")
        os.kill(portal, signal.SIGKILL)
        until(lambda: "ruh portal ended (signal SIGKILL); starting it again" in first.said())
        until(lambda: any("ruh.main portal" in command for command in first.children().values()))

        # The supervisor itself is killed: nothing stays, and the same state goes on.
        children = first.children()
        assert len(children) == 4
        first.process.kill()
        first.process.wait()
        until(lambda: all(gone(pid) for pid in children))
        first.start()
        assert first.ready() == answer

        # A second one on the same state is told so.
        refused = subprocess.run(
            [sys.executable, "-m", "ruh.main", "up", "--state", str(place / "a"), "--port", str(free_pair())],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert refused.returncode == 2
        assert refused.stdout == ""
        assert "another `ruh up` is running on it" in refused.stderr

        children = first.children()
        assert first.stop() == ""
        assert first.process.returncode == 0
        assert all(gone(pid) for pid in children)
        assert get(other["portal"]) == 200
    finally:
        for one in (first, second):
            if one.process.poll() is None:
                one.stop()
    assert second.process.returncode == 0


def _check_people(answer: dict[str, Any]) -> None:
    people = answer["people"]
    roles = [person["role"] for person in people]
    assert roles.count("therapist") >= 2
    assert roles.count("client_care") >= 1
    clients = [person for person in people if person["role"] == "client"]
    assert len(clients) >= 6
    initials = ["".join(word[0] for word in person["name"].split()) for person in clients]
    assert len(set(initials)) == len(initials) - 1
    assert all({"role", "name", "email", "password"} <= person.keys() for person in people)
    assert all(("user_id" in person) == (person["role"] == "client") for person in people)
    client = clients[0]
    assert sign_in(answer["homeserver"], client["user_id"], client["password"]) == client["user_id"]
    assert client["user_id"].endswith(":" + answer["server_name"])
    assert get(answer["portal"]) == 200
    listed = get(answer["api"]["url"] + "/conversations", answer["api"]["token"])["conversations"]
    assert len(listed) >= len(clients)


def _check_private(state: Path) -> None:
    """Keys, tokens and passwords are their owner's alone."""
    for path in (*state.glob("*.json"), *state.glob("*.env"), *state.glob("synapse/*.*")):
        assert path.stat().st_mode & 0o077 == 0, path


def free_pair() -> int:
    """A port that is free with the one after it."""
    while True:
        port = free_port()
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port + 1))
        except OSError:
            continue
        return port


def test_a_port_that_is_taken_is_one_line_and_nothing_stays(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "ruh.main", "up", "--state", str(place / "c"), "--port", str(port)],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
    assert ended.returncode == 2
    assert f"Port {port} is in use" in ended.stderr
