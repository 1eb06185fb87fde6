"""Devices that get no key are told so: their owner then sees what to do instead of an unreadable message.

Sent once a session and forgotten; nothing depends on its arrival.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import structlog

from appservice.crypto.account import Keys
from appservice.crypto.model import MEGOLM, Device, Puppet, acting
from appservice.homeserver import Homeserver, HomeserverError

log = structlog.get_logger()

REASON = "This device has not been verified by its owner."


async def tell_unverified(
    homeserver: Homeserver,
    puppet: Puppet,
    keys: Keys,
    devices: Iterable[Device],
    room_id: str,
    session_id: str,
) -> None:
    """Say `m.unverified` to devices that the identity of their owner has not signed."""
    content: dict[str, Any] = {
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": session_id,
        "sender_key": keys.curve25519,
        "code": "m.unverified",
        "reason": REASON,
    }
    messages: dict[str, dict[str, Any]] = {}
    for device in devices:
        messages.setdefault(device.user_id, {})[device.device_id] = content
    if not messages:
        return
    try:
        await homeserver.send_to_device("m.room_key.withheld", uuid4().hex, messages, acting(puppet))
    except HomeserverError as error:
        log.info("withheld_not_told", puppet_id=str(puppet.id), error=error.errcode)
