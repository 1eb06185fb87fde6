"""Brings rooms to what the roster says: made, peopled with puppets, and the client in it.

A room is made with nobody but the assistant in it and its id is stored before anybody is invited: a crash
between the two leaves an empty room that no client ever saw. Every later step can be done again.
"""

import asyncio

import structlog

from appservice import holds, masks
from appservice.backoff import wait
from appservice.context import Context
from appservice.faults import point
from appservice.homeserver import HomeserverError, Refused
from appservice.homeserver_transport import Json
from bridge import legs, people, puppets
from bridge.database import transaction
from bridge.legs import Leg
from bridge.puppets import Puppet
from policies import naming
from policies.vocabulary import Person, PersonId

log = structlog.get_logger()

AT_ONCE = 4
ENCRYPTION = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "rotation_period_msgs": 100,
    "rotation_period_ms": 7 * 24 * 3600 * 1000,
}


def room(name: str) -> Json:
    """A leg's room as it is made (matrix.md, Rooms). The creator's power is unbounded in version 12."""
    nobody = 100
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
            "users": {}, "users_default": 0, "events_default": 0, "state_default": nobody, "invite": nobody,
            "kick": nobody, "ban": nobody, "redact": nobody, "notifications": {"room": nobody},
            "events": {"m.room.redaction": 0, "m.reaction": 0, "m.room.message": 0, "m.room.encrypted": 0,
                       "m.sticker": nobody, "m.call.invite": nobody, "m.call.answer": nobody,
                       "m.call.candidates": nobody, "m.call.hangup": nobody, "m.call.member": nobody,
                       "org.matrix.msc3401.call.member": nobody, "org.matrix.msc3401.call": nobody,
                       "m.room.name": nobody, "m.room.topic": nobody, "m.room.avatar": nobody,
                       "m.room.tombstone": nobody, "m.room.power_levels": nobody, "m.room.server_acl": nobody,
                       "m.room.encryption": nobody, "m.room.history_visibility": nobody},
        },
    }  # fmt: skip


def _state(event_type: str, content: Json) -> Json:
    return {"type": event_type, "state_key": "", "content": content}


async def bring_all(context: Context) -> bool:
    """Make the legs that are wanted and due; True when there were any."""
    async with transaction(context.pool) as tx:
        due = await legs.wanted(tx)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(leg: Leg) -> None:
        async with gate:
            await _try(context, leg)

    # One leg's trouble holds nobody else up.
    await asyncio.gather(*(one(leg) for leg in due))
    return bool(due)


async def _try(context: Context, leg: Leg) -> None:
    try:
        await bring(context, leg)
    except HomeserverError as error:
        seconds = wait(error, leg.attempts + 1, give_up=False)
        log.warning("leg_postponed", leg=str(leg.id), error=error.errcode, seconds=round(seconds, 1))
        async with transaction(context.pool) as tx:
            await legs.failed(tx, leg.id, error.errcode, seconds)
    else:
        log.info("leg_open", leg=str(leg.id))


async def bring(context: Context, leg: Leg) -> None:
    """From wanted to open, whatever was done of it before."""
    async with transaction(context.pool) as tx:
        occupants = await puppets.of_leg(tx, leg.id)
        names = {p.id: await _name(context, leg, p) for p in occupants}
        organiser = await people.get(tx, context.keyring, leg.organiser_id)
    for puppet in occupants:
        await masks.bring(context.pool, context.homeserver, context.machine, puppet, names[puppet.id])
    room_id: str | None = leg.room_id
    if room_id is None:
        made = room(naming.room_name(leg.kind, organiser))
        room_id = await context.homeserver.create_room(made, context.acting)
        point("leg.created")
        async with transaction(context.pool) as tx:
            await legs.set_room(tx, leg.id, room_id)
    for puppet in occupants:
        await _seat(context, leg, room_id, puppet)
    await _invite(context, room_id, leg)
    point("leg.invited")
    async with transaction(context.pool) as tx:
        await legs.set_open(tx, leg)
    await holds.look(context, [leg.user_id])


async def _name(context: Context, leg: Leg, puppet: Puppet) -> str:
    if puppet.person_id is None:
        return naming.ASSISTANT_NAME
    async with transaction(context.pool) as tx:
        person: Person = await people.get(tx, context.keyring, PersonId(puppet.person_id))
    return person.name.full


async def _seat(context: Context, leg: Leg, room_id: str, puppet: Puppet) -> None:
    if puppet.id != context.assistant.id:
        await _unless_there(context, room_id, puppet.user_id, is_direct=None)
        await context.homeserver.join(room_id, masks.acting(puppet))
    async with transaction(context.pool) as tx:
        await legs.set_joined(tx, leg.id, puppet.id)


async def _invite(context: Context, room_id: str, leg: Leg) -> None:
    """The homeserver accepts for the client, also before they ever signed in."""
    await _unless_there(context, room_id, leg.user_id, is_direct=True)


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
