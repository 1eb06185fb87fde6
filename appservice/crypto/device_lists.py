"""What a `/keys/query` answer proves. Pure: signatures are checked, nothing is remembered.

A device counts if its own key signed it. An identity counts if its master key signed the self-signing key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import vodozemac

from appservice.crypto.canonical import is_signed
from appservice.crypto.model import MEGOLM, OLM, Device

MAX_DEVICES = 200  # a list longer than this is nobody's


@dataclass(frozen=True, slots=True)
class Proven:
    """`master_key`: the identity that the homeserver offers, None for none. `refused`: devices left out."""

    master_key: str | None
    devices: tuple[Device, ...]
    refused: int = 0


def assess(user_id: str, answer: Mapping[str, Any]) -> Proven:
    """`answer` is the homeserver's to a query for this user (and others)."""
    master = _cross_signing_key(user_id, answer, "master")
    self_signing = None
    if master is not None:
        self_signing = _cross_signing_key(user_id, answer, "self_signing", signed_by=master)
    devices = []
    listed = _mapping(_mapping(answer.get("device_keys")).get(user_id))
    for device_id, keys in list(listed.items())[:MAX_DEVICES]:
        if device := _device(user_id, device_id, keys, self_signing):
            devices.append(device)
    return Proven(master, tuple(devices), len(listed) - len(devices))


def _cross_signing_key(
    user_id: str, answer: Mapping[str, Any], usage: str, signed_by: str | None = None
) -> str | None:
    found = _mapping(_mapping(answer.get(f"{usage}_keys")).get(user_id))
    usages, keys = found.get("usage"), _mapping(found.get("keys"))
    if found.get("user_id") != user_id or not isinstance(usages, list) or usage not in usages:
        return None
    if len(keys) != 1:
        return None
    ((key_id, key),) = keys.items()
    if not _is_key(key) or key_id != f"ed25519:{key}":
        return None
    if signed_by is not None and not is_signed(found, user_id, signed_by, signed_by):
        return None
    return key


def _device(user_id: str, device_id: str, keys: Any, self_signing: str | None) -> Device | None:
    keys = _mapping(keys)
    public = _mapping(keys.get("keys"))
    curve25519, ed25519 = public.get(f"curve25519:{device_id}"), public.get(f"ed25519:{device_id}")
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id or not is_id(device_id):
        return None
    algorithms = keys.get("algorithms")
    if not isinstance(algorithms, list) or OLM not in algorithms or MEGOLM not in algorithms:
        return None
    if not _is_key(curve25519) or not _is_key(ed25519):
        return None
    if not is_signed(keys, user_id, device_id, ed25519):
        return None
    signed = self_signing is not None and is_signed(keys, user_id, self_signing, self_signing)
    return Device(user_id, device_id, curve25519, ed25519, signed)


def is_id(value: object) -> TypeGuard[str]:
    """Text that the database and the logs can take: no control characters, no half surrogate pairs."""
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _is_key(value: object) -> TypeGuard[str]:
    """A 32-byte public key, canonically unpadded: a key spelt in two ways would count as two."""
    if not isinstance(value, str) or len(value) != 43:
        return False
    try:
        return vodozemac.Curve25519PublicKey.from_base64(value).to_base64() == value
    except ValueError:
        return False


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
