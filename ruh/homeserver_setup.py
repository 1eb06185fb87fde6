"""For production: Synapse's configuration and the secrets of each process, in a directory each.

The portal's directory holds no Matrix token. What exists already stays, so this may run at every start.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from bridge.errors import SettingsError
from ruh.local import synapse
from ruh.local.files import write_private
from ruh.local.state import State

APPSERVICE, PORTAL, HOMESERVER = "appservice", "portal", "synapse"


def write(directory: Path, server_name: str, public_url: str, database_url: str) -> int:
    state = State(directory, server_name)
    try:
        secrets = state.secrets
        if secrets.server_name != server_name:
            raise SettingsError(f"{directory} is of {secrets.server_name}; a server name can't be changed.")
        synapse.Homeserver(
            directory=state.directory / HOMESERVER,
            server_name=server_name,
            port=8008,
            secrets=secrets.homeserver,
            database=_database(database_url),
            bind_address="0.0.0.0",
            public_url=public_url.rstrip("/"),
            behind_proxy=True,
            client_rate=10,
        ).write_config()
        for process, name, value in (
            (APPSERVICE, "master_key", secrets.master_key),
            (APPSERVICE, "as_token", secrets.homeserver.as_token),
            (PORTAL, "master_key", secrets.master_key),
            (PORTAL, "api_token", secrets.api_token),
        ):
            _keep(state, process, name, value)
    finally:
        state.close()
    print(
        f"Synapse's configuration is in {directory / HOMESERVER}; its homeserver.yaml loads the registration."
    )
    return 0


async def make_admin(directory: Path, url: str) -> int:
    """The account over which clients' accounts are made; its token goes to the appservice alone."""
    if not (directory / "secrets.json").exists():
        raise SettingsError(f"{directory} has no secrets yet: run `ruh homeserver-config` first.")
    state = State(directory)
    try:
        await synapse.wait_until_ready(url)
        kept = state.directory / APPSERVICE / "admin_token"
        if kept.exists() and await synapse.token_works(url, kept.read_text().strip()):
            return 0
        secrets = state.secrets
        token = await synapse.admin_token(url, secrets.homeserver.registration_secret, secrets.admin_password)
        _keep(state, APPSERVICE, "admin_token", token)
    finally:
        state.close()
    return 0


def _keep(state: State, process: str, name: str, value: str) -> None:
    place = state.directory / process
    place.mkdir(exist_ok=True, mode=0o700)
    write_private(place / name, value + "\n")


def _database(url: str) -> dict[str, str | int]:
    """Synapse wants the parts."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
        raise SettingsError("--database-url must be postgresql://user:password@host:port/name.")
    return {
        "host": parts.hostname,
        "port": parts.port or 5432,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "dbname": parts.path.lstrip("/"),
    }
