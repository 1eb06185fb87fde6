"""Mending: a device whose messages we can't read gets a new Olm session and an `m.dummy` over it.

Its client then sends its current key again. At most once an hour a device, or two ends that both find the
other broken would never stop.
"""

from __future__ import annotations

from uuid import UUID, uuid4

from appservice.crypto.account import Accounts
from appservice.crypto.claims import claim
from appservice.crypto.model import Device, Puppet, acting
from appservice.crypto.olm import OlmSessions
from appservice.homeserver import Homeserver, HomeserverError
from bridge.database import Pool, transaction


class Replacement:
    """Table olm_replacement."""

    def __init__(self, homeserver: Homeserver, accounts: Accounts, olm: OlmSessions) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._olm = olm

    async def replace(self, pool: Pool, puppet: Puppet, user_id: str, device_id: str) -> bool:
        """False: an unknown device, one without keys, or too soon after the last time."""
        keys = await self._accounts.keys(pool, puppet)
        row = await pool.fetchrow(
            """SELECT user_id, device_id, curve25519, ed25519, signed FROM crypto_device
               WHERE user_id = $1 AND device_id = $2 AND NOT gone""",
            user_id,
            device_id,
        )
        if keys is None or row is None or not await self._may(pool, puppet.id, user_id, device_id):
            return False
        device = Device(*row)
        try:
            one_time_keys = await claim(self._homeserver, puppet, [device])
            if device_id not in one_time_keys:
                return False
            async with transaction(pool) as tx:
                await self._olm.lock(tx, puppet.id)
                await self._olm.open(tx, puppet.id, device, one_time_keys[device_id])
                content = await self._olm.encrypt(tx, puppet, keys, device, "m.dummy", {})
            assert content is not None
            message = {user_id: {device_id: content}}
            await self._homeserver.send_to_device("m.room.encrypted", uuid4().hex, message, acting(puppet))
        except HomeserverError:
            await self._allow(pool, puppet.id, user_id, device_id)
            raise
        return True

    async def _may(self, pool: Pool, puppet_id: UUID, user_id: str, device_id: str) -> bool:
        taken = await pool.fetchval(
            """INSERT INTO olm_replacement (puppet_id, user_id, device_id, at) VALUES ($1, $2, $3, now())
               ON CONFLICT (puppet_id, user_id, device_id) DO UPDATE SET at = now()
                   WHERE olm_replacement.at < now() - interval '1 hour'
               RETURNING true""",
            puppet_id,
            user_id,
            device_id,
        )
        return taken is True

    async def _allow(self, pool: Pool, puppet_id: UUID, user_id: str, device_id: str) -> None:
        await pool.execute(
            "DELETE FROM olm_replacement WHERE puppet_id = $1 AND user_id = $2 AND device_id = $3",
            puppet_id,
            user_id,
            device_id,
        )
