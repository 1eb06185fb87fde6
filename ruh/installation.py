"""`ruh up`'s processes: PostgreSQL, Synapse, the appservice and the portal, each one of its own.

All of them listen on this machine alone.
"""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg

from bridge.config import SETTINGS_FILE, PortalSettings, load
from bridge.database import apply_migrations
from bridge.errors import RuhError, SettingsError
from ruh.local import postgres, synapse
from ruh.local.files import write_private
from ruh.local.process import Program
from ruh.local.state import State
from ruh.supervisor import Service, Supervisor

HOST = "127.0.0.1"
DATABASE = "ruh"
READY_WITHIN = 60.0  # seconds, for each of our own processes


class NotReady(RuhError):
    """A process runs but doesn't do its work."""


@dataclass(frozen=True)
class Addresses:
    port: int

    @property
    def portal(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def homeserver(self) -> str:
        return f"http://{HOST}:{self.port + 1}"


class Installation:
    def __init__(self, state: State, port: int, supervisor: Supervisor) -> None:
        self.state = state
        self.addresses = Addresses(port)
        self._supervisor = supervisor
        self._environ: dict[str, str | None] = {}
        secrets = state.secrets
        self.cluster = postgres.Cluster(state.directory / "postgres", secrets.postgres_password)
        self.database_url = self.cluster.url(DATABASE, DATABASE, secrets.database_password)
        self.homeserver = synapse.Homeserver(
            directory=state.directory / "synapse",
            server_name=secrets.server_name,
            port=port + 1,
            secrets=secrets.homeserver,
            database={
                "host": str(self.cluster.socket_directory),
                "port": 5432,
                "user": "synapse",
                "password": secrets.synapse_password,
                "dbname": "synapse",
            },
        )

    async def start(self) -> None:
        """Returns when everything answers; raises a RuhError that says what doesn't."""
        await self._ports_free()
        await self._start_postgres()
        self.homeserver.write_config()
        url = self.addresses.homeserver
        await self._supervisor.start(
            Service(self.homeserver.program(), lambda: synapse.wait_until_ready(url))
        )
        await self._write_settings()
        await apply_migrations(self.database_url)
        await self._supervisor.start(Service(self._ours("appservice"), await self._appservice_ready()))
        await self._supervisor.start(Service(self._ours("portal"), self._portal_ready))

    async def stop(self) -> None:
        """Nothing is left but the state."""
        await self._supervisor.stop()
        self.cluster.clean_up()

    @property
    def settings_file(self) -> Path:
        return self.state.directory / "settings.env"

    def settings(self) -> PortalSettings:
        return load(PortalSettings, {SETTINGS_FILE: str(self.settings_file)})

    async def _start_postgres(self) -> None:
        cluster, secrets = self.cluster, self.state.secrets
        await asyncio.to_thread(cluster.prepare)
        await self._supervisor.start(
            Service(
                cluster.program(), lambda: postgres.wait_until_ready(cluster.url("postgres")), cluster.prepare
            )
        )
        await postgres.ensure_database(cluster, DATABASE, secrets.database_password)
        await postgres.ensure_database(cluster, "synapse", secrets.synapse_password)

    async def _write_settings(self) -> None:
        """One file for all of our processes, and for `ruh doctor` and the like beside them."""
        secrets = self.state.secrets
        values = {
            "DATABASE_URL": self.database_url,
            "MASTER_KEY": secrets.master_key,
            "SERVER_NAME": secrets.server_name,
            "HOMESERVER_URL": self.addresses.homeserver,
            "HOMESERVER_PUBLIC_URL": self.addresses.homeserver,
            "AS_TOKEN": secrets.homeserver.as_token,
            "HOMESERVER_ADMIN_TOKEN": await self._admin_token(),
            "PORTAL_URL": self.addresses.portal,
            "PORTAL_HOST": HOST,
            "PORTAL_PORT": str(self.addresses.port),
            "API_TOKEN": secrets.api_token,
        }
        # The environment wins over the file; what is meant for another installation must not.
        others = {f"RUH_{name}{form}": None for name in values for form in ("", "_FILE")}
        self._environ = {**others, SETTINGS_FILE: str(self.settings_file)}
        values["LOG_LEVEL"] = "warning"  # the table of people should stay in sight; RUH_LOG_LEVEL wins
        write_private(
            self.settings_file, "".join(f"RUH_{name}='{value}'\n" for name, value in values.items())
        )

    async def _admin_token(self) -> str:
        kept = self.state.read("admin")
        if kept is None or not await synapse.token_works(self.addresses.homeserver, kept["token"]):
            secrets = self.state.secrets
            token = await synapse.admin_token(
                self.addresses.homeserver, secrets.homeserver.registration_secret, secrets.admin_password
            )
            kept = {"token": token}
            self.state.keep("admin", kept)
        return str(kept["token"])

    def _ours(self, command: str) -> Program:
        return Program(
            name=f"ruh {command}",
            argv=(sys.executable, "-m", "ruh.main", command),
            environ=self._environ,
            orphan_signal=signal.SIGKILL,
        )

    async def _appservice_ready(self) -> Callable[[], Awaitable[None]]:
        """It has nothing that listens; it is at work once it has taken its shard, which raises the epoch."""
        before = await self._epoch()

        async def ready() -> None:
            await _eventually("ruh appservice", lambda: self._epoch_moved(before))

        return ready

    async def _epoch_moved(self, before: int) -> bool:
        return await self._epoch() > before

    async def _epoch(self) -> int:
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            return int(await connection.fetchval("SELECT coalesce(max(epoch), 0) FROM shard"))
        finally:
            await connection.close()

    async def _portal_ready(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:

            async def answers() -> bool:
                try:
                    async with session.get(self.addresses.portal, allow_redirects=False) as answer:
                        return answer.status < 500
                except (aiohttp.ClientError, TimeoutError):
                    return False

            await _eventually("ruh portal", answers)

    async def _ports_free(self, within: float = 5.0) -> None:
        """A killed `ruh up` takes its processes along, which may need a moment to let go."""
        deadline = time.monotonic() + within
        ports = {"the portal": self.addresses.port, "the homeserver": self.addresses.port + 1}
        for whose, port in ports.items():
            while not _free(port):
                if time.monotonic() > deadline:
                    raise SettingsError(
                        f"Port {port} is in use, and {whose} needs it; choose others with --port "
                        "(the homeserver takes the one after the portal's)."
                    )
                await asyncio.sleep(0.1)


async def _eventually(what: str, true: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not await true():
        if time.monotonic() > deadline:
            raise NotReady(f"{what} is not ready after {READY_WITHIN:.0f} s.")
        await asyncio.sleep(0.1)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
