"""One-time keys of others: a key counts only if the device that it is for has signed it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import vodozemac

from appservice.crypto.canonical import is_signed
from appservice.crypto.model import Device, Puppet, acting
from appservice.homeserver import Homeserver

ALGORITHM = "signed_curve25519"


async def claim(homeserver: Homeserver, puppet: Puppet, devices: Iterable[Device]) -> dict[str, str]:
    """Device id → a one-time (or fallback) key to open a session with. Devices that have none are missing."""
    wanted: dict[str, dict[str, str]] = {}
    listed = list(devices)
    for device in listed:
        wanted.setdefault(device.user_id, {})[device.device_id] = ALGORITHM
    if not wanted:
        return {}
    answer = (await homeserver.claim_keys(acting(puppet), wanted)).get("one_time_keys", {})
    found = {}
    for device in listed:
        given = _of(_of(answer, device.user_id), device.device_id)
        for key_id, signed in given.items():
            if key_id.startswith(ALGORITHM + ":") and (key := _key(signed, device)):
                found[device.device_id] = key
    return found


def _key(signed: Any, device: Device) -> str | None:
    if not isinstance(signed, dict) or not is_signed(
        signed, device.user_id, device.device_id, device.ed25519
    ):
        return None
    try:
        return str(vodozemac.Curve25519PublicKey.from_base64(signed["key"]).to_base64())
    except (KeyError, TypeError, ValueError):
        return None


def _of(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
