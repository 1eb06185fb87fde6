"""One real Synapse a run, with the same configuration as `ruh up`, on the run's PostgreSQL."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.seats import ASSISTANT_LOCALPART
from ruh.local import postgres, process, secrets, synapse
from tests.support.postgres import TestPostgres

SERVER_NAME = "ruh.test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestHomeserver:
    """The running homeserver and how to reach it. `stop` and `start` are for tests of its absence."""

    __test__ = False

    def __init__(self, config: synapse.Homeserver) -> None:
        self.config = config
        self.url = config.url
        self.server_name = config.server_name
        self.as_token = config.secrets.as_token
        self.registration_secret = config.secrets.registration_secret
        self.module = synapse.MODULE
        self.assistant = f"@{ASSISTANT_LOCALPART}:{config.server_name}"
        self.admin_token = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Blocks until it answers (about 5 s)."""
        self._process = process.start(self.config.program())
        try:
            asyncio.run(synapse.wait_until_ready(self.url))
        except synapse.HomeserverError as error:
            raise RuntimeError(process.log_tail(self.config.program(), 40)) from error

    def stop(self) -> None:
        if self._process is not None:
            process.stop(self.config.program(), self._process)
            self._process = None

    async def go_away(self) -> None:
        """As `stop`, for a test whose clients go on meanwhile."""
        await asyncio.to_thread(self.stop)

    async def come_back(self) -> None:
        # Not in a thread: the kernel ends the child together with the thread that started it.
        self._process = process.start(self.config.program())
        await synapse.wait_until_ready(self.url)

    def freeze(self) -> None:
        """It accepts connections and never answers: the slow homeserver."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def running_homeserver(server: TestPostgres) -> Iterator[TestHomeserver]:
    directory = Path(tempfile.mkdtemp(prefix="ruh-test-synapse-"))
    asyncio.run(postgres.ensure_database(server.cluster, "synapse", "test"))
    config = synapse.Homeserver(
        directory=directory,
        server_name=SERVER_NAME,
        port=free_port(),
        secrets=secrets.homeserver_secrets(),
        database={
            "host": str(server.cluster.socket_directory),
            "port": 5432,
            "user": "synapse",
            "password": "test",
            "dbname": "synapse",
        },
        bcrypt_rounds=4,  # a password check costs 1 ms instead of 250
        client_rate=1000,
    )
    config.write_config()
    homeserver = TestHomeserver(config)
    try:
        homeserver.start()
        homeserver.admin_token = asyncio.run(
            synapse.admin_token(homeserver.url, config.secrets.registration_secret, "test-admin")
        )
        yield homeserver
    finally:
        homeserver.stop()
        shutil.rmtree(directory, ignore_errors=True)
