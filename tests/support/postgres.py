"""One PostgreSQL a run; every test gets a database of its own, copied from a migrated template."""

import asyncio
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bridge.database import apply_migrations
from ruh.local import postgres, process

TEMPLATE = "ruh_template"
_numbers = itertools.count(1)


@dataclass
class TestPostgres:
    __test__ = False  # pytest would take it for a class of tests

    cluster: postgres.Cluster
    _server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._server = process.start(self.cluster.program())

    def stop(self) -> None:
        """What is connected is cut off."""
        if self._server is not None:
            process.stop(self.cluster.program(), self._server)
            self._server = None

    @property
    def admin_url(self) -> str:
        return self.cluster.url("postgres")

    async def create(self) -> str:
        """A fresh migrated database; returns its address. FILE_COPY: 0.07 s, where going through the
        write-ahead log takes 0.9 s."""
        name = f"t{next(_numbers)}"
        admin = await asyncpg.connect(self.admin_url)
        try:
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        finally:
            await admin.close()
        return self.cluster.url(name)

    async def drop(self, url: str) -> None:
        name = url.split("?")[0].rsplit("/", 1)[1]
        admin = await asyncpg.connect(self.admin_url)
        try:
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await admin.close()

    async def _prepare(self) -> None:
        await postgres.wait_until_ready(self.admin_url)
        admin = await asyncpg.connect(self.admin_url)
        try:
            await admin.execute(f"CREATE DATABASE {TEMPLATE}")
        finally:
            await admin.close()
        await apply_migrations(self.cluster.url(TEMPLATE))


@contextmanager
def running_postgres() -> Iterator[TestPostgres]:
    directory = Path(tempfile.mkdtemp(prefix="ruh-test-"))
    directory.chmod(0o711)  # PostgreSQL runs as another user when the tests run as root
    cluster = postgres.Cluster(directory / "pg", password="test", throw_away=True)
    try:
        cluster.prepare()
        server = TestPostgres(cluster)
        server.start()
        try:
            asyncio.run(server._prepare())
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
