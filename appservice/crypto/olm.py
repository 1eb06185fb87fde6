"""Olm: messages from device to device, which carry the keys of everything else.

Both ends prove who they are inside the encryption; a message whose inside names another sender, receiver or
key is refused. https://spec.matrix.org/v1.16/client-server-api/#molmv1curve25519-aes-sha2
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import vodozemac

from appservice.crypto.account import Accounts, Keys
from appservice.crypto.canonical import canonical
from appservice.crypto.errors import Duplicate, Malformed, OlmFailed, WrongSender
from appservice.crypto.model import OLM, Device, Puppet
from bridge.database import Transaction
from bridge.sealing import DataKey

Json = dict[str, Any]

# A device that opens sessions without end keeps only its newest ones.
KEPT_SESSIONS = 5

_PREKEY, _NORMAL = 0, 1


@dataclass(frozen=True, slots=True)
class Opened:
    """A decrypted to-device message; `signing_key` is the sending device's Ed25519 key, as it claims."""

    type: str
    content: Json
    sender_key: str
    signing_key: str
    new_session: bool


class OlmSessions:
    """Table olm_session. Whoever reads a session to move it on holds the puppet's `lock`."""

    def __init__(self, devices_key: DataKey, accounts: Accounts) -> None:
        self._sealing = devices_key
        self._accounts = accounts

    async def lock(self, tx: Transaction, puppet_id: UUID) -> None:
        """Before a transaction touches several sessions of a puppet: their rows have no common order."""
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"olm {puppet_id}")

    async def decrypt(self, tx: Transaction, puppet: Puppet, keys: Keys, event: Mapping[str, Any]) -> Opened:
        """Raises Malformed, WrongSender, Duplicate or OlmFailed."""
        content = event["content"]
        if content.get("algorithm") != OLM:
            raise Malformed("unknown_algorithm")
        sender_key = content.get("sender_key")
        ciphertext = content.get("ciphertext")
        if not isinstance(sender_key, str) or not isinstance(ciphertext, dict):
            raise Malformed("olm_malformed")
        message = _parse(ciphertext.get(keys.curve25519), sender_key)
        plaintext, new_session = await self._decrypt(tx, puppet.id, sender_key, message)
        return _open(plaintext, puppet, keys, str(event["sender"]), sender_key, new_session)

    async def _decrypt(
        self, tx: Transaction, puppet_id: UUID, sender_key: str, message: vodozemac.AnyOlmMessage
    ) -> tuple[bytes, bool]:
        prekey = message.to_pre_key()
        rows = await tx.fetch(
            """SELECT session_id, pickle FROM olm_session WHERE puppet_id = $1 AND their_key = $2
               ORDER BY used_at DESC""",
            puppet_id,
            sender_key,
        )
        duplicate = False
        for row in rows:
            if prekey is not None and row["session_id"] != prekey.session_id():
                continue
            session = self._unpickle(puppet_id, row["session_id"], row["pickle"])
            try:
                plaintext = session.decrypt(message)
            except ValueError as error:
                # vodozemac's words for a message key that has been used; a wrong session fails its MAC.
                duplicate |= "can't be created" in str(error)
                continue
            await self._save(tx, puppet_id, sender_key, session)
            return plaintext, False
        if duplicate:
            raise Duplicate
        if prekey is None or any(row["session_id"] == prekey.session_id() for row in rows):
            raise OlmFailed
        return await self._accept(tx, puppet_id, sender_key, prekey), True

    async def _accept(
        self, tx: Transaction, puppet_id: UUID, sender_key: str, prekey: vodozemac.PreKeyMessage
    ) -> bytes:
        account = await self._accounts.lock(tx, puppet_id)
        if account is None:
            raise OlmFailed
        try:
            their_key = vodozemac.Curve25519PublicKey.from_base64(sender_key)
            session, plaintext = account.create_inbound_session(their_key, prekey)
        except ValueError:
            raise OlmFailed from None
        await self._accounts.save(tx, puppet_id, account)  # the one-time key is used up
        await self._save(tx, puppet_id, sender_key, session)
        await self._prune(tx, puppet_id, sender_key)
        return bytes(plaintext)

    async def encrypt(
        self, tx: Transaction, puppet: Puppet, keys: Keys, device: Device, type: str, content: Json
    ) -> Json | None:
        """The content of an `m.room.encrypted` to-device message; None when there is no session yet."""
        row = await tx.fetchrow(
            """SELECT session_id, pickle FROM olm_session WHERE puppet_id = $1 AND their_key = $2
               ORDER BY used_at DESC LIMIT 1""",
            puppet.id,
            device.curve25519,
        )
        if row is None:
            return None
        session = self._unpickle(puppet.id, row["session_id"], row["pickle"])
        message = session.encrypt(_payload(puppet, keys, device, type, content))
        await tx.execute(
            "UPDATE olm_session SET pickle = $4 WHERE puppet_id = $1 AND their_key = $2 AND session_id = $3",
            puppet.id,
            device.curve25519,
            row["session_id"],
            self._pickle(puppet.id, session),
        )
        kind, ciphertext = message.to_parts()
        body = {"type": kind, "body": base64.b64encode(ciphertext).rstrip(b"=").decode()}
        return {"algorithm": OLM, "sender_key": keys.curve25519, "ciphertext": {device.curve25519: body}}

    async def open(self, tx: Transaction, puppet_id: UUID, device: Device, one_time_key: str) -> None:
        """A new session to this device, which messages use from now on."""
        account = await self._accounts.for_outbound(tx, puppet_id)
        session = account.create_outbound_session(
            vodozemac.Curve25519PublicKey.from_base64(device.curve25519),
            vodozemac.Curve25519PublicKey.from_base64(one_time_key),
        )
        await self._save(tx, puppet_id, device.curve25519, session)
        await self._prune(tx, puppet_id, device.curve25519)

    async def exist_for(self, tx: Transaction, puppet_id: UUID, their_keys: list[str]) -> set[str]:
        rows = await tx.fetch(
            "SELECT DISTINCT their_key FROM olm_session WHERE puppet_id = $1 AND their_key = ANY($2::text[])",
            puppet_id,
            their_keys,
        )
        return {row["their_key"] for row in rows}

    async def _save(
        self, tx: Transaction, puppet_id: UUID, their_key: str, session: vodozemac.Session
    ) -> None:
        # clock_timestamp: within one transaction the later of two sessions must come first.
        await tx.execute(
            """INSERT INTO olm_session (puppet_id, their_key, session_id, pickle, used_at)
               VALUES ($1, $2, $3, $4, clock_timestamp())
               ON CONFLICT (puppet_id, their_key, session_id)
               DO UPDATE SET pickle = excluded.pickle, used_at = excluded.used_at""",
            puppet_id,
            their_key,
            session.session_id,
            self._pickle(puppet_id, session),
        )

    async def _prune(self, tx: Transaction, puppet_id: UUID, their_key: str) -> None:
        await tx.execute(
            """DELETE FROM olm_session WHERE (puppet_id, their_key, session_id) IN (
                   SELECT puppet_id, their_key, session_id FROM olm_session
                   WHERE puppet_id = $1 AND their_key = $2 ORDER BY used_at DESC OFFSET $3)""",
            puppet_id,
            their_key,
            KEPT_SESSIONS,
        )

    def _pickle(self, puppet_id: UUID, session: vodozemac.Session) -> str:
        return session.pickle(self._sealing.derive(f"olm {puppet_id} {session.session_id}"))

    def _unpickle(self, puppet_id: UUID, session_id: str, pickle: str) -> vodozemac.Session:
        return vodozemac.Session.from_pickle(pickle, self._sealing.derive(f"olm {puppet_id} {session_id}"))


def _parse(part: Any, sender_key: str) -> vodozemac.AnyOlmMessage:
    if part is None:
        raise Malformed("olm_not_for_us")
    try:
        if part["type"] not in (_PREKEY, _NORMAL):
            raise Malformed("olm_malformed")
        body = str(part["body"])
        raw = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        # The key goes into a table and into comparisons: one spelling only.
        if vodozemac.Curve25519PublicKey.from_base64(sender_key).to_base64() != sender_key:
            raise Malformed("olm_malformed")
        return vodozemac.AnyOlmMessage.from_parts(part["type"], raw)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Malformed("olm_malformed") from None


def _payload(puppet: Puppet, keys: Keys, device: Device, type: str, content: Json) -> bytes:
    """With our device keys inside (Matrix 1.15), the receiver knows the sender without asking first."""
    return canonical(
        {
            "type": type,
            "content": content,
            "sender": puppet.user_id,
            "keys": {"ed25519": keys.ed25519},
            "recipient": device.user_id,
            "recipient_keys": {"ed25519": device.ed25519},
            "sender_device_keys": keys.device_keys,
        }
    )


def _open(
    plaintext: bytes, puppet: Puppet, keys: Keys, sender: str, sender_key: str, new_session: bool
) -> Opened:
    try:
        payload = json.loads(plaintext)
        type, content = payload["type"], payload["content"]
        claimed, recipient = payload["sender"], payload["recipient"]
        ours, theirs = payload["recipient_keys"]["ed25519"], payload["keys"]["ed25519"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise Malformed("olm_malformed") from None
    if not isinstance(type, str) or not isinstance(content, dict) or not isinstance(theirs, str):
        raise Malformed("olm_malformed")
    if claimed != sender or recipient != puppet.user_id or ours != keys.ed25519:
        raise WrongSender
    try:
        if vodozemac.Ed25519PublicKey.from_base64(theirs).to_base64() != theirs:
            raise Malformed("olm_malformed")
    except ValueError:
        raise Malformed("olm_malformed") from None
    return Opened(type, content, sender_key, theirs, new_session)
