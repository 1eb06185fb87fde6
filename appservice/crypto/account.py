"""A puppet's Olm account: saved before anything of it is uploaded, locked whenever it changes.

One-time keys count as published from the moment they are saved. A crash before the upload wastes them and
the homeserver's count asks for new ones; the other way round a key could be handed out twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import vodozemac

from appservice.crypto.canonical import canonical
from appservice.crypto.identity import SEED, Identity
from appservice.crypto.model import MEGOLM, OLM, Puppet
from bridge.database import Pool, Transaction, transaction
from bridge.sealing import DataKey

Json = dict[str, Any]

# A mask talks to the devices of a single client; the others to those of many.
ONE_TIME_KEYS = {"assistant": 50, "face": 50, "mask": 10}


@dataclass(slots=True)
class Keys:
    """The public half of a puppet's device, which never changes."""

    curve25519: str
    ed25519: str
    device_keys: Json
    published: bool


class Accounts:
    """Table crypto_account."""

    def __init__(self, devices_key: DataKey) -> None:
        self._sealing = devices_key
        self._keys: dict[UUID, Keys] = {}
        self._outbound: dict[UUID, vodozemac.Account] = {}

    async def keys(self, tx: Transaction | Pool, puppet: Puppet) -> Keys | None:
        """Public keys; None before the account was made. Remembered once they are published."""
        if found := self._keys.get(puppet.id):
            return found
        row = await tx.fetchrow(
            "SELECT curve25519, ed25519, device_keys, published_at FROM crypto_account WHERE puppet_id = $1",
            puppet.id,
        )
        if row is None:
            return None
        keys = Keys(row["curve25519"], row["ed25519"], row["device_keys"], row["published_at"] is not None)
        if keys.published:
            self._keys[puppet.id] = keys
        return keys

    async def create(self, tx: Transaction, puppet: Puppet) -> None:
        """Make account, identity and signed device keys; a second process's attempt leaves the first's."""
        account = vodozemac.Account()
        account.generate_fallback_key()  # type: ignore[attr-defined]
        fallback = _signed(
            account,
            puppet,
            account.fallback_key,  # type: ignore[attr-defined]
            fallback=True,
        )
        account.mark_keys_as_published()
        seeds = os.urandom(3 * SEED)
        device_keys = _device_keys(account, puppet)
        Identity(seeds).self_signing.sign(device_keys, puppet.user_id)
        await tx.execute(
            """INSERT INTO crypto_account
                   (puppet_id, curve25519, ed25519, pickle, identity_sealed, device_keys, fallback_pending)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
            puppet.id,
            account.curve25519_key.to_base64(),
            account.ed25519_key.to_base64(),
            self._pickle(account, puppet.id),
            self._sealing.seal(seeds, f"cross-signing {puppet.id}"),
            device_keys,
            fallback,
        )

    async def identity(self, tx: Transaction | Pool, puppet: Puppet) -> Identity:
        sealed = await tx.fetchval(
            "SELECT identity_sealed FROM crypto_account WHERE puppet_id = $1", puppet.id
        )
        return Identity(self._sealing.open(sealed, f"cross-signing {puppet.id}"))

    async def lock(self, tx: Transaction, puppet_id: UUID) -> vodozemac.Account | None:
        """The account, to be changed and saved in this transaction."""
        pickle = await tx.fetchval(
            "SELECT pickle FROM crypto_account WHERE puppet_id = $1 FOR UPDATE", puppet_id
        )
        return None if pickle is None else self._unpickle(pickle, puppet_id)

    async def save(self, tx: Transaction, puppet_id: UUID, account: vodozemac.Account) -> None:
        await tx.execute(
            "UPDATE crypto_account SET pickle = $2 WHERE puppet_id = $1",
            puppet_id,
            self._pickle(account, puppet_id),
        )

    async def for_outbound(self, tx: Transaction, puppet_id: UUID) -> vodozemac.Account:
        """The account to open sessions with. That uses its identity keys only, so any version will do."""
        if (found := self._outbound.get(puppet_id)) is None:
            pickle = await tx.fetchval("SELECT pickle FROM crypto_account WHERE puppet_id = $1", puppet_id)
            if len(self._outbound) >= 256:  # an unpickled account is about 20 kB
                self._outbound.clear()
            found = self._outbound[puppet_id] = self._unpickle(pickle, puppet_id)
        return found

    def are_few(self, puppet: Puppet, have: int) -> bool:
        return have < ONE_TIME_KEYS[puppet.kind] / 2

    async def new_keys(self, pool: Pool, puppet: Puppet, *, have: int, fallback_used: bool) -> Json:
        """Save what is missing and return the body that uploads it; empty when nothing is missing."""
        wanted = ONE_TIME_KEYS[puppet.kind] - have if self.are_few(puppet, have) else 0
        async with transaction(pool) as tx:
            account = await self.lock(tx, puppet.id)
            if account is None:
                return {}
            pending = await tx.fetchval(
                "SELECT fallback_pending FROM crypto_account WHERE puppet_id = $1", puppet.id
            )
            # A fallback key is used many times, so the same one may go up again. A second new one in a
            # row would make vodozemac forget the one that the homeserver is still giving out.
            if fallback_used and pending is None:
                account.generate_fallback_key()  # type: ignore[attr-defined]
                pending = _signed(
                    account,
                    puppet,
                    account.fallback_key,  # type: ignore[attr-defined]
                    fallback=True,
                )
                await tx.execute(
                    "UPDATE crypto_account SET fallback_pending = $2 WHERE puppet_id = $1", puppet.id, pending
                )
            account.generate_one_time_keys(wanted)
            one_time = _signed(account, puppet, account.one_time_keys)
            account.mark_keys_as_published()
            await self.save(tx, puppet.id, account)
        body = {}
        if one_time:
            body["one_time_keys"] = one_time
        if pending:
            body["fallback_keys"] = pending
        return body

    async def uploaded(self, pool: Pool, puppet: Puppet, body: Json) -> None:
        """The homeserver has these keys, and the device keys and the identity with them."""
        await pool.execute(
            """UPDATE crypto_account SET published_at = coalesce(published_at, now()),
                   fallback_pending = CASE WHEN fallback_pending = $2 THEN NULL ELSE fallback_pending END
               WHERE puppet_id = $1""",
            puppet.id,
            body.get("fallback_keys"),
        )

    def _pickle(self, account: vodozemac.Account, puppet_id: UUID) -> str:
        return account.pickle(self._sealing.derive(f"olm account {puppet_id}"))

    def _unpickle(self, pickle: str, puppet_id: UUID) -> vodozemac.Account:
        return vodozemac.Account.from_pickle(pickle, self._sealing.derive(f"olm account {puppet_id}"))


def _device_keys(account: vodozemac.Account, puppet: Puppet) -> Json:
    keys: Json = {
        "user_id": puppet.user_id,
        "device_id": puppet.device_id,
        "algorithms": [OLM, MEGOLM],
        "keys": {
            f"curve25519:{puppet.device_id}": account.curve25519_key.to_base64(),
            f"ed25519:{puppet.device_id}": account.ed25519_key.to_base64(),
        },
    }
    signature = account.sign(canonical(keys)).to_base64()
    return keys | {"signatures": {puppet.user_id: {f"ed25519:{puppet.device_id}": signature}}}


def _signed(
    account: vodozemac.Account,
    puppet: Puppet,
    keys: dict[str, vodozemac.Curve25519PublicKey],
    *,
    fallback: bool = False,
) -> Json:
    signed: Json = {}
    for key_id, key in keys.items():
        body: Json = {"key": key.to_base64()} | ({"fallback": True} if fallback else {})
        signature = account.sign(canonical(body)).to_base64()
        signatures = {puppet.user_id: {f"ed25519:{puppet.device_id}": signature}}
        signed[f"signed_curve25519:{key_id}"] = body | {"signatures": signatures}
    return signed
