"""Makes deliveries ready to go: events of this leg's kind, encrypted as their author, stored.

What is stored here is exactly what goes out, once or again after a crash: ratchet, ciphertext and
transaction id commit together, before the first request.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

import structlog

from appservice.context import Context
from appservice.crypto.errors import ShareOutdated
from appservice.crypto.model import Hold
from appservice.faults import point
from appservice.homeserver_transport import Json, compact
from appservice.translate import message_content, reaction_content
from bridge import legs, outbox, roster
from bridge.database import transaction
from bridge.outbox import Item, Load
from policies import naming, notices
from policies.content import Notice, Reaction
from policies.notices import NameOf
from policies.restoring import attributed
from policies.vocabulary import EntryKind

log = structlog.get_logger()

IN_CLEAR = {EntryKind.REACTION, EntryKind.DELETION, EntryKind.REACTION_REMOVED}
"""Reactions and redactions are plaintext in Matrix: the homeserver aggregates them."""

_Event = tuple[Item, str, Json]


async def prepare(context: Context, load: Load) -> Sequence[Item]:
    """The next ones, ready: as many as stand on what this leg already has, by one author. None: the leg is
    held, or something has to be looked at again. Raises HomeserverError from sharing keys."""
    batch = await _batch(context, load)
    if not batch:
        return ()
    puppet = batch[0][0].puppet
    sealed = [event for event in batch if event[0].kind not in IN_CLEAR]
    if sealed:
        shared = await context.machine.ensure_shared(
            context.pool, leg_id=load.leg_id, room_id=load.room_id, puppet=puppet, user_id=load.user_id
        )
        if isinstance(shared, Hold):
            async with transaction(context.pool) as tx:
                await legs.set_hold(tx, load.leg_id, shared.reason)
            log.info("leg_held", leg=str(load.leg_id), reason=shared.reason)
            return ()
    point("deliver.shared")
    payloads = {item.id: content for item, _, content in batch}
    async with transaction(context.pool) as tx:
        if sealed:
            ciphertexts = await context.machine.encrypt(
                tx, leg_id=load.leg_id, room_id=load.room_id, puppet=puppet,
                events=[(kind, content) for _, kind, content in sealed],
            )  # fmt: skip
            payloads |= {event[0].id: text for event, text in zip(sealed, ciphertexts, strict=True)}
        point("deliver.encrypted")
        made = [
            replace(
                item,
                state="prepared",
                txn_id=transaction_id(load, item),
                payload=compact(payloads[item.id]).decode(),
                prepared_at=datetime.now(UTC),
            )
            for item, _, _ in batch
        ]
        if not await outbox.prepared(tx, made):
            # One was cancelled meanwhile: the ratchet goes back with the transaction, and we look again.
            raise ShareOutdated
    point("deliver.prepared")
    return made


async def _batch(context: Context, load: Load) -> list[_Event]:
    """Their events. What has none for this leg is ended here."""
    first = load.items[0]
    name_of = await _name_of(context, load)
    batch: list[_Event] = []
    nothing: list[Item] = []
    for item in load.items:
        if item.state != "pending" or item.puppet_id != first.puppet_id or not item.due:
            break
        if item.target_state in ("pending", "prepared"):
            break  # what it is about goes first: its event id is needed
        kind, content = _event(load, item, name_of)
        if content is None:
            nothing.append(item)
        else:
            batch.append((item, kind, content))
        if item.kind is EntryKind.DELETION:
            break
    if nothing:
        await _without_event(context, load, nothing)
    return batch


async def _without_event(context: Context, load: Load, items: list[Item]) -> None:
    """What has no event for this leg: a message that can't be opened is said, the rest has nothing to say."""
    async with transaction(context.pool) as tx:
        for item in items:
            if item.kind in (EntryKind.MESSAGE, EntryKind.RESTORATION):
                log.error("entry_not_opened", entry=str(item.entry_id))
                await outbox.failed(tx, load, item, "seal_broken")
            else:
                await outbox.cancel(tx, load, [item.id], "nothing_to_carry")


async def _name_of(context: Context, load: Load) -> NameOf:
    """What this leg's client calls the people that its notices and restored messages are about (C7)."""
    if not any(item.kind is EntryKind.NOTICE or item.restored_from for item in load.items):
        return str
    async with transaction(context.pool) as tx:
        members = await roster.members(tx, context.keyring, load.conversation_id)
    return naming.shown_names(members, naming.Audience.CLIENT).__getitem__


def _event(load: Load, item: Item, name_of: NameOf) -> tuple[str, Json | None]:
    """The event of a delivery, None when this leg never got what it is about."""
    content = item.content
    match item.kind:
        case EntryKind.MESSAGE if content is not None:
            return "m.room.message", message_content(content, reply_to=item.target_event)
        case EntryKind.RESTORATION if content is not None:
            if item.restored_from is not None:
                own = item.restored_from == load.person_id
                content = attributed(content, None if own else name_of(item.restored_from))
            return "m.room.message", message_content(content, reply_to=item.target_event)
        case EntryKind.NOTICE if isinstance(content, Notice):
            text = notices.for_client(content, name_of, load.person_id)
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
