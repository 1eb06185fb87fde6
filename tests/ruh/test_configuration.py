"""What is written for the homeserver keeps its doors shut, whatever the path or the password looks like."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.errors import SettingsError
from ruh import homeserver_setup
from ruh.local import secrets, synapse
from ruh.local.process import ROOT
from ruh.local.state import State


def written(directory: Path, password: str = "secret") -> tuple[dict[str, Any], dict[str, Any]]:
    synapse.Homeserver(
        directory=directory,
        server_name="ruh.test",
        port=9301,
        secrets=secrets.homeserver_secrets(),
        database={"host": "/run", "port": 5432, "user": "synapse", "password": password, "dbname": "synapse"},
    ).write_config()
    read = [
        yaml.safe_load((directory / name).read_text()) for name in ("homeserver.yaml", "registration.yaml")
    ]
    return read[0], read[1]


def test_no_value_breaks_out_of_its_place(tmp_path: Path) -> None:
    odd = tmp_path / """it's: a "path" # {with} $names"""
    homeserver, _ = written(odd, password='": {x: [$directory]}')
    assert homeserver["signing_key_path"] == str(odd / "signing.key")
    assert homeserver["database"]["args"]["password"] == '": {x: [$directory]}'


def test_the_homeserver_listens_to_clients_on_this_machine_alone(tmp_path: Path) -> None:
    homeserver, _ = written(tmp_path)
    (listener,) = homeserver["listeners"]
    assert listener["bind_addresses"] == ["127.0.0.1"]
    assert listener["resources"] == [{"names": ["client"], "compress": False}]
    assert homeserver["federation_domain_whitelist"] == []
    assert homeserver["trusted_key_servers"] == []


def test_nobody_is_found_or_registers_themselves(tmp_path: Path) -> None:
    homeserver, _ = written(tmp_path)
    assert not homeserver["enable_registration"]
    assert not homeserver["user_directory"]["enabled"]
    assert not homeserver["presence"]["enabled"]
    assert homeserver["require_auth_for_profile_requests"]
    assert homeserver["limit_profile_requests_to_users_who_share_rooms"]


def test_our_module_is_loaded_with_its_rules(tmp_path: Path) -> None:
    (module,) = written(tmp_path)[0]["modules"]
    assert module["module"] == "policies.homeserver.RuhModule"
    assert module["config"] == {
        "assistant": "@ruh_assistant0:ruh.test",
        "namespace": "@ruh_",
        "direct_chats": True,
    }


def test_the_registration_listens_nowhere_and_owns_its_names(tmp_path: Path) -> None:
    _, registration = written(tmp_path)
    assert registration["url"] is None
    assert registration["namespaces"]["users"] == [{"exclusive": True, "regex": r"@ruh_.*:ruh\.test"}]
    assert not registration["sender_localpart"].startswith("ruh_")
    assert registration["io.element.msc4190"]
    assert registration["org.matrix.msc3202"]
    assert not registration["rate_limited"]


def test_only_the_owner_reads_what_was_written(tmp_path: Path) -> None:
    written(tmp_path / "synapse")
    for path in (tmp_path / "synapse").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def setup(directory: Path, server_name: str = "chat.example.org") -> int:
    database = "postgresql://synapse:p%40ss@postgres/synapse"
    return homeserver_setup.write(directory, server_name, "https://chat.example.org/", database)


def test_for_production_every_process_gets_its_own_secrets_and_the_portal_no_matrix_token(
    tmp_path: Path,
) -> None:
    setup(tmp_path)
    assert {path.name for path in (tmp_path / "portal").iterdir()} == {"master_key", "api_token"}
    assert {path.name for path in (tmp_path / "appservice").iterdir()} == {"master_key", "as_token"}
    homeserver = yaml.safe_load((tmp_path / "synapse" / "homeserver.yaml").read_text())
    assert homeserver["database"]["args"]["password"] == "p@ss"
    assert homeserver["public_baseurl"] == "https://chat.example.org/"


def test_for_production_what_was_made_once_stays(tmp_path: Path) -> None:
    setup(tmp_path)
    before = (tmp_path / "appservice" / "as_token").read_text()
    setup(tmp_path)
    assert (tmp_path / "appservice" / "as_token").read_text() == before
    with pytest.raises(SettingsError, match="can't be changed"):
        setup(tmp_path, "other.example.org")


def test_one_state_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first = State(tmp_path)
    with pytest.raises(SettingsError, match="another `ruh up`"):
        State(tmp_path)
    first.close()
    second = State(tmp_path)
    assert second.secrets == first.secrets
    second.close()


def test_the_compose_file_hands_the_portal_nothing_of_matrix() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {"postgres", "synapse", "appservice", "portal", "migrate"} <= services.keys()
    assert services["portal"]["volumes"] == ["portal:/data/setup/portal:ro"]
    assert not any("TOKEN" in name and "API" not in name for name in services["portal"]["environment"])
    known = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["volumes"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in known, name
        for needed in service.get("depends_on", {}):
            assert needed in services
