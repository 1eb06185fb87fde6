"""A client's own room with the assistant (P6), accepted and answered in; and commands in any other room (A7).

The homeserver's module lets clients make exactly this one kind of room. It accepts for the assistant too, so
an invitation may be seen open or accepted; either makes the room a leg, in the transaction of the sync.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from appservice.context import Context
from appservice.faults import point
from appservice.homeserver import Refused
from appservice.translate import Changed, Meaning, Said
from bridge import lobby
from bridge.database import UNREACHABLE, Transaction, transaction
from bridge.journal import Origin
from bridge.legs import Leg
from policies import commands
from policies.content import Text
from policies.vocabulary import ConversationKind, EventId

log = structlog.get_logger()
Json = dict[str, Any]
MEMBER = "m.room.member"


def invitations(answer: Json, assistant: str) -> dict[str, str]:
    """Room → who asked the assistant into it, as far as a sync tells it."""
    rooms = answer.get("rooms", {})
    found: dict[str, str] = {}
    for room_id, body in rooms.get("invite", {}).items():
        _inviter(found, room_id, body.get("invite_state", {}), assistant)
    for room_id, body in rooms.get("join", {}).items():
        _inviter(found, room_id, body.get("state", {}), assistant)
        _inviter(found, room_id, body.get("timeline", {}), assistant)
    return found


def _inviter(found: dict[str, str], room_id: str, part: Json, assistant: str) -> None:
    for event in part.get("events", []):
        if event.get("type") != MEMBER or event.get("state_key") != assistant:
            continue
        unsigned = event.get("unsigned", {})
        if event["content"].get("membership") == "invite":
            found[room_id] = event["sender"]
        elif unsigned.get("prev_content", {}).get("membership") == "invite" and "prev_sender" in unsigned:
            found[room_id] = unsigned["prev_sender"]


async def invited(tx: Transaction, context: Context, room_id: str, user_id: str) -> None:
    """Nothing here may end the sync: what can't be made is logged, and the client may ask again."""
    if context.is_ours(user_id):
        return
    try:
        async with tx.transaction():
            at = datetime.now(UTC)
            fresh = await lobby.opened(tx, context.keyring, user_id=user_id, room_id=room_id, at=at)
    except UNREACHABLE:
        raise
    except Exception:
        log.exception("lobby_failed", room=room_id)
        return
    if fresh:
        log.info("lobby_opened", room=room_id)
        point("lobby.opened")


async def come(context: Context, leg: Leg, room_id: str) -> bool:
    """Into the room, if the homeserver hasn't accepted yet. False: it has been withdrawn."""
    try:
        await context.homeserver.join(room_id, context.acting)
    except Refused as error:
        log.info("lobby_closed", leg=str(leg.id), error=error.errcode)
        async with transaction(context.pool) as tx:
            await lobby.ended(tx, context.keyring, leg.conversation_id, datetime.now(UTC))
        return False
    point("lobby.joined")
    return True


async def greet(tx: Transaction, context: Context, leg: Leg) -> None:
    """In the transaction that opens the leg."""
    await lobby.greet(
        tx, context.keyring, person=leg.person_id, conversation=leg.conversation_id,
        practice=context.practice, at=datetime.now(UTC),
    )  # fmt: skip


async def parted(tx: Transaction, context: Context, leg: Leg, event: Json, at: datetime) -> None:
    """The client has left their lobby, or put the assistant out of it."""
    if event["content"].get("membership") in ("leave", "ban"):
        await lobby.ended(tx, context.keyring, leg.conversation_id, at)


async def answered(
    tx: Transaction, context: Context, leg: Leg, event: Json, content: Mapping[str, Any], meaning: Meaning,
    at: datetime,
) -> bool:  # fmt: skip
    """Answer what is for the assistant alone; False: it is for somebody else too."""
    is_lobby = leg.kind is ConversationKind.LOBBY
    # Programs answer with notices, and are not answered: two of them would never end.
    if content.get("msgtype") == "m.notice" or not isinstance(meaning, Said | Changed):
        return is_lobby
    words = meaning.content.body if isinstance(meaning.content, Text) else ""
    command = commands.parse(words)
    common: dict[str, Any] = {
        "person": leg.person_id, "conversation": leg.conversation_id, "practice": context.practice, "at": at,
        "origin": Origin(leg.id, EventId(event["event_id"])),
    }  # fmt: skip
    if is_lobby:
        await lobby.hear(tx, context.keyring, said=words, **common)
        return True
    if command is None or not isinstance(meaning, Said) or meaning.reply_to is not None:
        return False
    await lobby.command(tx, context.keyring, command=command, **common)
    return True
