"""What other devices send to ours: keys, news of withheld keys, signs of a broken session.

Each message stands in a savepoint of its own: one that is malformed is counted and leaves no trace, and the
batch commits together with the sync token that brought it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg
import structlog

from appservice.crypto.account import Accounts, Keys
from appservice.crypto.device_lists import is_id
from appservice.crypto.devices import Devices
from appservice.crypto.errors import DecryptionError, Malformed, OlmFailed
from appservice.crypto.megolm_in import InboundSessions
from appservice.crypto.model import Puppet, Received
from appservice.crypto.olm import OlmSessions, Opened
from appservice.crypto.share import Sharing
from bridge.database import Transaction

log = structlog.get_logger()


class Inbox:
    def __init__(
        self,
        accounts: Accounts,
        devices: Devices,
        olm: OlmSessions,
        inbound: InboundSessions,
        sharing: Sharing,
    ) -> None:
        self._accounts = accounts
        self._devices = devices
        self._olm = olm
        self._inbound = inbound
        self._sharing = sharing

    async def receive(self, tx: Transaction, puppet: Puppet, events: Iterable[Any]) -> Received:
        """Never raises for what is in the events; a database that fails is the caller's to see."""
        received = Received()
        keys: Keys | None = None
        for event in events:
            if keys is None:
                await self._olm.lock(tx, puppet.id)
                keys = await self._accounts.keys(tx, puppet)
            if keys is None:
                received.refused["no_account"] += 1
                break
            try:
                async with tx.transaction():
                    await self._receive(tx, puppet, keys, event, received)
            except OlmFailed as error:
                received.refused[error.code] += 1
                if device_id := await self._devices.using(
                    tx, event["sender"], event["content"]["sender_key"]
                ):
                    received.wedged.add((event["sender"], device_id))
            except DecryptionError as error:
                received.refused[error.code] += 1
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                raise
            except Exception as error:
                received.refused["unexpected"] += 1
                log.error("to_device_failed", puppet_id=str(puppet.id), error=type(error).__name__)
        return received

    async def _receive(
        self, tx: Transaction, puppet: Puppet, keys: Keys, event: Any, received: Received
    ) -> None:
        if (
            not isinstance(event, dict)
            or not is_id(event.get("sender"))
            or not isinstance(event.get("content"), dict)
        ):
            raise Malformed("to_device_malformed")
        sender = event["sender"]
        match event.get("type"):
            case "m.room.encrypted":
                opened = await self._olm.decrypt(tx, puppet, keys, event)
                await self._opened(tx, puppet, sender, opened, received)
            case "m.room_key.withheld":
                await self._inbound.withheld(tx, event["content"], sender)
            case "m.room_key":
                raise Malformed("room_key_in_clear")
            case _:
                # Key requests, verification, secrets: nothing that a service answers.
                received.refused["not_for_a_service"] += 1

    async def _opened(
        self, tx: Transaction, puppet: Puppet, sender: str, opened: Opened, received: Received
    ) -> None:
        match opened.type:
            case "m.room_key":
                found = await self._inbound.store(
                    tx, opened.content, sender, opened.sender_key, opened.signing_key
                )
                if found is not None:
                    received.sessions.append(found)
            case "m.dummy":
                if opened.new_session:
                    received.reshare |= await self._sharing.lost(tx, puppet, sender, opened.sender_key)
            case "m.forwarded_room_key":
                # Whoever forwards a key can claim any owner for it.
                received.refused["forwarded_room_key"] += 1
            case _:
                received.refused["not_for_a_service"] += 1


def senders(events: Iterable[Any]) -> Mapping[str, set[str]]:
    """User → curve25519 keys that encrypted messages in this batch claim to come from."""
    found: dict[str, set[str]] = {}
    for event in events:
        if isinstance(event, dict) and event.get("type") == "m.room.encrypted":
            content = event.get("content")
            sender_key = content.get("sender_key") if isinstance(content, dict) else None
            if is_id(event.get("sender")) and is_id(sender_key):
                found.setdefault(event["sender"], set()).add(str(sender_key))
    return found
