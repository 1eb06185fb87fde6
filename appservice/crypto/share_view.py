"""Where a session's sharing stands: what the tables say at one moment, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appservice.crypto.devices import NO_DEVICE_AGE, Devices
from appservice.crypto.megolm_out import ROTATE_AFTER_DAYS, ROTATE_AFTER_MESSAGES, Place
from appservice.crypto.model import Device, Recipients
from bridge.database import Pool, Transaction

# The left joins answer also where there is no user or no session yet. `holders`: who has (or is about to
# get) the key, to notice a share made by another process.
_LOOK = f"""
    SELECT u.version, o.session_id, o.next_index, o.retry_at,
        coalesce(u.changed > u.fetched
                 OR u.fetched_at < now() - interval '{NO_DEVICE_AGE}' AND NOT EXISTS (
                     SELECT FROM crypto_device d WHERE d.user_id = u.user_id AND NOT d.gone), true) AS stale,
        coalesce(o.room_id <> $4 OR o.user_id <> $3 OR o.next_index >= {ROTATE_AFTER_MESSAGES}
                 OR o.created_at <= now() - interval '{ROTATE_AFTER_DAYS} days', true) AS used_up,
        coalesce(u.version = o.shared_version AND u.changed <= u.fetched AND u.state <> 'changed'
                 AND o.room_id = $4 AND o.user_id = $3 AND o.next_index < {ROTATE_AFTER_MESSAGES}
                 AND o.created_at > now() - interval '{ROTATE_AFTER_DAYS} days'
                 AND (o.retry_at IS NULL OR o.retry_at > now()), false) AS complete,
        (SELECT count(*) FROM megolm_share s WHERE s.leg_id = $1 AND s.puppet_id = $2
            AND (s.content IS NOT NULL OR s.sent_at IS NOT NULL)) AS holders
    FROM (SELECT) AS always
        LEFT JOIN crypto_user u ON u.user_id = $3
        LEFT JOIN megolm_outbound o ON o.leg_id = $1 AND o.puppet_id = $2"""


@dataclass(frozen=True, slots=True)
class View:
    """What the tables said at one moment about a session and the devices that may have it."""

    row: Mapping[str, Any]
    recipients: Recipients
    shares: Mapping[str, Mapping[str, Any]]  # device id → row of megolm_share

    @property
    def trusted(self) -> dict[str, Device]:
        return {device.device_id: device for device in self.recipients.devices}

    @property
    def needs_fresh(self) -> bool:
        """A new session: there is none, it is used up, or a device has its key that may no longer."""
        trusted = self.trusted
        return bool(self.row["used_up"]) or any(
            device_id not in trusted or trusted[device_id].curve25519 != share["curve25519"]
            for device_id, share in self.shares.items()
        )

    @property
    def missing(self) -> list[Device]:
        """Who has to get a key, a prepared ciphertext not counted. A fresh session goes to everybody."""
        if self.needs_fresh:
            return list(self.recipients.devices)
        return [
            d
            for d in self.recipients.devices
            if not (self.shares.get(d.device_id) or {"held": False})["held"]
        ]


class Views:
    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    async def look(self, pool: Pool, place: Place, room_id: str, user_id: str) -> View:
        """One query where everything is in order, three where something has to be done."""
        async with pool.acquire() as connection:
            row = await connection.fetchrow(_LOOK, *place, user_id, room_id)
            assert row is not None
            if row["complete"]:
                return View(row, Recipients(), {})
            shares = await connection.fetch(
                """SELECT device_id, curve25519, sent_at IS NOT NULL OR content IS NOT NULL AS held
                   FROM megolm_share WHERE leg_id = $1 AND puppet_id = $2""",
                *place,
            )
            recipients = await self._devices.recipients(connection, user_id)
            return View(row, recipients, {share["device_id"]: share for share in shares})

    async def is_current(self, tx: Transaction, place: Place, room_id: str, user_id: str, view: View) -> bool:
        """Whether devices and session are still as seen."""
        row = await tx.fetchrow(_LOOK, *place, user_id, room_id)
        return row is not None and all(
            row[name] == view.row[name] for name in ("version", "session_id", "stale", "used_up", "holders")
        )
