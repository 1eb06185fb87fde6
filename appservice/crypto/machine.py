"""The encryption of this service: the one object that the rest of the appservice sees.

Methods that take `tx` work in the caller's transaction and make no request; those that take `pool` speak to
the homeserver and commit their own steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from appservice.crypto.account import Accounts
from appservice.crypto.devices import Devices
from appservice.crypto.errors import ShareOutdated
from appservice.crypto.megolm_in import Decrypted, InboundSessions
from appservice.crypto.megolm_out import OutboundSessions, OutboundState
from appservice.crypto.model import Hold, Puppet, Received, Recipients, acting
from appservice.crypto.olm import OlmSessions
from appservice.crypto.publish import Publishing
from appservice.crypto.replace import Replacement
from appservice.crypto.share import Sharing
from appservice.crypto.to_device import Inbox, senders
from appservice.homeserver import Acting, Homeserver
from bridge.database import Pool, Transaction
from bridge.sealing import DataKey

Json = dict[str, Any]


class Machine:
    """One a process, for all of its puppets."""

    def __init__(self, homeserver: Homeserver, devices_key: DataKey) -> None:
        self._accounts = Accounts(devices_key)
        self._publishing = Publishing(homeserver, self._accounts)
        self._devices = Devices(homeserver)
        self._olm = OlmSessions(devices_key, self._accounts)
        self._inbound = InboundSessions(devices_key)
        self._outbound = OutboundSessions(devices_key)
        self._sharing = Sharing(
            homeserver, devices_key, self._accounts, self._devices, self._olm, self._outbound
        )
        self._inbox = Inbox(self._accounts, self._devices, self._olm, self._inbound, self._sharing)
        self._replacement = Replacement(homeserver, self._accounts, self._olm)

    # Our own devices

    async def provision(self, pool: Pool, puppet: Puppet) -> None:
        """Make the puppet's user, device, identity and keys. Repeat it until it has once returned."""
        await self._publishing.provision(pool, puppet)

    async def one_time_keys(
        self,
        pool: Pool,
        puppet: Puppet,
        counts: Mapping[str, int] | None,
        unused_fallback_types: Collection[str] | None,
    ) -> None:
        """After a sync of this puppet's device, with what it said; costs nothing when enough are left."""
        await self._publishing.one_time_keys(pool, puppet, counts, unused_fallback_types)

    # Other people's devices

    async def devices_changed(self, tx: Transaction, user_ids: Collection[str]) -> None:
        """`device_lists.changed` and `.left` of a sync, in the transaction of its token."""
        if user_ids:
            await self._devices.changed(tx, user_ids)
            self._sharing.outdated_for(user_ids)

    async def refresh_devices(
        self, pool: Pool, user_ids: Collection[str], acting: Acting | None = None
    ) -> None:
        """Look at these people's devices now, as a user who shares a room with them (else the assistant)."""
        await self._devices.refresh(pool, user_ids, acting)
        self._sharing.outdated_for(user_ids)

    async def learn_senders(self, pool: Pool, puppet: Puppet, events: Iterable[Any]) -> None:
        """Before the transaction of a sync: look at devices that sent something and that we don't know."""
        if found := senders(events):
            unknown = await self._devices.unknown_among(pool, found)
            await self.refresh_devices(pool, unknown, acting(puppet))

    async def recipients(self, tx: Transaction, user_id: str) -> Recipients:
        """The devices that may have keys as far as we know now, or why there are none."""
        return await self._devices.recipients(tx, user_id)

    async def release_identity(self, tx: Transaction, user_id: str) -> None:
        """Trust a changed identity: somebody has made sure that it is really theirs."""
        await self._devices.release(tx, user_id)

    # Receiving

    async def receive_to_device(self, tx: Transaction, puppet: Puppet, events: Iterable[Any]) -> Received:
        return await self._inbox.receive(tx, puppet, events)

    async def decrypt_event(self, tx: Transaction, room_id: str, event: Mapping[str, Any]) -> Decrypted:
        """Raises MissingSession, UnknownDevice, Replayed, WrongSender or Malformed."""
        return await self._inbound.decrypt(tx, room_id, event)

    async def replace_olm_session(self, pool: Pool, puppet: Puppet, user_id: str, device_id: str) -> bool:
        """Open a new session to a device whose messages we can't read; False: not now."""
        return await self._replacement.replace(pool, puppet, user_id, device_id)

    # Sending

    async def ensure_shared(
        self, pool: Pool, *, leg_id: UUID, room_id: str, puppet: Puppet, user_id: str
    ) -> OutboundState | Hold:
        """Share the session of (leg, puppet) with the devices of the leg's one person."""
        return await self._sharing.ensure(pool, (leg_id, puppet.id), room_id, puppet, user_id)

    async def encrypt(
        self,
        tx: Transaction,
        *,
        leg_id: UUID,
        room_id: str,
        puppet: Puppet,
        events: Sequence[tuple[str, Json]],
    ) -> list[Json]:
        """The contents of `m.room.encrypted` for (type, content). ShareOutdated: roll back, `ensure_shared`
        again."""
        keys = await self._accounts.keys(tx, puppet)
        if keys is None:
            raise ShareOutdated
        try:
            return await self._outbound.encrypt(
                tx, leg_id=leg_id, room_id=room_id, puppet=puppet, keys=keys, events=events
            )
        except ShareOutdated:
            self._sharing.outdated((leg_id, puppet.id))
            raise

    async def forget_leg(self, tx: Transaction, leg_id: UUID) -> None:
        """Delete the leg's sessions, ours and the client's."""
        await tx.execute("DELETE FROM megolm_outbound WHERE leg_id = $1", leg_id)
        room_id = await tx.fetchval("SELECT room_id FROM leg WHERE id = $1", leg_id)
        if room_id is not None:
            await self._inbound.forget_room(tx, room_id)
