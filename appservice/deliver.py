"""Carries the outbox to Matrix: each leg in order, exactly once, many legs at a time.

A delivery's ciphertext, ratchet and transaction id are stored before it is sent; what was stored goes out
again as it is after a crash, and the homeserver knows the transaction id. Nothing here holds a transaction
open over a request.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog

from appservice import resend
from appservice.backoff import gives_up, wait
from appservice.context import Context
from appservice.crypto.errors import ShareOutdated
from appservice.crypto.model import Hold
from appservice.faults import point
from appservice.homeserver import Acting, HomeserverError, Refused
from appservice.homeserver_transport import Json, compact
from appservice.metrics import DELIVERED, DELIVERY_SECONDS
from appservice.translate import message_content, reaction_content
from bridge import legs, outbox, puppets, roster
from bridge.database import transaction
from bridge.outbox import Item, Load
from policies import naming, notices
from policies.content import Notice, Reaction
from policies.notices import NameOf
from policies.vocabulary import EntryKind, LegId

log = structlog.get_logger()

# Synapse forgets a transaction id after 24 h; a little less, for its clock and ours.
TRANSACTION_MEMORY = timedelta(hours=23)
IN_CLEAR = {EntryKind.REACTION, EntryKind.DELETION, EntryKind.REACTION_REMOVED}
"""Reactions and redactions are plaintext in Matrix: the homeserver aggregates them."""


async def carry(context: Context, leg: LegId) -> bool:
    """Carry what this leg has; True when it should be looked at again at once."""
    async with context.pool.acquire() as connection:
        load = await outbox.load(connection, context.keyring, leg)
    if load is None or not load.items[0].due:
        return False
    point("deliver.loaded")
    if load.items[0].state == "pending":
        try:
            return await _prepare(context, load)
        except ShareOutdated:
            return True  # the devices changed between sharing and encrypting: share again
    for item in load.items:
        if item.state != "prepared" or not await _send(context, load, item):
            break
        # Somebody may have been removed meanwhile: from that commit nothing more goes out.
        if not await _still_open(context, load):
            return False
    else:
        return True
    return item.state != "prepared"


async def _still_open(context: Context, load: Load) -> bool:
    if len(load.items) == 1:
        return True
    async with context.pool.acquire() as connection:
        return await outbox.is_open(connection, load.leg_id)


async def _prepare(context: Context, load: Load) -> bool:
    """Make the next ones ready to go, as many as stand on what this leg already has, by one puppet."""
    first = load.items[0]
    name_of = await _name_of(context, load)
    batch: list[tuple[Item, str, Json | None]] = []
    for item in load.items:
        if item.state != "pending" or item.puppet_id != first.puppet_id:
            break
        if item.target_state in ("pending", "prepared"):
            break  # what it is about goes first: its event id is needed
        batch.append((item, *_event(item, name_of)))
        if item.kind is EntryKind.DELETION:
            break
    if not batch:
        # Its target is prepared or pending but stands before it, so it is carried first.
        raise RuntimeError("a delivery stands before what it is about")
    if await _without_event(context, load, [item for item, _, content in batch if content is None]):
        return True
    sealed = [(item, kind, content) for item, kind, content in batch if item.kind not in IN_CLEAR]
    async with context.pool.acquire() as connection:
        puppet = await puppets.get(connection, first.puppet_id)
    if sealed:
        try:
            shared = await context.machine.ensure_shared(
                context.pool, leg_id=load.leg_id, room_id=load.room_id, puppet=puppet, user_id=load.user_id
            )
        except HomeserverError as error:
            await _postpone(context, load, first, error)
            return False
        if isinstance(shared, Hold):
            async with transaction(context.pool) as tx:
                await legs.set_hold(tx, load.leg_id, shared.reason)
            log.info("leg_held", leg=str(load.leg_id), reason=shared.reason)
            return False
    point("deliver.shared")
    async with transaction(context.pool) as tx:
        alive = await outbox.still_pending(tx, [item.id for item, _, _ in batch])
        sealed = [entry for entry in sealed if entry[0].id in alive]
        payloads = {item.id: content for item, _, content in batch if item.id in alive}
        if sealed:
            ciphertexts = await context.machine.encrypt(
                tx, leg_id=load.leg_id, room_id=load.room_id, puppet=puppet,
                events=[(kind, content or {}) for _, kind, content in sealed],
            )  # fmt: skip
            payloads |= {
                item.id: ciphertext for (item, _, _), ciphertext in zip(sealed, ciphertexts, strict=True)
            }
        point("deliver.encrypted")
        made = [
            (item.id, transaction_id(load, item), compact(payloads[item.id]).decode())
            for item, _, _ in batch
            if item.id in alive
        ]
        await outbox.prepared(tx, made)
    point("deliver.prepared")
    return True


async def _without_event(context: Context, load: Load, items: list[Item]) -> bool:
    """What has no event for this leg: a message that can't be opened is said, the rest has nothing to say."""
    async with transaction(context.pool) as tx:
        for item in items:
            if item.kind is EntryKind.MESSAGE:
                log.error("entry_not_opened", entry=str(item.entry_id))
                await outbox.failed(tx, load, item, "seal_broken")
            else:
                await outbox.cancel(tx, load, [item.id], "nothing_to_carry")
    return bool(items)


async def _name_of(context: Context, load: Load) -> NameOf:
    """What this leg's client calls the people that its notices are about (C7)."""
    if not any(item.kind is EntryKind.NOTICE for item in load.items):
        return str
    async with transaction(context.pool) as tx:
        members = await roster.members(tx, context.keyring, load.conversation_id)
    return naming.shown_names(members, naming.Audience.CLIENT).__getitem__


def _event(item: Item, name_of: NameOf) -> tuple[str, Json | None]:
    """The event of a delivery, None when this leg never got what it is about."""
    content = item.content
    match item.kind:
        case EntryKind.MESSAGE if content is not None:
            return "m.room.message", message_content(content, reply_to=item.target_event)
        case EntryKind.NOTICE if isinstance(content, Notice):
            text = notices.for_client(content, name_of)
            return "m.room.message", {"msgtype": "m.notice", "body": text, "m.mentions": {}} if text else None
        case EntryKind.EDIT if content is not None and item.target_event:
            return "m.room.message", message_content(content, replaces=item.target_event)
        case EntryKind.REACTION if isinstance(content, Reaction) and item.target_event:
            return "m.reaction", reaction_content(item.target_event, content.key)
        case EntryKind.DELETION | EntryKind.REACTION_REMOVED if item.target_event:
            return "m.room.redaction", {"redacts": item.target_event}
        case _:
            return "", None


def transaction_id(load: Load, item: Item, part: str = "") -> str:
    """The same for the same delivery, for ever, and unique over all our users in all rooms (matrix.md)."""
    return str(uuid5(NAMESPACE_URL, f"{item.puppet_user} {load.room_id} {item.entry_id} {item.kind} {part}"))


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
            found = await outbox.events_about(connection, load.leg_id, item.target_id)
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


class Carrier:
    """One task a leg, at most `at_once` of them; woken by the feed, swept every few seconds."""

    def __init__(self, context: Context, *, at_once: int = 12, sweep_seconds: float = 3) -> None:
        self._context = context
        self._gate = asyncio.Semaphore(at_once)
        self._sweep = sweep_seconds
        self._conversations: set[UUID] = set()
        self._everything = True
        self._woken = asyncio.Event()
        self._busy: dict[LegId, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, conversation: UUID | None) -> None:
        """Something is to be carried: in this conversation, or (None) anywhere."""
        if conversation is None:
            self._everything = True
        else:
            self._conversations.add(conversation)
        self._woken.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._sweep):
                    await self._woken.wait()
            except TimeoutError:
                self._everything = True
            self._woken.clear()
            which = None if self._everything else self._conversations
            self._everything, self._conversations = False, set()
            async with self._context.pool.acquire() as connection:
                due = await outbox.legs_due(connection, which)
            for leg in due:
                self._start(leg)

    def _start(self, leg: LegId) -> None:
        if leg in self._busy:
            self._busy[leg] = True  # more came while it was at work: it looks once more before it ends
            return
        self._busy[leg] = False
        task = asyncio.create_task(self._work(leg, carry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, leg: LegId, work: Callable[[Context, LegId], Awaitable[bool]]) -> None:
        try:
            async with self._gate:
                while await self._alone(leg, work) or self._busy[leg]:
                    self._busy[leg] = False
        except Exception as error:
            # The database is away, or a mistake of ours: the sweep comes back to this leg, the others go on.
            log.error("leg_failed", leg=str(leg), error=type(error).__name__)
        finally:
            del self._busy[leg]

    async def _alone(self, leg: LegId, work: Callable[[Context, LegId], Awaitable[bool]]) -> bool:
        """Never beside `revoke`: what it has taken out of a room is all that went in."""
        async with self._context.lock_of(leg):
            return await work(self._context, leg)
