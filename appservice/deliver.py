"""Carries the outbox to Matrix: each leg in order, exactly once.

What was prepared is sent as it is, again after a crash, and the homeserver knows its transaction id. Nothing
here holds a transaction open over a request.
"""

import json
from datetime import UTC, datetime, timedelta

import structlog

from appservice import resend
from appservice.backoff import gives_up, wait
from appservice.context import Context
from appservice.crypto.errors import ShareOutdated
from appservice.faults import point
from appservice.homeserver import Acting, HomeserverError, Refused
from appservice.homeserver_transport import Json
from appservice.metrics import DELIVERED, DELIVERY_SECONDS
from appservice.prepare import prepare, transaction_id
from bridge import outbox
from bridge.database import transaction
from bridge.outbox import Item, Load
from policies.vocabulary import EntryKind, LegId

log = structlog.get_logger()

# Synapse forgets a transaction id after 24 h; a little less, for its clock and ours.
TRANSACTION_MEMORY = timedelta(hours=23)
BATCH = 25


async def carry(context: Context, leg: LegId) -> bool:
    """Carry what this leg has; True when it should be looked at again at once."""
    async with context.pool.acquire() as connection:
        load = await outbox.load(connection, context.keyring, leg, BATCH)
    if load is None or not load.items[0].due:
        return False
    point("deliver.loaded")
    ready = [item for item in load.items if item.state == "prepared"]
    if not ready:
        try:
            ready = list(await prepare(context, load))
        except ShareOutdated:
            return True  # the devices changed between sharing and encrypting: share again
        except HomeserverError as error:
            await _postpone(context, load, load.items[0], error)
            return False
    for item in ready:
        if not await _send(context, load, item):
            return False
        # Somebody may have been removed meanwhile: from that commit nothing more goes out.
        if not await _still_open(context, load):
            return False
    # What comes while we are at work wakes this leg again; only what was seen and not done is left.
    return len(ready) < len(load.items) or len(load.items) == BATCH


async def _still_open(context: Context, load: Load) -> bool:
    if len(load.items) == 1:
        return True
    async with context.pool.acquire() as connection:
        return await outbox.is_open(connection, load.leg_id)


async def _send(context: Context, load: Load, item: Item) -> bool:
    """One request (a deletion: one for each event of the message). False: it has to wait."""
    if not item.due:
        return False
    assert item.payload is not None
    acting = Acting(item.puppet_user, item.puppet_device)
    try:
        event_id = await _once(context, load, item, acting, json.loads(item.payload))
    except Refused as error:
        return await _refused(context, load, item, error)
    except HomeserverError as error:
        await _postpone(context, load, item, error)
        return False
    point("deliver.sent")
    async with context.pool.acquire() as connection:
        await outbox.sent(connection, load, item, event_id)
    DELIVERED.labels(outcome="sent").inc()
    if item.attempts == 0:
        DELIVERY_SECONDS.observe((datetime.now(UTC) - item.posted_at).total_seconds())
    point("deliver.recorded")
    return True


async def _once(context: Context, load: Load, item: Item, acting: Acting, payload: Json) -> str | None:
    if item.kind in (EntryKind.DELETION, EntryKind.REACTION_REMOVED):
        return await _redact(context, load, item, payload)
    assert item.txn_id is not None
    assert item.prepared_at is not None
    if datetime.now(UTC) - item.prepared_at > TRANSACTION_MEMORY:
        found = await resend.find(context, load.room_id, acting.user_id, payload, since=item.prepared_at)
        if found is not None:
            return found
    kind = "m.reaction" if item.kind is EntryKind.REACTION else "m.room.encrypted"
    return await context.homeserver.send_event(load.room_id, kind, payload, item.txn_id, acting)


async def _redact(context: Context, load: Load, item: Item, payload: Json) -> str | None:
    """All that a deleted message left in this leg; by the assistant, who may redact anybody's."""
    events = [payload["redacts"]]
    if item.kind is EntryKind.DELETION and item.target_id is not None:
        async with context.pool.acquire() as connection:
            found = await outbox.events_about(connection, load.leg_id, item.target_id, item.id)
        events = [event_id for _, event_id in found] or events
    last = None
    for event_id in events:
        last = await context.homeserver.redact(
            load.room_id, event_id, transaction_id(load, item, event_id), context.acting
        )
    return last


async def _refused(context: Context, load: Load, item: Item, error: Refused) -> bool:
    """A 4xx: tried a few times where that may help, then said in the portal; the ones behind it go on."""
    if not gives_up(error, item.attempts + 1):
        await _postpone(context, load, item, error)
        return False
    log.warning("delivery_refused", delivery=item.id, leg=str(load.leg_id), error=error.errcode)
    async with transaction(context.pool) as tx:
        await outbox.failed(tx, load, item, error.errcode)
    DELIVERED.labels(outcome="failed").inc()
    return True


async def _postpone(context: Context, load: Load, item: Item, error: HomeserverError) -> None:
    seconds = wait(error, item.attempts + 1)
    log.warning("delivery_postponed", delivery=item.id, error=error.errcode, seconds=round(seconds, 1))
    async with context.pool.acquire() as connection:
        await outbox.postponed(connection, load, item, error.errcode, seconds)
    DELIVERED.labels(outcome="postponed").inc()
