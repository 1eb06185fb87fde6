"""The doctor says what is wrong and what to do, a line each."""

import base64
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from bridge.config import AppserviceSettings, load
from bridge.database import open_pool, transaction
from bridge.errors import SettingsError
from bridge.sealing import Keyring, standing_key
from policies.vocabulary import Role
from ruh.doctor import examine
from ruh.homeserver_setup import make_admin
from ruh.local.state import State
from ruh.local.synapse import token_works
from ruh.upkeep import KeyMissing, rotate_key
from tests.support.people import make
from tests.support.postgres import TestPostgres
from tests.support.synapse import TestHomeserver

Settings = Callable[..., AppserviceSettings]


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def settings(database_url: str, homeserver: TestHomeserver) -> Settings:
    good = {
        "RUH_DATABASE_URL": database_url,
        "RUH_MASTER_KEY": new_key(),
        "RUH_SERVER_NAME": homeserver.server_name,
        "RUH_HOMESERVER_URL": homeserver.url,
        "RUH_HOMESERVER_PUBLIC_URL": homeserver.url,
        "RUH_AS_TOKEN": homeserver.as_token,
        "RUH_HOMESERVER_ADMIN_TOKEN": homeserver.admin_token,
    }
    return lambda **changes: load(AppserviceSettings, good | changes)


async def test_all_is_well(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert await examine(settings()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in lines] == [
        "database",
        "schema",
        "keys",
        "homeserver",
        "registration",
        "encryption",
        "admin API",
    ]
    assert all(line.startswith("ok ") for line in lines)


@pytest.mark.parametrize(
    ("changes", "what", "to_do"),
    [
        (
            {"RUH_DATABASE_URL": "postgresql://ruh@/ruh?host=/nowhere"},
            "database",
            "check RUH_DATABASE_URL",
        ),
        ({"RUH_HOMESERVER_URL": "http://127.0.0.1:1"}, "homeserver", "check RUH_HOMESERVER_URL"),
        ({"RUH_AS_TOKEN": "wrong"}, "registration", "the as_token of the registration"),
        ({"RUH_SERVER_NAME": "other.test"}, "registration", "check RUH_SERVER_NAME"),
        ({"RUH_HOMESERVER_ADMIN_TOKEN": "wrong"}, "admin API", "an access token of an admin"),
    ],
)
async def test_what_is_wrong_comes_with_what_to_do(
    settings: Settings, capsys: pytest.CaptureFixture[str], changes: dict[str, str], what: str, to_do: str
) -> None:
    assert await examine(settings(**changes)) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert failed[0].startswith(f"FAIL  {what}: ")
    assert to_do in failed[0]


async def test_a_database_without_the_schema_is_sent_to_migrate(
    settings: Settings, postgres_server: TestPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await examine(settings(RUH_DATABASE_URL=postgres_server.admin_url)) == 1
    assert "run `ruh migrate`" in capsys.readouterr().out


async def test_a_master_key_that_opens_nothing_is_found(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await _use_keys(settings())
    assert await examine(settings(RUH_MASTER_KEY=new_key())) == 1
    assert "directory opens with none of the master keys" in capsys.readouterr().out


async def test_after_a_rotation_the_old_master_key_may_go(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = new_key(), new_key()
    await _use_keys(settings(RUH_MASTER_KEY=old))
    both = settings(RUH_MASTER_KEY=new, RUH_PREVIOUS_MASTER_KEYS=old)
    assert await examine(both) == 0
    assert "3 still under an earlier master key" in capsys.readouterr().out
    assert await rotate_key(both) == 0
    assert await examine(settings(RUH_MASTER_KEY=new)) == 0
    with pytest.raises(KeyMissing):
        await rotate_key(settings(RUH_MASTER_KEY=old))


async def _use_keys(settings: AppserviceSettings) -> None:
    pool = await open_pool(settings.database_url, size=1)
    async with transaction(pool) as tx:
        keys = Keyring(settings.master_key_bytes)
        await standing_key(tx, keys, "directory")
        # A blast has a key of its own, as conversations have.
        sara = await make(tx, keys, Role.THERAPIST, "Sara", "Khan", email="sara@ruh.test")
        blast = uuid4()
        await tx.execute(
            "INSERT INTO blast (id, organiser_id, wrapped_key, content_sealed) VALUES ($1, $2, $3, 'x')",
            blast, sara.id, keys.new_key(f"blast {blast}")[1],
        )  # fmt: skip
    await pool.close()


async def test_the_homeservers_admin_is_made_once_and_the_token_kept(
    homeserver: TestHomeserver, tmp_path: Path
) -> None:
    state = State(tmp_path, homeserver.server_name)
    secrets = dataclasses.replace(
        state.secrets, homeserver=homeserver.config.secrets, admin_password="test-admin"
    )
    state.keep("secrets", dataclasses.asdict(secrets))
    state.close()
    token = tmp_path / "appservice" / "admin_token"
    assert await make_admin(tmp_path, homeserver.url) == 0
    first = token.read_text()
    assert await token_works(homeserver.url, first.strip())
    assert await make_admin(tmp_path, homeserver.url) == 0
    assert token.read_text() == first


async def test_an_admin_for_a_homeserver_that_was_never_configured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="run `ruh homeserver-config` first"):
        await make_admin(tmp_path, "http://127.0.0.1:1")
    assert not (tmp_path / "secrets.json").exists()
