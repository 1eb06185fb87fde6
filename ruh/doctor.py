"""One line a check: what is as it should be, and what to do about what isn't. It changes nothing."""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
from pogo_core.util import sql as migrations

from bridge.config import AppserviceSettings
from bridge.database import MIGRATIONS
from bridge.errors import SealBroken
from bridge.sealing import Keyring, outdated
from bridge.seats import ASSISTANT_DEVICE, ASSISTANT_LOCALPART
from ruh.upkeep import UNREACHABLE

TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True)
class Finding:
    what: str
    fine: bool
    words: str


def fine(what: str, words: str) -> Finding:
    return Finding(what, True, words)


def wrong(what: str, words: str, to_do: str) -> Finding:
    return Finding(what, False, f"{words}: {to_do}")


async def examine(settings: AppserviceSettings) -> int:
    """Print all findings; 1 when one of them needs somebody."""
    found = [finding async for finding in _findings(settings)]
    for finding in found:
        print(f"{'ok  ' if finding.fine else 'FAIL'}  {finding.what}: {finding.words}")
    sys.stdout.flush()
    return 0 if all(finding.fine for finding in found) else 1


async def _findings(settings: AppserviceSettings) -> AsyncIterator[Finding]:
    async for finding in _database(settings):
        yield finding
    async for finding in _homeserver(settings):
        yield finding


async def _database(settings: AppserviceSettings) -> AsyncIterator[Finding]:
    try:
        connection = await asyncpg.connect(settings.database_url, timeout=10)
    except UNREACHABLE as error:
        words = f"can't be reached ({type(error).__name__})"
        yield wrong("database", words, "check RUH_DATABASE_URL and that PostgreSQL is running")
        return
    try:
        yield fine("database", f"PostgreSQL {connection.get_server_version().major} answers")
        missing = await _missing_migrations(connection)
        if missing:
            yield wrong("schema", f"{', '.join(missing)} not applied", "run `ruh migrate`")
            return
        yield fine("schema", "at this version")
        yield await _keys(settings, connection)
    finally:
        await connection.close()


async def _missing_migrations(connection: Any) -> list[str]:
    known = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))
    if not await connection.fetchval("SELECT to_regclass('public._pogo_migration')"):
        return known
    applied = await migrations.get_applied_migrations(connection, schema_name="public")
    return [name for name in known if name not in applied]


async def _keys(settings: AppserviceSettings, connection: Any) -> Finding:
    keyring = Keyring(settings.master_key_bytes, settings.previous_master_key_bytes)
    wrapped = await connection.fetch("SELECT name, wrapped FROM sealing_key ORDER BY name")
    for row in wrapped:
        try:
            keyring.unwrap(row["wrapped"], "standing " + row["name"])
        except SealBroken:
            words = f"the key {row['name']} opens with none of the master keys"
            to_do = "put the one that sealed it into RUH_MASTER_KEY or RUH_PREVIOUS_MASTER_KEYS"
            return wrong("keys", words, to_do)
    old = await outdated(connection, keyring)
    if old:
        return fine("keys", f"all open; {old} still under an earlier master key (see `ruh rotate-key`)")
    return fine("keys", "all open with the master key in force" if wrapped else "none made yet")


async def _homeserver(settings: AppserviceSettings) -> AsyncIterator[Finding]:
    async with aiohttp.ClientSession(settings.homeserver_url, timeout=TIMEOUT) as session:
        try:
            versions = await _get(session, "/_matrix/client/versions", None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            words = f"doesn't answer ({type(error).__name__})"
            yield wrong("homeserver", words, "check RUH_HOMESERVER_URL and that it is running")
            return
        if "versions" not in versions:
            yield wrong("homeserver", "what answers isn't one", "check RUH_HOMESERVER_URL")
            return
        yield fine("homeserver", f"answers, speaks Matrix {versions['versions'][-1]}")
        yield await _registration(session, settings)
        yield await _device(session, settings)
        yield await _admin(session, settings)


async def _registration(session: aiohttp.ClientSession, settings: AppserviceSettings) -> Finding:
    answer = await _who_am_i(session, settings)
    if answer.get("user_id") == _assistant(settings):
        return fine("registration", f"the homeserver takes us for {_assistant(settings)}")
    if answer.get("errcode") == "M_UNKNOWN_TOKEN":
        to_do = "it must be the as_token of the registration that Synapse loads (app_service_config_files)"
        return wrong("registration", "the homeserver doesn't know RUH_AS_TOKEN", to_do)
    if _not_made_yet(answer):
        return fine("registration", "known; the assistant is made when `ruh appservice` first starts")
    words = f"the homeserver refuses the assistant ({answer.get('errcode')})"
    return wrong("registration", words, "check RUH_SERVER_NAME and the registration's namespace")


async def _device(session: aiohttp.ClientSession, settings: AppserviceSettings) -> Finding:
    """Devices of masquerading users need two switches in the registration (MSC4190, MSC3202)."""
    answer = await _who_am_i(session, settings, device_id=ASSISTANT_DEVICE)
    if answer.get("device_id") == ASSISTANT_DEVICE:
        return fine("encryption", "the assistant acts from its own device")
    if _not_made_yet(answer):
        return fine("encryption", "the assistant's device is made when `ruh appservice` first starts")
    words = f"the homeserver doesn't let us act from a device ({answer.get('errcode')})"
    to_do = "the registration needs io.element.msc4190 and org.matrix.msc3202, as in synapse-config/"
    return wrong("encryption", words, to_do)


async def _admin(session: aiohttp.ClientSession, settings: AppserviceSettings) -> Finding:
    token = settings.homeserver_admin_token.get_secret_value()
    answer = await _get(session, "/_synapse/admin/v2/users", token, {"limit": "1"})
    if "users" in answer:
        return fine("admin API", "open to RUH_HOMESERVER_ADMIN_TOKEN")
    to_do = "RUH_HOMESERVER_ADMIN_TOKEN must be an access token of an admin account (`ruh homeserver-admin`)"
    return wrong("admin API", f"refused ({answer.get('errcode')})", to_do)


def _assistant(settings: AppserviceSettings) -> str:
    return f"@{ASSISTANT_LOCALPART}:{settings.server_name}"


def _not_made_yet(answer: dict[str, Any]) -> bool:
    return answer.get("errcode") == "M_UNKNOWN_DEVICE" or "not registered" in str(answer.get("error", ""))


async def _who_am_i(
    session: aiohttp.ClientSession, settings: AppserviceSettings, **params: str
) -> dict[str, Any]:
    token = settings.as_token.get_secret_value()
    params["user_id"] = _assistant(settings)
    return await _get(session, "/_matrix/client/v3/account/whoami", token, params)


async def _get(
    session: aiohttp.ClientSession, path: str, token: str | None, params: dict[str, str] | None = None
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.get(path, headers=headers, params=params) as answer:
        body = await answer.json(content_type=None)
        return body if isinstance(body, dict) else {}
