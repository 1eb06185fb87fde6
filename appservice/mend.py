"""What could not be read: looked for in the masks' inboxes, then asked for by a new Olm session, then said.

Clients encrypt to every mask as well, so a key that the assistant missed often lies in another inbox
(matrix.md, Sync). After a minute the session with that device is replaced, which makes the client send its
current key again; the lost message itself stays lost and the portal says so (M13).
"""

import json
from collections.abc import Collection
from contextlib import suppress
from uuid import UUID

import structlog

from appservice import masks, receive, sync
from appservice.context import Context
from appservice.crypto.errors import ShareOutdated
from appservice.homeserver import HomeserverError
from bridge import legs, parked, puppets
from bridge.database import transaction
from bridge.parked import Parked
from bridge.puppets import Puppet
from policies.vocabulary import LegId

log = structlog.get_logger()

# Seconds from one attempt to the next; the second says so in the portal, the third replaces the session.
PAUSES = (20.0, 40.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
SAID_AT, REPLACED_AT = 1, 2
INBOX_ONLY = json.dumps(
    {"presence": {"types": []}, "account_data": {"types": []}, "room": {"rooms": []}}, separators=(",", ":")
)
EMPTIED_EVERY = 6 * 3600  # seconds
AT_WORK_EMPTIED_EVERY = 600
"""Of a puppet that shared keys lately: a device that lost its sessions says so there, and can't read on until
it has been heard."""


async def retry_parked(context: Context) -> int:
    """Whatever is due, once; returns how many became entries."""
    async with transaction(context.pool) as tx:
        due = await parked.due(tx)
    done = 0
    for event in due:
        done += await _retry(context, event)
    return done


async def _retry(context: Context, event: Parked) -> bool:
    async with transaction(context.pool) as tx:
        leg = (await legs.by_rooms(tx, [event.room_id])).get(event.room_id)
        occupants = [] if leg is None else await puppets.of_leg(tx, leg.id)
    if leg is not None:
        await context.machine.refresh_devices(context.pool, [leg.user_id], context.acting)
        for puppet in occupants:
            if puppet.id != context.assistant.id and puppet.ready:
                await empty_inbox(context, puppet)
    pause = PAUSES[event.attempts] if event.attempts < len(PAUSES) else None
    async with transaction(context.pool) as tx:
        still = await parked.one(tx, event.room_id, event.event_id)
        if still is None or await sync.retry(tx, context, still, pause):
            return True
        if leg is not None and event.attempts >= SAID_AT and still.notice_id is None:
            await receive.show_parked(tx, context, leg, still)
    if leg is not None and event.attempts >= REPLACED_AT:
        await _replace_session(context, leg.user_id, event)
    return False


async def _replace_session(context: Context, user_id: str, event: Parked) -> None:
    device = event.raw.get("content", {}).get("device_id")
    if isinstance(device, str):
        await context.machine.replace_olm_session(context.pool, context.assistant, user_id, device)


async def empty_inbox(context: Context, puppet: Puppet) -> None:
    """Take what lies in one mask's inbox; its keys and its token commit together."""
    acting = masks.acting(puppet)
    answer = await context.homeserver.sync(acting, since=puppet.sync_token, wait=0, filter=INBOX_ONLY)
    events = answer.get("to_device", {}).get("events", [])
    await context.machine.learn_senders(context.pool, puppet, events)
    async with transaction(context.pool) as tx:
        received = await context.machine.receive_to_device(tx, puppet, events)
        await sync.retry_sessions(tx, context, received.sessions)
        await puppets.set_synced(tx, puppet.id, answer["next_batch"])
    await context.machine.one_time_keys(
        context.pool,
        puppet,
        answer.get("device_one_time_keys_count"),
        answer.get("device_unused_fallback_key_types"),
    )
    await _share_again(context, puppet, received.reshare)


async def _share_again(context: Context, puppet: Puppet, lost: Collection[UUID]) -> None:
    """The current keys for who lost them in these legs. Should it fail, our next message there does it."""
    async with transaction(context.pool) as tx:
        found = [await legs.get(tx, LegId(leg)) for leg in lost]
    for leg in found:
        if leg.room_id is not None and leg.state == "open" and leg.hold is None:
            with suppress(ShareOutdated):
                await context.machine.ensure_shared(
                    context.pool, leg_id=leg.id, room_id=leg.room_id, puppet=puppet, user_id=leg.user_id
                )


async def empty_inboxes(context: Context) -> None:
    """So that they don't grow, their one-time keys last, and who lost keys is heard."""
    async with transaction(context.pool) as tx:
        due = await puppets.to_sync(tx, EMPTIED_EVERY, at_work=AT_WORK_EMPTIED_EVERY, limit=20)
    for puppet in due:
        try:
            await empty_inbox(context, puppet)
        except HomeserverError as error:
            log.warning("inbox_failed", puppet=str(puppet.id), error=error.errcode)
            return
