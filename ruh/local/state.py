"""Everything that `ruh up` keeps stands in one directory, and one `ruh up` at a time works in it.

Secrets are made once and stay; the files that hold them can be read by their owner alone.
"""

import dataclasses
import fcntl
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bridge.errors import SettingsError
from ruh.local.files import write_private
from ruh.local.secrets import homeserver_secrets, master_key
from ruh.local.synapse import HomeserverSecrets

SERVER_NAME = "ruh.localhost"


@dataclass(frozen=True)
class Secrets:
    """What a local installation is: its name and its keys."""

    server_name: str
    postgres_password: str
    database_password: str
    synapse_password: str
    admin_password: str
    master_key: str
    api_token: str
    homeserver: HomeserverSecrets

    @classmethod
    def new(cls, server_name: str) -> Self:
        return cls(
            server_name=server_name,
            postgres_password=secrets.token_urlsafe(24),
            database_password=secrets.token_urlsafe(24),
            synapse_password=secrets.token_urlsafe(24),
            admin_password=secrets.token_urlsafe(24),
            master_key=master_key(),
            api_token=secrets.token_urlsafe(32),
            homeserver=homeserver_secrets(),
        )


class State:
    """An open state directory; `close` lets another `ruh up` have it."""

    def __init__(self, directory: Path, server_name: str = SERVER_NAME) -> None:
        self.directory = directory.resolve()
        try:
            # Others may pass (PostgreSQL runs as another user under root) but not look.
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(f"--state {directory}: {error.strerror}.") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SettingsError(f"--state {directory}: another `ruh up` is running on it.") from None
        self.secrets = self._secrets(server_name)

    def close(self) -> None:
        os.close(self._lock)

    def read(self, name: str) -> Any:
        """What was kept under this name, None for nothing."""
        try:
            return json.loads((self.directory / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise SettingsError(f"{self.directory / name}.json is damaged.") from None

    def keep(self, name: str, value: object) -> None:
        write_private(self.directory / f"{name}.json", json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def _secrets(self, server_name: str) -> Secrets:
        kept = self.read("secrets")
        if kept is None:
            made = Secrets.new(server_name)
            self.keep("secrets", dataclasses.asdict(made))
            return made
        try:
            return Secrets(**{**kept, "homeserver": HomeserverSecrets(**kept["homeserver"])})
        except (TypeError, KeyError):
            raise SettingsError(f"{self.directory}/secrets.json is of another version.") from None
