"""Signed JSON: what is signed is the canonical form without `signatures` and `unsigned`.

https://spec.matrix.org/v1.16/appendices/#signing-json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import vodozemac


def canonical(value: object) -> bytes:
    """Raises ValueError for what has no canonical form (NaN, half a surrogate pair)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def signable(signed: Mapping[str, Any]) -> bytes:
    return canonical({key: signed[key] for key in signed if key not in ("signatures", "unsigned")})


def is_signed(signed: Mapping[str, Any], user_id: str, key_id: str, public_key: str) -> bool:
    """Whether `user_id` signed it with this Ed25519 key; `key_id` is the part after `ed25519:`."""
    try:
        signature = signed["signatures"][user_id][f"ed25519:{key_id}"]
        vodozemac.Ed25519PublicKey.from_base64(public_key).verify_signature(
            signable(signed), vodozemac.Ed25519Signature.from_base64(signature)
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return False
    return True
