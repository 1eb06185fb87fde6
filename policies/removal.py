"""Taking a room back from somebody who was removed: in which order, for how long, and how it is told (C11).

Redactions reach a device only while its user is in the room, and a device that is away hears of neither them
nor the leave once the room is gone. So the room stays, empty of words, until every device has looked; after
the deadline it goes all the same, and what a device may still show is said, not hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Step(StrEnum):
    REDACT = "redact"
    """Every event that carries words or a file, newest first."""
    KICK = "kick"
    WAIT = "wait"
    """Until each of their devices has looked, or the deadline."""
    MEDIA = "media"
    PURGE = "purge"
    DONE = "done"


class Parting(StrEnum):
    """How the client came to be out of the room."""

    PUT_OUT = "put_out"
    LEFT_BEFORE = "left_before"
    """In their own app, earlier: nothing that is done in the room reaches them any more."""
    NEVER_CAME = "never_came"


NEXT: Mapping[Step, Step] = {
    Step.REDACT: Step.KICK,
    Step.KICK: Step.WAIT,
    Step.WAIT: Step.MEDIA,
    Step.MEDIA: Step.PURGE,
    Step.PURGE: Step.DONE,
}
AFTER_PARTING: Mapping[Parting, Step] = {
    Parting.PUT_OUT: Step.WAIT,
    # Waiting is for news that are on their way; to these there are none.
    Parting.LEFT_BEFORE: Step.MEDIA,
    Parting.NEVER_CAME: Step.MEDIA,
}

NEVER_SEEN_GRACE = timedelta(minutes=1)
"""The homeserver notes a device some seconds after its first request; one that it has not seen by then has
never looked into any room."""
CLOCKS = timedelta(seconds=5)
"""The homeserver's may be so much ahead of ours."""
SOON, LATER, OFTEN_FOR = timedelta(seconds=20), timedelta(minutes=10), timedelta(minutes=15)


def behind(devices: Sequence[datetime | None], since: datetime, now: datetime) -> int:
    """How many devices have not asked the homeserver for news since then; ``devices``: last seen, each."""
    grace = now - since <= NEVER_SEEN_GRACE
    return sum(1 for seen in devices if (grace if seen is None else seen <= since + CLOCKS))


def look_again_in(since: datetime, now: datetime) -> timedelta:
    """Often at first: a device in use looks within two minutes, which is how exactly that is noted."""
    return SOON if now - since < OFTEN_FOR else LATER


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a leg has been taken back."""

    step: Step
    keeps_copy: bool = False
    """They left by themselves: nothing is taken back."""
    events: int | None = None
    redacted: int = 0
    kicked_at: datetime | None = None
    devices_waiting: int | None = None
    wait_until: datetime | None = None
    media_deleted: int = 0
    had_room: bool = True


_ORDER = list(Step)


def words(progress: Progress) -> tuple[str, ...]:
    """For the members panel, in the order of what was done: ("Removed", "240 of 240 messages taken back")."""
    if progress.keeps_copy:
        return ("Left by themselves", "what they had stays with them")
    said = ["Removed"]
    reached = _ORDER.index(progress.step)
    if not progress.had_room:
        return (*said, "they had not received anything") if progress.step is Step.DONE else tuple(said)
    if progress.events is not None:
        what = "message" if progress.events == 1 else "messages"
        said.append(f"{progress.redacted} of {progress.events} {what} taken back")
    if reached > _ORDER.index(Step.KICK):
        said.append("out of the chat")
    if progress.devices_waiting:
        count = progress.devices_waiting
        if progress.step is Step.WAIT:
            said.append(f"waiting for {_devices(count)}")
        else:
            has = "has" if count == 1 else "have"
            said.append(f"{_devices(count)} {has} not been online and may still show what was loaded before")
    if progress.media_deleted:
        said.append(f"{progress.media_deleted} {'file' if progress.media_deleted == 1 else 'files'} deleted")
    if progress.step is Step.DONE:
        said.append("deleted for good")
    return tuple(said)


def _devices(count: int) -> str:
    return f"{count} {'phone or computer' if count == 1 else 'phones or computers'}"
