"""What every page and API call works with, wired once when the app starts (`app.extensions["ruh"]`)."""

from dataclasses import dataclass
from typing import cast

from quart import current_app

from bridge.config import PortalSettings
from bridge.database import Pool
from bridge.sealing import Keyring

EXTENSION = "ruh"


@dataclass(slots=True)
class Services:
    settings: PortalSettings
    keyring: Keyring
    pool: Pool


def services() -> Services:
    return cast(Services, current_app.extensions[EXTENSION])
