"""A puppet's cross-signing identity: three Ed25519 keys that vouch for its one device.

Without them clients put a shield on everything we send. vodozemac can't sign with a bare key, so these
come from `cryptography`.
"""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appservice.crypto.canonical import signable

Json = dict[str, Any]
SEED = 32


def unpadded(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


class SigningKey:
    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = unpadded(self._private.public_key().public_bytes_raw())

    def sign(self, signed: Json, user_id: str) -> None:
        signature = unpadded(self._private.sign(signable(signed)))
        signed.setdefault("signatures", {}).setdefault(user_id, {})[f"ed25519:{self.public}"] = signature


class Identity:
    """Master, self-signing and user-signing key of one user."""

    __slots__ = ("master", "self_signing", "user_signing")

    def __init__(self, seeds: bytes) -> None:
        parts = (seeds[start : start + SEED] for start in range(0, 3 * SEED, SEED))
        self.master, self.self_signing, self.user_signing = (SigningKey(part) for part in parts)

    def upload(self, user_id: str) -> Json:
        """The body of `/keys/device_signing/upload`."""
        keys = {
            usage: {"user_id": user_id, "usage": [usage], "keys": {f"ed25519:{key.public}": key.public}}
            for usage, key in (
                ("master", self.master),
                ("self_signing", self.self_signing),
                ("user_signing", self.user_signing),
            )
        }
        self.master.sign(keys["self_signing"], user_id)
        self.master.sign(keys["user_signing"], user_id)
        return {f"{usage}_key": key for usage, key in keys.items()}
