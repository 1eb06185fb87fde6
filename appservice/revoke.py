"""Takes a leg back from a client who was removed, a durable step at a time (C11).

Redact, put out, wait until their devices have looked, delete the files, purge the room. Each step looks at
the homeserver before it does anything and may be done again; it is left only once all of it is done. From the
removal's own commit nothing more goes out: what follows here is about what went out before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from appservice import masks, redaction
from appservice.backoff import gives_up, wait
from appservice.context import Context
from appservice.faults import point
from appservice.homeserver import HomeserverError, Refused, Unavailable
from bridge import puppets, revocations
from bridge.database import UNREACHABLE, transaction
from bridge.revocations import Work
from policies.removal import Parting, Step, behind, look_again_in
from policies.vocabulary import LegId

log = structlog.get_logger()

AT_ONCE = 8  # legs
OURS_AGAIN = 60.0  # seconds
FILES_AGAIN = 3.0  # seconds, until it is asked whether a file has been fetched for the journal
PURGE_AGAIN = timedelta(seconds=1)
THERE = ("join", "invite")


async def work_due(context: Context) -> bool:
    """One turn of every leg that is due, so that a long room keeps nobody waiting; True: look again."""
    async with transaction(context.pool) as tx:
        due = await revocations.due(tx, AT_ONCE)
    turns = await asyncio.gather(*(_turn(context, leg) for leg in due), return_exceptions=True)
    for failure in turns:
        if failure is not None:
            raise failure
    return bool(due)


async def _turn(context: Context, leg: LegId) -> None:
    # Whoever makes the room or carries something into it at this moment ends first; from then on they see
    # that the leg has ended, and the room is ours alone.
    async with context.lock_of(leg):
        async with transaction(context.pool) as tx:
            work = await revocations.load(tx, leg)
        if work.step is Step.DONE:
            return
        try:
            if work.room_id is None:
                await _leave(context, work, Step.DONE)
            elif work.progress.keeps_copy:
                await _give_up(context, work, work.room_id)
            else:
                await _STEPS[work.step](context, work, work.room_id)
        except HomeserverError as error:
            await _failed(context, work, error)
        except UNREACHABLE:
            raise
        except Exception as error:
            # A mistake of ours: it is tried again, and the other legs get on.
            log.exception("revocation_failed", leg=str(leg), step=work.step)
            async with transaction(context.pool) as tx:
                await revocations.postponed(tx, work, f"internal_{type(error).__name__}", OURS_AGAIN)


async def _failed(context: Context, work: Work, error: HomeserverError) -> None:
    """Again later. What is refused for good holds the rest up only for a while: the purge takes it all."""
    final = work.step is not Step.PURGE and isinstance(error, Refused)
    if final and gives_up(error, work.attempts + 1):
        log.error("revocation_step_refused", leg=str(work.leg_id), step=work.step, error=error.errcode)
        to = Step.DONE if work.progress.keeps_copy else None
        await _leave(context, work, to, refused=error.errcode)
        return
    seconds = wait(error, work.attempts + 1, give_up=False)
    log.warning(
        "revocation_postponed", leg=str(work.leg_id), step=work.step, error=error.errcode,
        seconds=round(seconds, 1),
    )  # fmt: skip
    async with transaction(context.pool) as tx:
        await revocations.postponed(tx, work, error.errcode, seconds)


async def _leave(context: Context, work: Work, to: Step | None = None, **detail: str | int) -> None:
    async with transaction(context.pool) as tx:
        await revocations.leave(tx, work, to, **detail)
    log.info("revocation_step_done", leg=str(work.leg_id), step=work.step)


async def _redact(context: Context, work: Work, room_id: str) -> None:
    """Look what is left, go through it page by page, and look again: done when a look finds nothing."""
    if work.cursor is None:
        left, newest = await redaction.count(context, room_id)
        async with transaction(context.pool) as tx:
            await revocations.counted(tx, work, left, newest if left else None)
        point("revoke.counted")
        if not left:
            await _leave(context, work)
        return
    done = await redaction.page(context, room_id, work.cursor)
    async with transaction(context.pool) as tx:
        await revocations.went_back(tx, work, done.redacted, done.older)
    if done.refused is not None:
        raise done.refused


async def _kick(context: Context, work: Work, room_id: str) -> None:
    """Put them out, and take back what they wrote while the rest was taken back."""
    parting = await _put_out(context, work, room_id)
    point("revoke.kicked")
    late = await redaction.everything(context, room_id)
    devices: int | None = None
    if parting is not Parting.PUT_OUT:
        devices = len(await _devices(context, work)) if parting is Parting.LEFT_BEFORE else 0
    async with transaction(context.pool) as tx:
        await revocations.swept(tx, work, late)
        await revocations.parted(
            tx, work, parting, at=datetime.now(UTC), patience=context.removal_patience, devices=devices
        )


async def _put_out(context: Context, work: Work, room_id: str) -> Parting:
    state = (await context.homeserver.members(room_id, context.acting))["chunk"]
    theirs = next((event for event in state if event["state_key"] == work.user_id), None)
    if theirs is None:
        return Parting.NEVER_CAME
    if theirs["content"].get("membership") in THERE:
        await context.homeserver.kick(room_id, work.user_id, context.acting)
        return Parting.PUT_OUT
    # After a crash they are out by our own hand.
    return Parting.PUT_OUT if context.is_ours(theirs["sender"]) else Parting.LEFT_BEFORE


async def _wait(context: Context, work: Work, room_id: str) -> None:
    kicked_at, deadline = work.progress.kicked_at, work.progress.wait_until
    now = datetime.now(UTC)
    if kicked_at is None or deadline is None:
        await _leave(context, work)
        return
    devices = behind(await _devices(context, work), kicked_at, now)
    over = devices == 0 or now >= deadline
    async with transaction(context.pool) as tx:
        pause = None if over else min(look_again_in(kicked_at, now), deadline - now)
        await revocations.still_waiting(tx, work, devices, pause)
    if over:
        await _leave(context, work, waited=round((now - kicked_at).total_seconds()))


async def _devices(context: Context, work: Work) -> list[datetime | None]:
    """When each was last seen."""
    try:
        seen = await context.homeserver.device_sightings(work.user_id)
    except Refused as error:
        if error.status != 404:
            raise
        return []  # there is no such account any more
    return [None if at is None else datetime.fromtimestamp(at, UTC) for at in seen.values()]


async def _media(context: Context, work: Work, room_id: str) -> None:
    """All files that we know of; what the journal still wants of them is fetched first."""
    async with transaction(context.pool) as tx:
        if await revocations.files_on_their_way(tx, work):
            await revocations.postponed(tx, work, None, FILES_AGAIN)
            return
        addresses = await revocations.media_left(tx, work)
    for address in addresses:
        await context.homeserver.delete_media(address)
        point("revoke.media")
        async with transaction(context.pool) as tx:
            await revocations.media_deleted(tx, work, address)
    await _leave(context, work)


async def _purge(context: Context, work: Work, room_id: str) -> None:
    """The homeserver does it in its own time; a purge that failed, or that it forgot, is begun anew."""
    if work.purge_id is None:
        await _vacate(context, room_id)
        purge_id = await context.homeserver.delete_room(room_id)
        point("revoke.purging")
        async with transaction(context.pool) as tx:
            await revocations.purging(tx, work, purge_id, PURGE_AGAIN)
        return
    status = await context.homeserver.deletion_status(work.purge_id)
    if status == "complete":
        point("revoke.purged")
        await _forget(context, work)
        return
    again = status not in ("failed", "unknown")
    async with transaction(context.pool) as tx:
        await revocations.purging(tx, work, work.purge_id if again else None, PURGE_AGAIN)
    if not again:
        raise Unavailable(0, f"RUH_PURGE_{status.upper()}")


async def _give_up(context: Context, work: Work, room_id: str) -> None:
    """They left by themselves: nothing of theirs is touched, and nobody of ours stays with it."""
    with suppress(Refused):  # a lobby is the client's own room; after a crash we are out of it ourselves
        await _put_out(context, work, room_id)
    await _vacate(context, room_id)
    point("revoke.vacated")
    await _forget(context, work)


async def _vacate(context: Context, room_id: str) -> None:
    """Everybody of ours leaves, the assistant last: as long as it is there, it knows who else is."""
    try:
        state = (await context.homeserver.members(room_id, context.acting))["chunk"]
    except Refused:
        return  # the assistant has left, after everybody else
    ours = {
        event["state_key"] for event in state
        if event["content"].get("membership") in THERE and context.is_ours(event["state_key"])
    }  # fmt: skip
    async with transaction(context.pool) as tx:
        found = await puppets.by_users(tx, ours)
    for puppet in sorted(found, key=lambda puppet: puppet.id == context.assistant.id):
        await context.homeserver.leave(room_id, masks.acting(puppet))


async def _forget(context: Context, work: Work) -> None:
    async with transaction(context.pool) as tx:
        await context.machine.forget_leg(tx, work.leg_id)
        await revocations.vacated(tx, work)
        await revocations.leave(tx, work, Step.DONE)
    log.info("leg_revoked", leg=str(work.leg_id), keeps_copy=work.progress.keeps_copy)


_STEPS: Mapping[Step, Callable[[Context, Work, str], Awaitable[None]]] = {
    Step.REDACT: _redact,
    Step.KICK: _kick,
    Step.WAIT: _wait,
    Step.MEDIA: _media,
    Step.PURGE: _purge,
}
