"""Legs that are being taken back: which step each is at, and what has been done of it (C11).

A step is left by a conditional update that records it and announces it in the same transaction. Whoever
comes to a step that was left already changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge import audit
from bridge.audit import Did
from bridge.database import Transaction
from bridge.feed import Change, Notification, notify
from bridge.standing import allowed
from policies.access import Action
from policies.removal import AFTER_PARTING, NEXT, Parting, Progress, Step, words
from policies.vocabulary import ConversationId, LegId, MatrixUserId, PersonId, RoomId

_PROGRESS = (
    "r.step, r.keeps_copy, r.events, r.redacted, r.kicked_at, r.devices_waiting, r.wait_until,"
    " r.media_deleted, l.room_id"
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """For the members panel. `error`: a code; it is tried again by itself."""

    person_id: PersonId
    progress: Progress
    started_at: datetime
    done_at: datetime | None
    error: str | None

    @property
    def words(self) -> tuple[str, ...]:
        return words(self.progress)


@dataclass(frozen=True, slots=True)
class Work:
    """One leg to be taken back, for who does it. `cursor`: from where in its room to go on backwards."""

    leg_id: LegId
    conversation_id: ConversationId
    person_id: PersonId
    user_id: MatrixUserId
    room_id: RoomId | None
    progress: Progress
    cursor: str | None
    purge_id: str | None
    attempts: int

    @property
    def step(self) -> Step:
        return self.progress.step


async def of_conversation(tx: Transaction, actor: PersonId, conversation: ConversationId) -> list[Revocation]:
    """Everybody whose leg was given up, the latest first. Raises NotFound, NotAllowed."""
    await allowed(tx, actor, conversation, Action.SEE_MEMBERS)
    rows = await tx.fetch(
        f"SELECT r.person_id, r.started_at, r.done_at, r.error, {_PROGRESS} FROM revocation r"
        " JOIN leg l ON l.id = r.leg_id WHERE r.conversation_id = $1 ORDER BY r.started_at DESC, r.leg_id",
        conversation,
    )
    return [
        Revocation(PersonId(r["person_id"]), _progress(r), r["started_at"], r["done_at"], r["error"])
        for r in rows
    ]


async def due(tx: Transaction, limit: int) -> list[LegId]:
    """The ones that waited longest first."""
    rows = await tx.fetch(
        "SELECT leg_id FROM revocation WHERE step <> 'done' AND next_attempt_at <= now()"
        " ORDER BY next_attempt_at LIMIT $1",
        limit,
    )
    return [LegId(row["leg_id"]) for row in rows]


async def load(tx: Transaction, leg: LegId) -> Work:
    """The room as the leg has it now: a leg may be given up while its room is being made."""
    row = await tx.fetchrow(
        f"SELECT r.leg_id, r.conversation_id, r.person_id, r.user_id, r.cursor, r.purge_id, r.attempts,"
        f" {_PROGRESS} FROM revocation r JOIN leg l ON l.id = r.leg_id WHERE r.leg_id = $1",
        leg,
    )
    assert row is not None
    return Work(
        LegId(row["leg_id"]), ConversationId(row["conversation_id"]), PersonId(row["person_id"]),
        MatrixUserId(row["user_id"]), row["room_id"], _progress(row), row["cursor"], row["purge_id"],
        row["attempts"],
    )  # fmt: skip


def _progress(row: Any) -> Progress:
    return Progress(
        Step(row["step"]), row["keeps_copy"], row["events"], row["redacted"], row["kicked_at"],
        row["devices_waiting"], row["wait_until"], row["media_deleted"], row["room_id"] is not None,
    )  # fmt: skip


async def counted(tx: Transaction, work: Work, left: int, cursor: str | None) -> None:
    """So many events still carry something; they are gone through from the cursor on.

    The room is the truth: after a crash fewer may be left than was noted, or more because the client wrote.
    """
    await tx.execute(
        "UPDATE revocation SET room_id = $2, cursor = $4,"
        " events = greatest(coalesce(events, 0), redacted + $3),"
        " redacted = greatest(coalesce(events, 0), redacted + $3) - $3 WHERE leg_id = $1",
        work.leg_id, work.room_id, left, cursor,
    )  # fmt: skip
    await _announce(tx, work)


async def went_back(tx: Transaction, work: Work, redacted: int, cursor: str | None) -> None:
    """One page more; no cursor: the room has been gone through."""
    await tx.execute(
        "UPDATE revocation SET redacted = least(redacted + $2, events), cursor = $3 WHERE leg_id = $1",
        work.leg_id, redacted, cursor,
    )  # fmt: skip
    await _announce(tx, work)


async def swept(tx: Transaction, work: Work, redacted: int) -> None:
    """What the client wrote while their messages were redacted, found after they were put out."""
    await tx.execute(
        "UPDATE revocation SET events = coalesce(events, 0) + $2, redacted = redacted + $2 WHERE leg_id = $1",
        work.leg_id, redacted,
    )  # fmt: skip


async def parted(
    tx: Transaction, work: Work, parting: Parting, *, at: datetime, patience: timedelta, devices: int | None
) -> None:
    """They are out of the room. `devices`: how many will not hear of it, where that is known already."""
    kicked = at if parting is Parting.PUT_OUT else None
    await tx.execute(
        "UPDATE revocation SET kicked_at = $2, wait_until = $2::timestamptz + $3, devices_waiting = $4"
        " WHERE leg_id = $1 AND step = 'kick'",
        work.leg_id, kicked, patience, devices,
    )  # fmt: skip
    await leave(tx, work, AFTER_PARTING[parting], parting=parting.value)


async def still_waiting(tx: Transaction, work: Work, devices: int, again_in: timedelta | None) -> None:
    await tx.execute(
        "UPDATE revocation SET devices_waiting = $2, error = NULL, attempts = 0,"
        " next_attempt_at = now() + coalesce($3, interval '0') WHERE leg_id = $1",
        work.leg_id, devices, again_in,
    )  # fmt: skip
    if devices != work.progress.devices_waiting:
        await _announce(tx, work)


async def purging(tx: Transaction, work: Work, purge_id: str | None, again_in: timedelta) -> None:
    """The homeserver is at it under this id; None: that came to nothing, once more."""
    await tx.execute(
        "UPDATE revocation SET purge_id = $2, next_attempt_at = now() + $3 WHERE leg_id = $1",
        work.leg_id, purge_id, again_in,
    )  # fmt: skip


async def postponed(tx: Transaction, work: Work, error: str | None, seconds: float) -> None:
    """Again after a while; `error` None: there is only something to wait for."""
    await tx.execute(
        "UPDATE revocation SET error = $2, attempts = attempts + ($2::text IS NOT NULL)::int,"
        " next_attempt_at = now() + make_interval(secs => $3) WHERE leg_id = $1",
        work.leg_id, error, seconds,
    )  # fmt: skip
    if error is not None and work.attempts == 0:
        await _announce(tx, work)


async def leave(tx: Transaction, work: Work, to: Step | None = None, **detail: str | int) -> None:
    """This step is done, recorded and announced; on to the next one."""
    to = NEXT[work.step] if to is None else to
    row = await tx.fetchrow(
        "UPDATE revocation SET step = $3, attempts = 0, error = NULL, cursor = NULL, next_attempt_at = now(),"
        " done_at = CASE WHEN $3 = 'done' THEN now() END WHERE leg_id = $1 AND step = $2"
        " RETURNING events, redacted, devices_waiting, media_deleted",
        work.leg_id, work.step.value, to.value,
    )  # fmt: skip
    if row is None:
        return
    done: dict[str, Any] = {"step": work.step.value, "leg": str(work.leg_id)}
    done |= {name: row[name] for name in _COUNTS.get(work.step, ())} | detail
    await audit.record(tx, Did.REVOKED, conversation=work.conversation_id, subject=work.person_id, **done)
    await _announce(tx, work)


_COUNTS = {
    Step.REDACT: ("events", "redacted"),
    Step.KICK: ("events", "redacted"),
    Step.WAIT: ("devices_waiting",),
    Step.MEDIA: ("media_deleted",),
    Step.PURGE: ("events", "redacted", "devices_waiting", "media_deleted"),
}


async def _announce(tx: Transaction, work: Work) -> None:
    await notify(tx, Notification(Change.CONVERSATION, work.conversation_id))


async def remember_media(tx: Transaction, leg: LegId, addresses: list[str]) -> None:
    """Files of a leg's room, whoever put them there: they go with it."""
    await tx.execute(
        "INSERT INTO leg_media (leg_id, mxc) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING",
        leg, addresses,
    )  # fmt: skip


async def media_left(tx: Transaction, work: Work) -> list[str]:
    """Not what stands in another leg too, as a forwarded picture does: it goes with the last one."""
    rows = await tx.fetch(
        "SELECT mxc FROM leg_media m WHERE leg_id = $1 AND deleted_at IS NULL AND NOT EXISTS"
        " (SELECT FROM leg_media o JOIN leg l ON l.id = o.leg_id"
        "  WHERE o.mxc = m.mxc AND o.leg_id <> m.leg_id AND l.state <> 'ended') ORDER BY mxc",
        work.leg_id,
    )
    return [row["mxc"] for row in rows]


async def media_deleted(tx: Transaction, work: Work, address: str) -> None:
    await tx.execute(
        "WITH gone AS (UPDATE leg_media SET deleted_at = now() WHERE leg_id = $1 AND mxc = $2"
        " AND deleted_at IS NULL RETURNING 1) UPDATE revocation SET media_deleted = media_deleted + 1"
        " FROM gone WHERE leg_id = $1",
        work.leg_id, address,
    )  # fmt: skip


async def files_on_their_way(tx: Transaction, work: Work) -> bool:
    """Whether the journal has yet to fetch a file that came from this leg."""
    found = await tx.fetchval(
        "SELECT true FROM attachment a JOIN delivery d ON d.entry_id = a.entry_id"
        " WHERE d.leg_id = $1 AND d.state = 'origin' AND a.state = 'wanted' LIMIT 1",
        work.leg_id,
    )
    return found is True


async def vacated(tx: Transaction, work: Work) -> None:
    """Nobody of ours is in the room any more."""
    await tx.execute("DELETE FROM occupant WHERE leg_id = $1", work.leg_id)
