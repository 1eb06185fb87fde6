"""One event of a leg becomes one entry, or is parked with the reason. Nothing here raises for what a
client sent: where one fails, each event has a savepoint of its own, and the next one still gets through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import structlog

from appservice import lobby
from appservice.context import Context
from appservice.crypto.errors import DecryptionError
from appservice.faults import point
from appservice.media_addresses import media_of
from appservice.metrics import PARKED
from appservice.translate import Changed, Reacted, Said, Silent, from_matrix
from bridge import attachments, journal, legs, messages, outbox, parked, revocations, roster, seats
from bridge.database import UNREACHABLE, Transaction
from bridge.errors import Invalid, NotFound, RuhError
from bridge.journal import Draft, Origin
from bridge.legs import Leg
from bridge.parked import ENCRYPTED, Parked
from bridge.standing import standing
from bridge.unediting import take_back
from policies.content import Attachment, Notice, Reaction
from policies.vocabulary import ConversationKind, EntryId, EntryKind, EventId

log = structlog.get_logger()
Event = dict[str, Any]

# Seconds until a message without its key is tried again: a key often comes a moment later, over another mask.
FIRST_LOOK = 4.0
# … and one that we failed at ourselves.
OURS = 60.0
# Refusals that the client is told of; anything else that they send and that can't be taken is the operator's.
TOLD = {messages.CHAT_OFF, "closed"}


class Apart(Exception):
    """Something failed where all is well as a rule: the same once more, each event apart."""


async def take(tx: Transaction, context: Context, leg: Leg, event: Event, *, apart: bool = True) -> None:
    """Whatever it is: it is in the journal, or parked, or nobody's business, when this returns. Not `apart`:
    without a savepoint, which costs two round trips; raises Apart instead of parking anything."""
    if not apart:
        try:
            return await _take(tx, context, leg, event)
        except Exception as error:
            raise Apart from error
    failure = await attempt(tx, context, leg, event)
    if failure is not None and failure.code in TOLD:
        await _tell(tx, context, leg, event, failure.code)
    elif failure is not None:
        await park(tx, leg, event, failure.code, failure.again_in)


async def _tell(tx: Transaction, context: Context, leg: Leg, event: Event, code: str) -> None:
    """Kindly, in their own room, once for each message: it reached nobody, and why (P5)."""
    fresh = await parked.park(
        tx, leg=leg.id, room_id=str(leg.room_id), event=event, reason=code, again_in=parked.FOREVER
    )
    if fresh:
        await parked.settled(tx, str(leg.room_id), event["event_id"])
        await _notice(tx, context, leg, said_at(event), Notice(code))


async def _notice(
    tx: Transaction, context: Context, leg: Leg, at: datetime, notice: Notice, *, to_clients: bool = True
) -> None:
    """Of the clients, to this one alone."""
    where = await standing(tx, leg.person_id, leg.conversation_id)
    draft = Draft(EntryKind.NOTICE, at, notice, to_clients=to_clients, only_leg=leg.id)
    await journal.append(tx, where.key(context.keyring), leg.conversation_id, draft)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an event is no entry; `again_in` seconds it may be one, None: never."""

    code: str
    again_in: float | None


async def attempt(tx: Transaction, context: Context, leg: Leg, event: Event) -> Failure | None:
    """None when all is well. Only a lost database (or lease) raises."""
    try:
        async with tx.transaction():
            await _take(tx, context, leg, event)
    except DecryptionError as error:
        return Failure(error.code, FIRST_LOOK if error.retry else None)
    except RuhError as error:
        return Failure(getattr(error, "code", type(error).__name__.lower()), None)
    except (KeyError, ValueError, TypeError, AttributeError, asyncpg.exceptions.DataError):
        # asyncpg's own DataError, for a value that can't be encoded, is a ValueError (and an InterfaceError).
        return Failure("malformed", None)
    except UNREACHABLE:
        raise
    except Exception as error:
        # A mistake of ours: the event is kept and tried again, and the ones behind it get through.
        log.exception("event_failed", leg=str(leg.id), event_id=event.get("event_id"))
        return Failure(f"internal_{type(error).__name__}", OURS)
    return None


async def park(tx: Transaction, leg: Leg, event: Event, reason: str, again_in: float | None) -> None:
    if await parked.park(
        tx, leg=leg.id, room_id=str(leg.room_id), event=event, reason=reason, again_in=again_in
    ):
        PARKED.labels(reason=reason).inc()
        log.warning("event_parked", leg=str(leg.id), event_id=event["event_id"], reason=reason)


async def _take(tx: Transaction, context: Context, leg: Leg, event: Event) -> None:
    kind = event["type"]
    if event["sender"] != leg.user_id:
        raise Invalid("stranger", "Somebody who has no business in this room wrote there.")
    if kind == "m.room.member":
        await _membership(tx, context, leg, event)
    elif "state_key" in event:
        if leg.kind is ConversationKind.LOBBY:
            return  # how they made their own room
        raise Invalid("state", "A client changed the state of a room.")
    elif await outbox.entry_of_event(tx, leg.id, event["event_id"]) is not None:
        return  # it came before: a replayed sync
    elif kind == "m.room.redaction":
        await _redaction(tx, context, leg, event)
    elif kind == ENCRYPTED:
        await _decrypted(tx, context, leg, event)
    elif kind == "m.reaction":
        await _apply(tx, context, leg, event, kind, event["content"])
    else:
        raise Invalid("plaintext", "A message came without encryption.")


async def _decrypted(tx: Transaction, context: Context, leg: Leg, event: Event) -> None:
    """Raises DecryptionError; then nothing has changed."""
    if not event.get("content"):
        return  # redacted before we saw it
    opened = await context.machine.decrypt_event(tx, str(leg.room_id), event)
    point("sync.decrypted")
    content = opened.content
    if "m.relates_to" not in content and "m.relates_to" in event["content"]:
        content = {**content, "m.relates_to": event["content"]["m.relates_to"]}
    await _apply(tx, context, leg, event, opened.type, content)
    if opened.unverified and await legs.hears_unverified(tx, leg.id, opened.device_id):
        notice = Notice("unverified_app", {"person": str(leg.person_id)})
        await _notice(tx, context, leg, said_at(event), notice, to_clients=False)
    if addresses := media_of(content, context.server_name):
        await revocations.remember_media(tx, leg.id, addresses)


async def _apply(
    tx: Transaction, context: Context, leg: Leg, event: Event, kind: str, content: Mapping[str, Any]
) -> None:
    meaning = from_matrix(kind, content)
    origin = Origin(leg.id, EventId(event["event_id"]))
    at = said_at(event)
    common: dict[str, Any] = {
        "author": leg.person_id,
        "conversation": leg.conversation_id,
        "at": at,
        "origin": origin,
    }
    if await lobby.answered(tx, context, leg, event, content, meaning, at):
        return
    match meaning:
        case Silent():
            return
        case Said(content=said, reply_to=reply_to, source=source):
            target = await _target(tx, leg, reply_to)
            posted = await messages.post(tx, context.keyring, content=said, reply_to=target, **common)
            if source is not None:
                await attachments.want(tx, context.keyring, leg.conversation_id, posted.entry_id, source)
            if isinstance(said, Attachment) and len(await seats.clients(tx, leg.conversation_id)) > 1:
                await _notice(tx, context, leg, at, Notice("file_stays", {"person": str(leg.person_id)}))
        case Changed(event_id=event_id, content=said):
            target = await _target(tx, leg, event_id)
            if target is None:
                await messages.post(tx, context.keyring, content=said, **common)
            else:
                await messages.edit(tx, context.keyring, entry=target, content=said, **common)
        case Reacted(event_id=event_id, key=key):
            target = await _target(tx, leg, event_id)
            if target is not None:
                await messages.react(tx, context.keyring, entry=target, reaction=Reaction(key), **common)
    point("sync.posted")


async def _target(tx: Transaction, leg: Leg, event_id: str | None) -> EntryId | None:
    if event_id is None:
        return None
    found = await outbox.entry_of_event(tx, leg.id, event_id)
    if found is None:
        return None
    entry, kind, _ = found
    if kind is EntryKind.NOTICE:
        return None  # nobody's words: it is not changed, and not quoted
    if kind in (EntryKind.EDIT, EntryKind.RESTORATION):
        return EntryId(await tx.fetchval("SELECT target_id FROM entry WHERE id = $1", entry))
    return entry


async def _redaction(tx: Transaction, context: Context, leg: Leg, event: Event) -> None:
    redacts = event.get("redacts") or event["content"].get("redacts")
    found = await outbox.entry_of_event(tx, leg.id, redacts)
    if found is None:
        await _redacted_while_parked(tx, leg, redacts)
        return
    entry, kind, _ = found
    common: dict[str, Any] = {
        "author": leg.person_id, "conversation": leg.conversation_id, "at": said_at(event),
        "origin": Origin(leg.id, EventId(event["event_id"])),
    }  # fmt: skip
    if kind is EntryKind.REACTION:
        await messages.unreact(tx, context.keyring, reaction=entry, **common)
    elif kind in (EntryKind.MESSAGE, EntryKind.RESTORATION):
        target = await _target(tx, leg, redacts)
        assert target is not None
        await messages.delete(tx, context.keyring, entry=target, keep=context.keep_deleted, **common)
    elif kind is EntryKind.EDIT:
        await take_back(tx, context.keyring, edit=entry, keep=context.keep_deleted, **common)


async def _redacted_while_parked(tx: Transaction, leg: Leg, event_id: str) -> None:
    """A message that we couldn't read was taken back: its notice goes too, and nothing is tried any more."""
    waiting = await parked.one(tx, str(leg.room_id), event_id)
    if waiting is not None:
        await parked.resolved(tx, waiting)


async def _membership(tx: Transaction, context: Context, leg: Leg, event: Event) -> None:
    """Out of a community chat is out of the conversation (C10). A thread of one's own can't be left like
    that: it is held, and its therapist may invite them again."""
    if leg.kind is ConversationKind.LOBBY:
        await lobby.parted(tx, context, leg, event, said_at(event))
        return
    if event.get("state_key") != leg.user_id:
        raise Invalid("state", "A client changed somebody else's membership.")
    membership = event["content"].get("membership")
    if membership in ("leave", "ban"):
        if leg.kind is ConversationKind.COMMUNITY:
            await roster.leave(
                tx, context.keyring, person=leg.person_id, conversation=leg.conversation_id, at=said_at(event)
            )
        else:
            await legs.set_hold(tx, leg.id, "left")
    elif membership == "join" and leg.hold == "left":
        await legs.set_hold(tx, leg.id, None)


def said_at(event: Event) -> datetime:
    """When the homeserver took it; a clock that runs ahead of ours doesn't order what comes after."""
    now = datetime.now(UTC)
    try:
        at = datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return now
    return min(at, now) if at > now - timedelta(days=365) else now


async def show_parked(tx: Transaction, context: Context, leg: Leg, event: Parked) -> None:
    """Say in the portal, and to the client in their room, that something came that can't be read (M13)."""
    try:
        where = await standing(tx, leg.person_id, leg.conversation_id)
    except NotFound:
        return  # removed while it was looked for
    said = Notice("undecryptable", {"person": str(leg.person_id), "reason": event.reason})
    draft = Draft(EntryKind.NOTICE, said_at(event.raw), said, only_leg=leg.id)
    notice = await journal.append(tx, where.key(context.keyring), leg.conversation_id, draft)
    await parked.set_notice(tx, event.room_id, event.event_id, notice.id)
