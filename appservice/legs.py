"""Brings rooms to what the roster says: made, peopled with puppets, and the client in it.

A room is made with nobody but the assistant in it and its id is stored before anybody is invited: a crash
between the two leaves an empty room that no client ever saw. Every later step can be done again.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from appservice import holds, lobby, masks
from appservice.backoff import wait
from appservice.context import Context
from appservice.faults import point
from appservice.homeserver import HomeserverError, Refused, Unavailable
from appservice.homeserver_transport import Json
from bridge import legs, outbox, people, puppets
from bridge import roster as rosters
from bridge.database import Transaction, transaction
from bridge.legs import Leg, Seat
from bridge.puppets import Puppet
from policies import naming
from policies.vocabulary import ConversationKind, PersonId

log = structlog.get_logger()

AT_ONCE = 8
"""Legs. The homeserver is busy with them; what is said meanwhile in other rooms has its turn too."""
JOINING = (0.2, 0.3, 0.5, 1, 2, 4)  # seconds between two looks; the sync says it after 0.1 s as a rule
AGAIN = 2.0  # seconds, until what waits for the outbox is looked at once more
NOBODY = 100  # a power level that no client has
FROZEN = {"m.room.message": NOBODY, "m.room.encrypted": NOBODY, "m.reaction": NOBODY}
ENCRYPTION = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "rotation_period_msgs": 100,
    "rotation_period_ms": 7 * 24 * 3600 * 1000,
}


def room(name: str) -> Json:
    """A leg's room as it is made (matrix.md, Rooms). The creator's power is unbounded in version 12."""
    return {
        "room_version": "12",
        "preset": "private_chat",
        "visibility": "private",
        "name": name,
        "creation_content": {"m.federate": False},
        "initial_state": [
            _state("m.room.encryption", ENCRYPTION),
            _state("m.room.history_visibility", {"history_visibility": "joined"}),
            _state("m.room.guest_access", {"guest_access": "forbidden"}),
            _state("m.room.join_rules", {"join_rule": "invite"}),
        ],
        "power_level_content_override": {
            "users": {}, "users_default": 0, "events_default": 0, "state_default": NOBODY, "invite": NOBODY,
            "kick": NOBODY, "ban": NOBODY, "redact": NOBODY, "notifications": {"room": NOBODY},
            "events": {"m.room.redaction": 0, "m.reaction": 0, "m.room.message": 0, "m.room.encrypted": 0,
                       "m.sticker": NOBODY, "m.call.invite": NOBODY, "m.call.answer": NOBODY,
                       "m.call.candidates": NOBODY, "m.call.hangup": NOBODY, "m.call.member": NOBODY,
                       "org.matrix.msc3401.call.member": NOBODY, "org.matrix.msc3401.call": NOBODY,
                       "m.room.name": NOBODY, "m.room.topic": NOBODY, "m.room.avatar": NOBODY,
                       "m.room.tombstone": NOBODY, "m.room.power_levels": NOBODY, "m.room.server_acl": NOBODY,
                       "m.room.encryption": NOBODY, "m.room.history_visibility": NOBODY},
        },
    }  # fmt: skip


def _state(event_type: str, content: Json) -> Json:
    return {"type": event_type, "state_key": "", "content": content}


async def attempt(context: Context, leg: Leg) -> None:
    """Bring a leg; where the homeserver has trouble with it, again later."""
    try:
        async with context.lock_of(leg.id):
            await bring(context, leg)
    except HomeserverError as error:
        seconds = wait(error, leg.attempts + 1, give_up=False)
        log.warning("leg_postponed", leg=str(leg.id), error=error.errcode, seconds=round(seconds, 1))
        async with transaction(context.pool) as tx:
            await legs.failed(tx, leg.id, error.errcode, seconds)


async def bring(context: Context, leg: Leg) -> None:
    """From what its room is to what the roster says, whatever was done of it before."""
    is_lobby = leg.kind is ConversationKind.LOBBY
    async with transaction(context.pool) as tx:
        begun = await legs.begin(tx, leg.id)
        if begun is None:
            return  # it ended meanwhile
        seats = await legs.seats(tx, leg.id)
        names = await _names(tx, context, leg)
    await asyncio.gather(*(_ready(context, seat, names) for seat in seats if not seat.leaving))
    room_id = leg.room_id or await _make_room(context, leg, seats)
    if is_lobby and leg.state == "wanted" and not await lobby.come(context, leg, room_id):
        return
    await _seat(context, leg, room_id, [s.puppet for s in seats if not s.leaving and s.joined_at is None])
    point("leg.seated")
    if leg.state == "wanted":
        async with transaction(context.pool) as tx:
            if not await legs.is_wanted(tx, leg.id):
                return  # its member was removed meanwhile: they never hear of this room
        with context.arrivals.expected(room_id, leg.user_id) as came:
            if not is_lobby:  # they are there already: it is they who made it
                await _invite(context, room_id, leg)
            point("leg.invited")
            await _until_in(context, room_id, leg.user_id, came)
        async with transaction(context.pool) as tx:
            await legs.set_open(tx, leg)
            if is_lobby:
                await lobby.greet(tx, context, leg)
        log.info("leg_open", leg=str(leg.id))
        await holds.look_at_new(context, leg)
    rest = await _leave(context, leg, room_id, [seat.puppet for seat in seats if seat.leaving])
    rest += await _freeze(context, leg, room_id)
    async with transaction(context.pool) as tx:
        await legs.brought(tx, leg, begun, again_in=AGAIN if rest else None)


async def _names(tx: Transaction, context: Context, leg: Leg) -> Mapping[PersonId, str]:
    """Everybody as this leg's client sees them (C7)."""
    roster = await rosters.members(tx, context.keyring, leg.conversation_id)
    return naming.shown_names(roster, naming.Audience.CLIENT)


async def _ready(context: Context, seat: Seat, names: Mapping[PersonId, str]) -> None:
    puppet = seat.puppet
    name = naming.ASSISTANT_NAME if puppet.person_id is None else names[puppet.person_id]
    if puppet.ready and seat.named == masks.digest_of(puppet, name):
        return
    # Several legs of a group want the same mask at the same time.
    async with context.lock_of(puppet.id):
        async with transaction(context.pool) as tx:
            fresh = await puppets.get(tx, puppet.id)
        await masks.bring(context.pool, context.homeserver, context.machine, fresh, name)


async def _make_room(context: Context, leg: Leg, seats: Sequence[Seat]) -> str:
    async with transaction(context.pool) as tx:
        organiser = await people.get(tx, context.keyring, leg.organiser_id)
    body = room(naming.room_name(leg.kind, organiser))
    body["invite"] = [seat.puppet.user_id for seat in seats if seat.puppet.id != context.assistant.id]
    room_id = await context.homeserver.create_room(body, context.acting)
    point("leg.created")
    async with transaction(context.pool) as tx:
        await legs.set_room(tx, leg.id, room_id)
    point("leg.stored")
    return room_id


async def _seat(context: Context, leg: Leg, room_id: str, coming: Sequence[Puppet]) -> None:
    """One after the other: the homeserver takes a room's members in turn anyway."""
    seated: list[Puppet] = []
    try:
        for puppet in coming:
            if puppet.id != context.assistant.id:
                await _join(context, room_id, puppet)
            seated.append(puppet)
    finally:  # what the last one's trouble is doesn't concern the others
        if seated:
            async with transaction(context.pool) as tx:
                await legs.set_joined(tx, leg.id, [puppet.id for puppet in seated])


async def _join(context: Context, room_id: str, puppet: Puppet) -> None:
    try:
        await context.homeserver.join(room_id, masks.acting(puppet))
    except Refused:
        await _unless_there(context, room_id, puppet.user_id, is_direct=None)
        await context.homeserver.join(room_id, masks.acting(puppet))


async def _leave(context: Context, leg: Leg, room_id: str, leaving: Sequence[Puppet]) -> int:
    """Out of the room, once what they said is carried; returns how many still have to wait."""
    waiting = 0
    for puppet in leaving:
        async with transaction(context.pool) as tx:
            if await outbox.has_waiting(tx, leg.id, puppet.id):
                waiting += 1
                continue
        try:
            await context.homeserver.leave(room_id, masks.acting(puppet))
        except Refused as error:
            log.info("mask_had_left", leg=str(leg.id), error=error.errcode)
        async with transaction(context.pool) as tx:
            await legs.unseat(tx, leg.id, puppet.id)
    return waiting


async def _freeze(context: Context, leg: Leg, room_id: str) -> int:
    """A closed conversation can be read and not written in, once its last words are carried (C15)."""
    async with transaction(context.pool) as tx:
        if not await legs.is_frozen(tx, leg.id):
            return 0
        if await outbox.has_waiting(tx, leg.id):
            return 1
    levels = await context.homeserver.state(room_id, "m.room.power_levels", "", context.acting)
    frozen = {**levels, "events_default": NOBODY, "events": {**levels["events"], **FROZEN}}
    if frozen != levels:
        await context.homeserver.set_state(room_id, "m.room.power_levels", "", frozen, context.acting)
    return 0


async def _invite(context: Context, room_id: str, leg: Leg) -> None:
    """The homeserver accepts for the client, also before they ever signed in."""
    await _unless_there(context, room_id, leg.user_id, is_direct=leg.kind is not ConversationKind.COMMUNITY)


async def _until_in(context: Context, room_id: str, user_id: str, came: asyncio.Event) -> None:
    """What is said before they have joined they never see: the first message waits for it."""
    for pause in JOINING:
        try:
            async with asyncio.timeout(pause):
                await came.wait()
            return
        except TimeoutError:
            state = await context.homeserver.state(room_id, "m.room.member", user_id, context.acting)
        if state.get("membership") != "invite":
            return
    raise Unavailable(0, "RUH_NOT_JOINED")


async def _unless_there(context: Context, room_id: str, user_id: str, *, is_direct: bool | None) -> None:
    try:
        await context.homeserver.invite(room_id, user_id, context.acting, is_direct=is_direct)
    except Refused as error:
        if error.errcode != "M_FORBIDDEN" or not await _is_there(context, room_id, user_id):
            raise


async def _is_there(context: Context, room_id: str, user_id: str) -> bool:
    try:
        state = await context.homeserver.state(room_id, "m.room.member", user_id, context.acting)
    except Refused:
        return False
    return state.get("membership") in ("invite", "join")
