"""One configuration of the homeserver for `ruh up`, the tests and production: federation off, doors shut.

The templates lie in synapse-config/; every value is put in as JSON, which is YAML, so that none can
break out of its place.
"""

import asyncio
import hashlib
import hmac
import importlib.util
import json
import re
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import aiohttp

from bridge.errors import RuhError
from bridge.seats import ASSISTANT_LOCALPART, MASK_PREFIX
from ruh.local.files import write_private
from ruh.local.process import ROOT, Program

TEMPLATES = ROOT / "synapse-config"
MODULE = "policies.homeserver.RuhModule"
ADMIN = "homeserver-admin"


class HomeserverError(RuhError):
    """The homeserver could not be set up."""

    retry = True


@dataclass(frozen=True)
class HomeserverSecrets:
    as_token: str
    hs_token: str
    sender_localpart: str
    registration_secret: str
    macaroon_secret: str
    form_secret: str
    signing_key: str  # "ed25519 a_XXXX base64"


@dataclass(frozen=True)
class Homeserver:
    """Where it keeps its files, where it listens, which database is its own."""

    directory: Path
    server_name: str
    port: int
    secrets: HomeserverSecrets
    database: Mapping[str, str | int]  # host, port, user, password, dbname
    bind_address: str = "127.0.0.1"
    public_url: str | None = None
    behind_proxy: bool = False
    bcrypt_rounds: int = 12
    client_rate: int = 100
    """Requests of a kind a second by one client; local machines and tests need more than the default 0.2."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        return self.directory / "homeserver.yaml"

    def program(self) -> Program:
        return Program(
            name="Synapse",
            argv=(
                sys.executable,
                "-m",
                "synapse.app.homeserver",
                "-c",
                str(self.directory / "homeserver.yaml"),
            ),
            log=self.directory / "log",
            orphan_signal=signal.SIGKILL,
        )

    def write_config(self) -> None:
        """Write all four files; the same input writes the same files."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        secrets = self.secrets
        everything: dict[str, object] = {
            "server_name": self.server_name,
            "public_url": (self.public_url or self.url) + "/",
            "port": self.port,
            "bind_address": self.bind_address,
            "x_forwarded": self.behind_proxy,
            **{f"database_{key.removeprefix('db')}": value for key, value in self.database.items()},
            "registration_secret": secrets.registration_secret,
            "macaroon_secret": secrets.macaroon_secret,
            "form_secret": secrets.form_secret,
            "bcrypt_rounds": self.bcrypt_rounds,
            "modules": self._modules(),
            "client_rate": self.client_rate,
            "client_burst": self.client_rate * 10,
            "as_token": secrets.as_token,
            "hs_token": secrets.hs_token,
            "sender_localpart": secrets.sender_localpart,
            "user_regex": f"@{re.escape(MASK_PREFIX)}.*:{re.escape(self.server_name)}",
            "log_level": "WARNING",
            "pid_file": str(self.directory / "synapse.pid"),
            "signing_key_path": str(self.directory / "signing.key"),
            "log_config": str(self.directory / "log.yaml"),
            "media_store_path": str(self.directory / "media"),
            "registration_path": str(self.directory / "registration.yaml"),
        }
        filled = {key: json.dumps(value) for key, value in everything.items()}
        for name in ("homeserver.yaml", "registration.yaml", "log.yaml"):
            text = Template((TEMPLATES / name).read_text(encoding="utf-8")).substitute(filled)
            write_private(self.directory / name, text)
        write_private(self.directory / "signing.key", secrets.signing_key + "\n")

    def _modules(self) -> list[dict[str, object]]:
        if importlib.util.find_spec(MODULE.rpartition(".")[0]) is None:
            return []
        config = {
            "assistant": f"@{ASSISTANT_LOCALPART}:{self.server_name}",
            "namespace": f"@{MASK_PREFIX}",
            "direct_chats": True,
        }
        return [{"module": MODULE, "config": config}]


async def wait_until_ready(url: str, within: float = 60.0) -> None:
    """Returns once the homeserver answers."""
    deadline = time.monotonic() + within
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while time.monotonic() < deadline:
            try:
                async with session.get(f"{url}/health") as answer:
                    if answer.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
    raise HomeserverError(f"The homeserver doesn't answer after {within:.0f} s.")


async def admin_token(url: str, registration_secret: str, password: str) -> str:
    """An access token of the admin account, which is made when there is none.

    Source: Synapse's "Shared-Secret Registration". The account is nobody's face: it only calls the admin API.
    """
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=30)) as session:
        path = "/_synapse/admin/v1/register"
        async with session.get(path) as answer:
            nonce = str((await answer.json())["nonce"])
        signed = "\0".join((nonce, ADMIN, password, "admin")).encode()
        account = {
            "nonce": nonce,
            "username": ADMIN,
            "password": password,
            "admin": True,
            "mac": hmac.new(registration_secret.encode(), signed, hashlib.sha1).hexdigest(),
        }
        async with session.post(path, json=account) as answer:
            body = await answer.json()
            if answer.status == 200:
                return str(body["access_token"])
        if body.get("errcode") != "M_USER_IN_USE":
            raise HomeserverError(f"The homeserver refused its admin account: {body.get('errcode')}.")
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": ADMIN},
            "password": password,
            "initial_device_display_name": "Ruh",
        }
        async with session.post("/_matrix/client/v3/login", json=login) as answer:
            body = await answer.json()
            if answer.status != 200:
                raise HomeserverError(f"The homeserver's admin account can't sign in: {body.get('errcode')}.")
            return str(body["access_token"])


async def token_works(url: str, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(url, headers=headers, timeout=aiohttp.ClientTimeout(total=30)) as session,
        session.get("/_matrix/client/v3/account/whoami") as answer,
    ):
        return answer.status == 200
