"""Other people's devices and identities, pinned on first use.

A changed identity gets nothing more until somebody releases it. One cache serves all puppets; a version
number moves with every change in who may have keys, so that encryption notices with one comparison.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog

from appservice.crypto.device_lists import Proven, assess
from appservice.crypto.model import Device, Hold, Recipients
from appservice.crypto.together import Together
from appservice.homeserver import Acting, Homeserver
from bridge import identities
from bridge.database import Pool, Transaction, transaction
from bridge.errors import RuhError

log = structlog.get_logger()

# Somebody without a device is looked at again after this long, should the news of one have been lost.
NO_DEVICE_AGE = "5 minutes"


class Devices:
    """Tables crypto_user and crypto_device."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        # A blast begins a session with each of hundreds of people: that many questions cost as much as rooms.
        self._together: Together[tuple[Pool, Acting]] = Together(self._ask)

    async def changed(self, tx: Transaction, user_ids: Collection[str]) -> None:
        """The homeserver says that these people's devices changed; those that we don't know don't matter."""
        await tx.execute(
            """UPDATE crypto_user SET changed = changed + 1 WHERE user_id IN (
                   SELECT user_id FROM crypto_user WHERE user_id = ANY($1::text[])
                   ORDER BY user_id FOR NO KEY UPDATE)""",
            list(user_ids),
        )

    async def refresh(self, pool: Pool, user_ids: Collection[str], acting: Acting | None) -> None:
        """Ask for the devices of these people, check every signature, keep what holds."""
        if not user_ids:
            return
        await self._together.ask((pool, acting or await _assistant(pool)), user_ids)

    async def _ask(self, where: tuple[Pool, Acting], user_ids: Collection[str]) -> None:
        pool, acting = where
        ordered = sorted(user_ids)
        await pool.execute(
            "INSERT INTO crypto_user (user_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", ordered
        )
        # Read before the question is asked: a change while it is being answered stays unseen.
        rows = await pool.fetch(
            "SELECT user_id, changed FROM crypto_user WHERE user_id = ANY($1::text[])", ordered
        )
        answer = await self._homeserver.query_keys(acting, ordered)
        async with transaction(pool) as tx:
            for row in sorted(rows, key=lambda row: str(row["user_id"])):
                await self._store(tx, row["user_id"], assess(row["user_id"], answer), row["changed"])

    async def _store(self, tx: Transaction, user_id: str, proven: Proven, changed: int) -> None:
        user = await tx.fetchrow(
            "SELECT state, master_key, fetched FROM crypto_user WHERE user_id = $1 FOR NO KEY UPDATE",
            user_id,
        )
        if user is None or user["fetched"] > changed:
            return  # somebody else has asked since
        rows = await tx.fetch(
            """SELECT user_id, device_id, curve25519, ed25519, signed, gone FROM crypto_device
               WHERE user_id = $1""",
            user_id,
        )
        known = {row["device_id"]: Device(*row[:5]) for row in rows}
        there = [known[row["device_id"]] for row in rows if not row["gone"]]
        # A device's keys never change: the same id with another key is another device, and refused.
        good = [d for d in proven.devices if _keys(known.get(d.device_id, d)) == _keys(d)]
        if set(good) != set(there):
            await self._store_devices(tx, user_id, good)
        refused = proven.refused + len(proven.devices) - len(good)
        state, pinned = pin(user["master_key"], proven.master_key)
        await tx.execute(
            """UPDATE crypto_user SET state = $2, master_key = $3, offered_master_key = $4,
                   fetched = $5, fetched_at = now() WHERE user_id = $1""",
            user_id,
            state,
            pinned,
            proven.master_key,
            changed,
        )
        now = {"state": state, "master_key": pinned}
        if choose(now, sorted(good, key=_id)) != choose(user, sorted(there, key=_id)):
            await self._moved(tx, user_id)
        if refused:
            log.warning("devices_refused", user_id=user_id, count=refused)
        if state == "changed" and user["state"] != "changed":
            log.warning("identity_changed", user_id=user_id)

    async def _store_devices(self, tx: Transaction, user_id: str, devices: Sequence[Device]) -> None:
        await tx.execute(
            """UPDATE crypto_device SET gone = true
               WHERE user_id = $1 AND NOT gone AND NOT device_id = ANY($2::text[])""",
            user_id,
            [device.device_id for device in devices],
        )
        await tx.executemany(
            """INSERT INTO crypto_device (user_id, device_id, curve25519, ed25519, signed)
               VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (user_id, device_id) DO UPDATE SET signed = excluded.signed, gone = false""",
            [(user_id, d.device_id, d.curve25519, d.ed25519, d.signed) for d in devices],
        )

    async def release(self, tx: Transaction, user_id: str) -> None:
        """Pin the identity that is offered now: somebody has made sure that it is theirs."""
        await identities.accept(tx, user_id)

    async def recipients(self, tx: Transaction, user_id: str) -> Recipients:
        user = await tx.fetchrow("SELECT state, master_key FROM crypto_user WHERE user_id = $1", user_id)
        rows = await tx.fetch(
            """SELECT user_id, device_id, curve25519, ed25519, signed FROM crypto_device
               WHERE user_id = $1 AND NOT gone ORDER BY device_id""",
            user_id,
        )
        return choose(user, [Device(*row) for row in rows])

    async def unsigned(self, tx: Transaction | Pool, user_id: str) -> list[Device]:
        """The devices that get no keys because the identity of their owner has not signed them."""
        rows = await tx.fetch(
            """SELECT user_id, device_id, curve25519, ed25519, signed
               FROM crypto_device JOIN crypto_user USING (user_id)
               WHERE user_id = $1 AND master_key IS NOT NULL AND NOT signed AND NOT gone""",
            user_id,
        )
        return [Device(*row) for row in rows]

    async def using(self, tx: Transaction, user_id: str, curve25519: str) -> str | None:
        """The device with this key."""
        found: str | None = await tx.fetchval(
            "SELECT device_id FROM crypto_device WHERE user_id = $1 AND curve25519 = $2 AND NOT gone LIMIT 1",
            user_id,
            curve25519,
        )
        return found

    async def unknown_among(self, tx: Transaction | Pool, senders: Mapping[str, set[str]]) -> list[str]:
        """Which of these people (user → curve25519 keys) use a device that we haven't seen."""
        pairs = [(user_id, key) for user_id, keys in senders.items() for key in keys]
        rows = await tx.fetch(
            """SELECT DISTINCT asked.user_id FROM unnest($1::text[], $2::text[]) AS asked (user_id, key)
               WHERE NOT EXISTS (SELECT FROM crypto_device d
                                 WHERE d.user_id = asked.user_id AND d.curve25519 = asked.key)""",
            [user_id for user_id, _ in pairs],
            [key for _, key in pairs],
        )
        return [row["user_id"] for row in rows]

    async def _moved(self, tx: Transaction, user_id: str) -> None:
        await tx.execute("UPDATE crypto_user SET version = version + 1 WHERE user_id = $1", user_id)


async def _assistant(pool: Pool) -> Acting:
    row = await pool.fetchrow(
        "SELECT user_id, device_id FROM puppet WHERE kind = 'assistant' ORDER BY user_id LIMIT 1"
    )
    if row is None:
        raise RuhError("There is no assistant to ask for devices.")
    return Acting(row["user_id"], row["device_id"])


def _keys(device: Device) -> tuple[str, str]:
    return device.curve25519, device.ed25519


def _id(device: Device) -> str:
    return device.device_id


def pin(pinned: str | None, offered: str | None) -> tuple[str, str | None]:
    """The new state and pinned key. An identity that vanishes has changed too."""
    if pinned is None:
        return ("new", None) if offered is None else ("pinned", offered)
    return ("pinned" if offered == pinned else "changed"), pinned


def choose(user: Mapping[str, Any] | None, devices: Collection[Device]) -> Recipients:
    """With an identity: the devices that it signed; else all."""
    if user is not None and user["state"] == "changed":
        return Recipients(hold=Hold("identity_changed"))
    if user is None or not devices:
        return Recipients(hold=Hold("no_device", "none"))
    if user["master_key"] is None:
        return Recipients(tuple(devices))
    signed = tuple(device for device in devices if device.signed)
    return Recipients(signed) if signed else Recipients(hold=Hold("no_device", "unsigned"))
