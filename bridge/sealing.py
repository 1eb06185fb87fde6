"""What is kept is sealed: AES-256-GCM under a data key, the data key wrapped by the master key.

A sealed value is bound to where it stands: its context (conversation and entry ids, say) is
authenticated, so a value moved to another row doesn't open. Losing a data key erases what it sealed.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from bridge.database import Transaction
from bridge.errors import SealBroken

_VERSION = b"\x01"
_NONCE = 12
_KEY_ID = 8
_SHORTEST = 1 + _NONCE + 16  # what sealing nothing gives: version, nonce, tag


class DataKey:
    """Seals and opens values; `context` must be the same for both."""

    __slots__ = ("_cipher", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)

    def seal(self, plaintext: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises SealBroken when the value, its key or its context is not the one it was sealed with."""
        if sealed[:1] != _VERSION or len(sealed) < _SHORTEST:
            raise SealBroken
        try:
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], context.encode())
        except InvalidTag as error:
            raise SealBroken from error

    def derive(self, context: str) -> bytes:
        """32 bytes for a library that encrypts for itself (vodozemac's pickles), one key a context."""
        return HKDFExpand(hashes.SHA256(), 32, b"ruh derive\x00" + context.encode()).derive(self._key)

    def lookup(self, purpose: str, value: str) -> bytes:
        """A keyed hash that finds a row by a sealed value."""
        return hmac.digest(self.derive("lookup " + purpose), value.encode(), "sha256")


class Keyring:
    """The master key in force and the ones before it: new keys are wrapped by the first."""

    def __init__(self, master: bytes, previous: Sequence[bytes] = ()) -> None:
        if any(len(key) != 32 for key in (master, *previous)):
            raise ValueError("a master key is 32 bytes")
        self._masters = {_key_id(key): AESGCM(key) for key in (*reversed(previous), master)}
        self._current = _key_id(master)
        self._unwrap = lru_cache(maxsize=4096)(self._unwrap_uncached)

    def new_key(self, context: str) -> tuple[DataKey, bytes]:
        """A fresh data key, and its wrapped form to store with what it will seal."""
        key = os.urandom(32)
        return DataKey(key), self._wrap(key, context)

    def unwrap(self, wrapped: bytes | None, context: str) -> DataKey:
        """Raises SealBroken: erased (None), another context, or a master key that isn't here."""
        if wrapped is None:
            raise SealBroken
        return self._unwrap(bytes(wrapped), context)

    def rewrap(self, wrapped: bytes, context: str) -> bytes:
        """The same data key under the master key in force."""
        return self._wrap(self._open(wrapped, context), context)

    def is_current(self, wrapped: bytes) -> bool:
        return wrapped[1 : 1 + _KEY_ID] == self._current

    def _wrap(self, key: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed = self._masters[self._current].encrypt(nonce, key, context.encode())
        return _VERSION + self._current + nonce + sealed

    def _open(self, wrapped: bytes, context: str) -> bytes:
        master = self._masters.get(wrapped[1 : 1 + _KEY_ID])
        if wrapped[:1] != _VERSION or master is None or len(wrapped) < _KEY_ID + _SHORTEST:
            raise SealBroken
        body = wrapped[1 + _KEY_ID :]
        try:
            return master.decrypt(body[:_NONCE], body[_NONCE:], context.encode())
        except InvalidTag as error:
            raise SealBroken from error

    def _unwrap_uncached(self, wrapped: bytes, context: str) -> DataKey:
        return DataKey(self._open(wrapped, context))


def _key_id(master: bytes) -> bytes:
    return hashlib.sha256(b"ruh master key id" + master).digest()[:_KEY_ID]


async def standing_key(tx: Transaction, keyring: Keyring, name: str) -> DataKey:
    """The data key of that name ("directory", "devices"), made on first use."""
    wrapped = await tx.fetchval("SELECT wrapped FROM sealing_key WHERE name = $1", name)
    if wrapped is None:
        _, fresh = keyring.new_key("standing " + name)
        await tx.execute(
            "INSERT INTO sealing_key (name, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, fresh
        )
        wrapped = await tx.fetchval("SELECT wrapped FROM sealing_key WHERE name = $1", name)
    return keyring.unwrap(wrapped, "standing " + name)


# Tables of data keys: (table, its id, the wrapped key, what stands before the id in the key's context).
_KEYS = (
    ("sealing_key", "name", "wrapped", "standing "),
    ("conversation", "id", "wrapped_key", ""),
    ("blast", "id", "wrapped_key", "blast "),
)


async def outdated(tx: Transaction, keyring: Keyring) -> int:
    """How many data keys, of all tables, are under an earlier master key."""
    tables = " UNION ALL ".join(
        f"SELECT {column} AS wrapped FROM {table} WHERE {column} IS NOT NULL" for table, _, column, _ in _KEYS
    )
    return sum(not keyring.is_current(row["wrapped"]) for row in await tx.fetch(tables))


async def rotate(tx: Transaction, keyring: Keyring) -> int:
    """Put every data key under the master key in force; returns how many were moved."""
    moved = 0
    for table, name, column, prefix in _KEYS:
        rows = await tx.fetch(
            f"SELECT {name} AS name, {column} AS wrapped FROM {table} WHERE {column} IS NOT NULL FOR UPDATE"
        )
        stale = [
            (row["name"], keyring.rewrap(row["wrapped"], f"{prefix}{row['name']}"))
            for row in rows
            if not keyring.is_current(row["wrapped"])
        ]
        await tx.executemany(f"UPDATE {table} SET {column} = $2 WHERE {name} = $1", stale)
        moved += len(stale)
    return moved
