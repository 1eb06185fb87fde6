"""A wrong setting is one clear line and exit code 2, and never shows a secret."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.config import AppserviceSettings, PortalSettings, load
from bridge.errors import SettingsError
from ruh.local.process import ROOT

KEY = base64.b64encode(bytes(range(32))).decode()
GOOD = {
    "RUH_DATABASE_URL": "postgresql://ruh:hidden@/ruh?host=/run",
    "RUH_MASTER_KEY": KEY,
    "RUH_SERVER_NAME": "ruh.test",
    "RUH_HOMESERVER_URL": "http://127.0.0.1:8008",
    "RUH_HOMESERVER_PUBLIC_URL": "https://chat.example.org/",
    "RUH_AS_TOKEN": "hidden",
    "RUH_HOMESERVER_ADMIN_TOKEN": "hidden",
    "RUH_PORTAL_URL": "https://portal.example.org",
    "RUH_API_TOKEN": "hidden",
}


def refused(**changes: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(PortalSettings, GOOD | changes)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_each_process_reads_its_own_settings_and_leaves_the_rest() -> None:
    assert load(AppserviceSettings, GOOD).as_token.get_secret_value() == "hidden"
    assert not hasattr(load(PortalSettings, GOOD), "as_token")


def test_all_that_is_missing_is_named_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"RUH_MASTER_KEY is not set; .*RUH_API_TOKEN is not set\.$"):
        load(PortalSettings, {})


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("RUH_MASTER_KEY", "not base64!", "must be base64"),
        ("RUH_MASTER_KEY", "c2hvcnQ=", "must be base64 of 32 bytes"),
        ("RUH_PREVIOUS_MASTER_KEYS", "c2hvcnQ=", "must be base64 of 32 bytes"),
        ("RUH_PORTAL_PORT", "http", "valid integer"),
        ("RUH_PORTAL_PORT", "70000", "less than or equal to 65535"),
        ("RUH_HOMESERVER_PUBLIC_URL", "chat.example.org", "must begin with http:// or https://"),
        ("RUH_SERVER_NAME", "not a name", "should match pattern"),
        ("RUH_API_TOKEN", "", "must not be empty"),
        ("RUH_LOG_LEVEL", "loud", "Input should be"),
    ],
)
def test_a_malformed_one_says_what_it_should_be_and_never_what_it_was(
    variable: str, value: str, words: str
) -> None:
    message = refused(**{variable: value})
    assert variable in message
    assert words in message
    assert not value or value not in message


def test_a_secret_may_stand_in_a_file_and_the_variable_wins(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file\n")
    with_file = GOOD | {"RUH_API_TOKEN_FILE": str(tmp_path / "token")}
    assert load(PortalSettings, with_file).api_token.get_secret_value() == "hidden"
    del with_file["RUH_API_TOKEN"]
    assert load(PortalSettings, with_file).api_token.get_secret_value() == "from the file"


def test_only_secrets_are_read_from_files(tmp_path: Path) -> None:
    without = {name: value for name, value in GOOD.items() if name != "RUH_SERVER_NAME"}
    with pytest.raises(SettingsError, match="RUH_SERVER_NAME is not set"):
        load(PortalSettings, without | {"RUH_SERVER_NAME_FILE": str(tmp_path)})


def test_a_file_that_is_not_there_is_named() -> None:
    without = {name: value for name, value in GOOD.items() if name != "RUH_MASTER_KEY"}
    with pytest.raises(SettingsError, match="RUH_MASTER_KEY_FILE: cannot read /nowhere"):
        load(PortalSettings, without | {"RUH_MASTER_KEY_FILE": "/nowhere"})


def test_settings_may_stand_in_one_file_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("".join(f"{name}='{value}'\n" for name, value in GOOD.items()))
    read = load(PortalSettings, {"RUH_SETTINGS": str(file), "RUH_SERVER_NAME": "other.test"})
    assert read.server_name == "other.test"
    assert read.database_url == GOOD["RUH_DATABASE_URL"]


def test_earlier_master_keys_come_one_a_line_or_between_commas() -> None:
    for given in (f"{KEY},{KEY}", f"{KEY}\n{KEY}\n", f'["{KEY}", "{KEY}"]'):
        read = load(PortalSettings, GOOD | {"RUH_PREVIOUS_MASTER_KEYS": given})
        assert read.previous_master_key_bytes == (bytes(range(32)),) * 2


def test_cookies_are_secure_where_the_portal_is() -> None:
    assert load(PortalSettings, GOOD).secure_cookies
    assert not load(PortalSettings, GOOD | {"RUH_PORTAL_URL": "http://127.0.0.1:8080"}).secure_cookies
    assert not load(PortalSettings, GOOD | {"RUH_SECURE_COOKIES": "no"}).secure_cookies


def test_shown_settings_hide_what_is_secret() -> None:
    assert "hidden" not in repr(load(PortalSettings, GOOD)) + repr(load(AppserviceSettings, GOOD))


def test_the_command_ends_with_one_line_and_exit_code_2() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ruh.main", "portal"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "RUH_MASTER_KEY": "secret!"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("ruh: RUH_DATABASE_URL is not set; RUH_MASTER_KEY: must be base64")
    assert ended.stderr.count("\n") == 1
    assert "secret!" not in ended.stderr
