"""A leg's session is shared with exactly the devices that may have it, before anything is encrypted with it.

Ciphertexts are stored before they are sent; after a crash the stored ones go out again under the same
transaction id. Only when the homeserver has taken them all does the session count as shared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID, uuid4

from appservice.crypto.account import Accounts, Keys
from appservice.crypto.cache import Cache
from appservice.crypto.claims import claim
from appservice.crypto.devices import Devices
from appservice.crypto.errors import ShareOutdated
from appservice.crypto.megolm_out import OutboundSessions, OutboundState, Place
from appservice.crypto.model import MEGOLM, Device, Hold, Puppet, acting
from appservice.crypto.olm import OlmSessions
from appservice.crypto.share_view import View, Views
from appservice.crypto.withhold import tell_unverified
from appservice.faults import point
from appservice.homeserver import Homeserver
from bridge.database import Pool, Transaction, transaction
from bridge.sealing import DataKey

Json = dict[str, Any]

# Somebody else's share or a new device can come between looking and writing; not this often.
ATTEMPTS = 5
# A device that had no one-time key to give is asked again after this long.
RETRY_AFTER = "10 minutes"


class Sharing:
    """Table megolm_share, and the making of sessions in megolm_outbound."""

    def __init__(
        self,
        homeserver: Homeserver,
        devices_key: DataKey,
        accounts: Accounts,
        devices: Devices,
        olm: OlmSessions,
        outbound: OutboundSessions,
    ) -> None:
        self._homeserver = homeserver
        self._sealing = devices_key
        self._accounts = accounts
        self._devices = devices
        self._views = Views(devices)
        self._olm = olm
        self._outbound = outbound
        # Sessions found complete. Only a hint: encryption itself notices when that is no longer so.
        self._complete: Cache[Place, tuple[str, OutboundState]] = Cache(5000)

    def outdated(self, place: Place) -> None:
        self._complete.pop(place)

    def outdated_for(self, user_ids: Collection[str]) -> None:
        for place, (user_id, _) in self._complete.items():
            if user_id in user_ids:
                self._complete.pop(place)

    async def ensure(
        self, pool: Pool, place: Place, room_id: str, puppet: Puppet, user_id: str
    ) -> OutboundState | Hold:
        if (complete := self._complete.get(place)) is not None:
            return complete[1]
        asked = False
        for _ in range(ATTEMPTS):
            view = await self._views.look(pool, place, room_id, user_id)
            if view.row["complete"]:
                return self._remember(place, user_id, view)
            # News of devices can get lost, so every new session begins with a look at them.
            if view.row["stale"] or (not asked and (view.recipients.hold is None and view.needs_fresh)):
                await self._devices.refresh(pool, [user_id], acting(puppet))
                asked = True
            elif view.recipients.hold is not None:
                return view.recipients.hold
            elif hold := await self._share(pool, place, room_id, puppet, user_id, view):
                return hold
        raise ShareOutdated

    def _remember(self, place: Place, user_id: str, view: View) -> OutboundState:
        state = OutboundState(view.row["session_id"], view.row["next_index"])
        if view.row["retry_at"] is None:
            self._complete.put(place, (user_id, state))
        return state

    async def _share(
        self, pool: Pool, place: Place, room_id: str, puppet: Puppet, user_id: str, view: View
    ) -> Hold | None:
        """Store what is to be sent, then send all that is stored. None: look again."""
        keys = await self._accounts.keys(pool, puppet)
        if keys is None:
            raise ShareOutdated("this user has no device yet")
        if missing := view.missing:
            one_time_keys = await self._claim(pool, puppet, missing)
            try:
                async with transaction(pool) as tx:
                    if not await self._unmoved(tx, place, room_id, user_id, view):
                        return None
                    await self._store(tx, place, room_id, puppet, keys, user_id, view, one_time_keys)
            except _NobodyReachable:
                return Hold("no_device", "no_one_time_key")
        point("share.stored")
        session_id = await self._send(pool, place, puppet, view.row["version"])
        if view.needs_fresh and session_id is not None:
            unsigned = await self._devices.unsigned(pool, user_id)
            await tell_unverified(self._homeserver, puppet, keys, unsigned, room_id, session_id)
        return None

    async def _claim(self, pool: Pool, puppet: Puppet, missing: list[Device]) -> dict[str, str]:
        async with pool.acquire() as connection:
            have = await self._olm.exist_for(connection, puppet.id, [d.curve25519 for d in missing])
        return await claim(self._homeserver, puppet, [d for d in missing if d.curve25519 not in have])

    async def _unmoved(self, tx: Transaction, place: Place, room_id: str, user_id: str, view: View) -> bool:
        """Whether devices and session are still as seen; nobody else shares for this puppet meanwhile."""
        await self._olm.lock(tx, place[1])
        return await self._views.is_current(tx, place, room_id, user_id, view)

    async def _store(
        self,
        tx: Transaction,
        place: Place,
        room_id: str,
        puppet: Puppet,
        keys: Keys,
        user_id: str,
        view: View,
        one_time_keys: Mapping[str, str],
    ) -> None:
        if view.needs_fresh:
            session = await self._outbound.start(tx, place, room_id, user_id)
            shares: Mapping[str, Any] = {}
        else:
            locked = await self._outbound.lock(tx, place)
            assert locked is not None
            session, shares = locked.session, view.shares
        txn_id, reached = uuid4().hex, 0
        for device in view.missing:
            if one_time_key := one_time_keys.get(device.device_id):
                await self._olm.open(tx, puppet.id, device, one_time_key)
            if device.device_id in shares:  # it lost the key that it was given
                session_key = await self._shared_key(tx, place, device)
            else:
                session_key = session.session_key.to_base64()
            body = _room_key(room_id, session.session_id, session_key)
            content = await self._olm.encrypt(tx, puppet, keys, device, "m.room_key", body)
            if content is None:
                await self._drop(tx, place, device)
            else:
                await self._keep(tx, place, device, session_key, txn_id, content)
                reached += 1
        if not reached and not any(share["held"] for share in shares.values()):
            raise _NobodyReachable
        await tx.execute(
            f"""UPDATE megolm_outbound SET shared_version = NULL,
                    retry_at = CASE WHEN $3 THEN now() + interval '{RETRY_AFTER}' END
                WHERE leg_id = $1 AND puppet_id = $2""",
            *place,
            reached < len(view.missing),
        )

    async def _keep(
        self, tx: Transaction, place: Place, device: Device, session_key: str, txn_id: str, content: Json
    ) -> None:
        sealed = self._sealing.seal(session_key.encode(), _context(place, device))
        await tx.execute(
            """INSERT INTO megolm_share
                   (leg_id, puppet_id, device_id, curve25519, key_sealed, txn_id, content)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (leg_id, puppet_id, device_id)
               DO UPDATE SET txn_id = excluded.txn_id, content = excluded.content""",
            *place,
            device.device_id,
            device.curve25519,
            sealed,
            txn_id,
            content,
        )

    async def _drop(self, tx: Transaction, place: Place, device: Device) -> None:
        await tx.execute(
            "DELETE FROM megolm_share WHERE leg_id = $1 AND puppet_id = $2 AND device_id = $3",
            *place,
            device.device_id,
        )

    async def _shared_key(self, tx: Transaction, place: Place, device: Device) -> str:
        sealed = await tx.fetchval(
            "SELECT key_sealed FROM megolm_share WHERE leg_id = $1 AND puppet_id = $2 AND device_id = $3",
            *place,
            device.device_id,
        )
        return self._sealing.open(sealed, _context(place, device)).decode()

    async def _send(self, pool: Pool, place: Place, puppet: Puppet, version: int) -> str | None:
        """Returns the session of what was sent."""
        rows = await pool.fetch(
            """SELECT o.user_id, o.session_id, s.device_id, s.txn_id, s.content
               FROM megolm_share s JOIN megolm_outbound o USING (leg_id, puppet_id)
               WHERE leg_id = $1 AND puppet_id = $2 AND s.content IS NOT NULL AND s.sent_at IS NULL""",
            *place,
        )
        for txn_id in {row["txn_id"] for row in rows}:
            batch = [row for row in rows if row["txn_id"] == txn_id]
            messages = {batch[0]["user_id"]: {row["device_id"]: row["content"] for row in batch}}
            await self._homeserver.send_to_device("m.room.encrypted", txn_id, messages, acting(puppet))
        point("share.sent")
        async with transaction(pool) as tx:
            await tx.execute(
                """UPDATE megolm_share SET sent_at = now(), content = NULL
                   WHERE leg_id = $1 AND puppet_id = $2 AND txn_id = ANY($3::text[])""",
                *place,
                [row["txn_id"] for row in rows],
            )
            await tx.execute(
                """UPDATE megolm_outbound o SET shared_version = $3
                   WHERE o.leg_id = $1 AND o.puppet_id = $2 AND NOT EXISTS (
                       SELECT FROM megolm_share s
                       WHERE s.leg_id = o.leg_id AND s.puppet_id = o.puppet_id AND s.sent_at IS NULL)""",
                *place,
                version,
            )
        return rows[0]["session_id"] if rows else None

    async def lost(self, tx: Transaction, puppet: Puppet, user_id: str, their_key: str) -> set[UUID]:
        """A device has lost its Olm session, and so perhaps our keys: it gets the current ones again.
        Returns the legs to share in."""
        rows = await tx.fetch(
            """UPDATE megolm_share s SET sent_at = NULL, content = NULL
               FROM megolm_outbound o
               WHERE o.leg_id = s.leg_id AND o.puppet_id = s.puppet_id AND o.user_id = $2
                   AND s.puppet_id = $1 AND s.curve25519 = $3 AND s.sent_at < now() - interval '5 seconds'
               RETURNING s.leg_id""",
            puppet.id,
            user_id,
            their_key,
        )
        legs = {row["leg_id"] for row in rows}
        for leg_id in legs:
            self.outdated((leg_id, puppet.id))
        await tx.execute(
            """UPDATE megolm_outbound SET shared_version = NULL
               WHERE puppet_id = $1 AND leg_id = ANY($2::uuid[])""",
            puppet.id,
            list(legs),
        )
        return legs


class _NobodyReachable(Exception):
    """Takes the transaction back: a session that nobody can read is not worth having."""


def _context(place: Place, device: Device) -> str:
    return f"megolm share {place[0]} {place[1]} {device.device_id}"


def _room_key(room_id: str, session_id: str, session_key: str) -> Json:
    return {"algorithm": MEGOLM, "room_id": room_id, "session_id": session_id, "session_key": session_key}
