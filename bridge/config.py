"""Settings come from the environment or one file, secrets also from a file each; a wrong one stops the start.

`RUH_X` sets x; `RUH_X_FILE` names a file that holds the secret x; `RUH_SETTINGS` names a file of such
lines (dotenv format). The environment wins over the file. A missing or malformed setting is one clear
line that never repeats the value, which may be a secret.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast, get_args

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.errors import SettingsError

PREFIX = "RUH_"
SETTINGS_FILE = "RUH_SETTINGS"
MASTER_KEY_BYTES = 32


def _master_key(value: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(value.get_secret_value(), validate=True)
    except binascii.Error as error:
        raise ValueError("must be base64") from error
    if len(key) != MASTER_KEY_BYTES:
        raise ValueError(f"must be base64 of {MASTER_KEY_BYTES} bytes")
    return value


def _split(value: object) -> object:
    """A list as JSON, or separated by commas or white space (one key a line in a secret's file)."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError("must be a list") from error
    return value.replace(",", " ").split()


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("must not be empty")
    return value


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value.rstrip("/")


Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
MasterKey = Annotated[SecretStr, AfterValidator(_master_key)]
MasterKeys = Annotated[tuple[MasterKey, ...], NoDecode, BeforeValidator(_split)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Port = Annotated[int, Field(ge=0, le=65535)]


class CommonSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    database_url: Annotated[str, Field(min_length=1, repr=False)]
    master_key: MasterKey
    previous_master_keys: MasterKeys = ()
    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-]+(:\d+)?$")]
    homeserver_public_url: WebAddress
    practice_name: str = "Ruh"
    keep_deleted_days: Annotated[float, Field(ge=0)] = 30
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` gathers environment, file and _FILE itself, so that one place decides which wins.
        return (init_settings,)

    @property
    def master_key_bytes(self) -> bytes:
        return base64.b64decode(self.master_key.get_secret_value())

    @property
    def previous_master_key_bytes(self) -> tuple[bytes, ...]:
        return tuple(base64.b64decode(key.get_secret_value()) for key in self.previous_master_keys)


class AppserviceSettings(CommonSettings):
    homeserver_url: WebAddress
    as_token: Secret
    homeserver_admin_token: Secret
    metrics_port: Port = 0
    removal_patience_days: Annotated[float, Field(ge=0)] = 7


class PortalSettings(CommonSettings):
    portal_url: WebAddress
    portal_host: str = "127.0.0.1"
    portal_port: Port = 8080
    api_token: Secret
    trusted_proxies: Annotated[int, Field(ge=0, le=10)] = 0
    """How many proxies stand in front: so many last addresses of X-Forwarded-For are believed."""
    session_idle_minutes: Annotated[int, Field(ge=1)] = 30
    secure_cookies: bool = True
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_starttls: bool = True
    smtp_from: str = ""
    unread_mail_minutes: Annotated[float, Field(ge=0)] = 5
    client_url: str = ""

    @model_validator(mode="before")
    @classmethod
    def _cookies_follow_the_address(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {"secure_cookies": str(given.get("portal_url", "")).startswith("https"), **given}

    @model_validator(mode="after")
    def _mails_have_a_sender(self) -> Self:
        if self.smtp_host and "@" not in parseaddr(self.smtp_from)[1]:
            raise ValueError("RUH_SMTP_FROM must be an e-mail address where RUH_SMTP_HOST is set")
        return self


S = TypeVar("S", bound=CommonSettings)


def load(kind: type[S], environ: Mapping[str, str] | None = None) -> S:
    """The settings of this process, or a `SettingsError` of one line."""
    given = _gather(kind, os.environ if environ is None else environ)
    try:
        return kind(**given)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def _gather(kind: type[CommonSettings], environ: Mapping[str, str]) -> dict[str, Any]:
    values = {**_settings_file(environ.get(SETTINGS_FILE)), **environ}
    given: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        variable = PREFIX + name.upper()
        if variable in values:
            given[name] = values[variable]
        elif _may_be_a_file(name, field.annotation) and f"{variable}_FILE" in values:
            given[name] = _secret_file(f"{variable}_FILE", values[f"{variable}_FILE"])
    return given


def _settings_file(path: str | None) -> dict[str, str]:
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as stream:
            parsed = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{SETTINGS_FILE}: cannot read {path} ({_reason(error)}).") from None
    return {name: value for name, value in parsed.items() if value is not None}


def _secret_file(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: cannot read {path} ({_reason(error)}).") from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return cast(str, error.strerror) if isinstance(error, OSError) else "not UTF-8 text"


def _may_be_a_file(name: str, annotation: object) -> bool:
    """Secrets, and the database's address, which holds a password."""
    secret = annotation is SecretStr or any(_may_be_a_file("", part) for part in get_args(annotation))
    return secret or name == "database_url"


def _one_line(error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_input=False, include_url=False):
        variable = PREFIX + str(problem["loc"][0]).upper() if problem["loc"] else "settings"
        if problem["type"] == "missing":
            problems.append(f"{variable} is not set")
        else:
            problems.append(f"{variable}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(dict.fromkeys(problems)) + "."
