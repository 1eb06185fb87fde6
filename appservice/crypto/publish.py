"""Our devices at the homeserver: made, cross-signed, and never without keys to open a session with.

Every step is saved before it is uploaded and may be repeated; a crash anywhere is made good by running again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from appservice.crypto.account import Accounts
from appservice.crypto.claims import ALGORITHM
from appservice.crypto.model import Puppet, acting
from appservice.faults import point
from appservice.homeserver import Homeserver
from bridge.database import Pool, transaction

# Shown to clients in their lists of devices.
DEVICE_NAME = "Ruh"


class Publishing:
    def __init__(self, homeserver: Homeserver, accounts: Accounts) -> None:
        self._homeserver = homeserver
        self._accounts = accounts

    async def provision(self, pool: Pool, puppet: Puppet) -> None:
        """Bring a puppet's user, device, identity and keys to the homeserver. No effect the second time."""
        keys = await self._accounts.keys(pool, puppet)
        if keys is not None and keys.published:
            return
        await self._homeserver.register_user(puppet.user_id[1:].split(":", 1)[0])
        await self._homeserver.ensure_device(acting(puppet), DEVICE_NAME)
        async with transaction(pool) as tx:
            await self._accounts.create(tx, puppet)
        identity = await self._accounts.identity(pool, puppet)
        await self._homeserver.upload_signing_keys(acting(puppet), identity.upload(puppet.user_id))
        keys = await self._accounts.keys(pool, puppet)
        assert keys is not None
        body = await self._accounts.new_keys(pool, puppet, have=0, fallback_used=False)
        point("keys.saved")
        await self._homeserver.upload_keys(acting(puppet), body | {"device_keys": keys.device_keys})
        await self._accounts.uploaded(pool, puppet, body)

    async def one_time_keys(
        self,
        pool: Pool,
        puppet: Puppet,
        counts: Mapping[str, int] | None,
        unused_fallback_types: Collection[str] | None,
    ) -> None:
        """Top up from what `/sync` says. A missing count is zero; unknown fallback types are left alone."""
        have = (counts or {}).get(ALGORITHM, 0)
        used = unused_fallback_types is not None and ALGORITHM not in unused_fallback_types
        if not used and not self._accounts.are_few(puppet, have):
            return
        body = await self._accounts.new_keys(pool, puppet, have=have, fallback_used=used)
        if body:
            await self._homeserver.upload_keys(acting(puppet), body)
            await self._accounts.uploaded(pool, puppet, body)
