"""Takes the words out of a room: every event that carries any, whoever sent it, the newest first.

What is left is asked of the room itself, never of our own notes: an event that we don't know of is taken
back as well, and one that was redacted before a crash isn't counted twice.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from appservice.context import Context
from appservice.faults import point
from appservice.homeserver import Refused
from appservice.homeserver_transport import Json

COUNT_PAGE = 500  # events; counting moves no more than their ids and ciphertexts
PAGE = 40  # events redacted between two notes of how far we are: about a second's worth
AT_ONCE = 4
"""Redactions at a time, in all rooms together: a removal leaves the homeserver time for who is talking."""

_gate = asyncio.Semaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Page:
    """What was done of one page; `older`: where the next one begins, None: that was the oldest."""

    redacted: int
    older: str | None
    refused: Refused | None


def carries_words(event: Json) -> bool:
    """State stays: it says who was in the room and nothing else. A redaction may carry a reason."""
    if "state_key" in event or "redacted_because" in event.get("unsigned", {}):
        return False
    content = event.get("content", {})
    return any(key != "redacts" for key in content) if event["type"] == "m.room.redaction" else bool(content)


async def count(context: Context, room_id: str) -> tuple[int, str | None]:
    """How many events carry words, and where the room's newest are."""
    left, newest, start = 0, None, None
    while True:
        chunk = await context.homeserver.messages(room_id, context.acting, start=start, limit=COUNT_PAGE)
        newest = newest or chunk["start"]
        left += sum(map(carries_words, chunk["chunk"]))
        start = chunk.get("end")
        if start is None or not chunk["chunk"]:
            return left, newest


async def page(context: Context, room_id: str, start: str | None) -> Page:
    """Redact one page, going back from `start`.

    Raises Unavailable or RateLimited, after which the same page is to be done again.
    """
    chunk = await context.homeserver.messages(room_id, context.acting, start=start, limit=PAGE)
    events = [event["event_id"] for event in chunk["chunk"] if carries_words(event)]
    redacted, refused = await _redact(context, room_id, events)
    return Page(redacted, chunk.get("end") if chunk["chunk"] else None, refused)


async def everything(context: Context, room_id: str) -> int:
    """All that is left, in one go. Raises HomeserverError, also for what was refused."""
    redacted, start = 0, None
    while True:
        done = await page(context, room_id, start)
        if done.refused is not None:
            raise done.refused
        redacted += done.redacted
        if (start := done.older) is None:
            return redacted


async def _redact(context: Context, room_id: str, events: Sequence[str]) -> tuple[int, Refused | None]:
    outcomes = await asyncio.gather(
        *(_one(context, room_id, event) for event in events), return_exceptions=True
    )
    point("revoke.redacted")
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    refused = [failure for failure in failures if isinstance(failure, Refused)]
    for failure in failures:
        if not isinstance(failure, Refused):
            raise failure
    return len(events) - len(failures), refused[0] if refused else None


async def _one(context: Context, room_id: str, event_id: str) -> None:
    # As the assistant, whose power nobody's event withstands. The same transaction for the same event, for
    # ever: what was redacted just before a crash is not redacted twice.
    transaction = str(uuid5(NAMESPACE_URL, f"revoke {room_id} {event_id}"))
    async with _gate:
        await context.homeserver.redact(room_id, event_id, transaction, context.acting)
