"""The assistant's long poll: everything that a sync brings commits together with its token.

A crash anywhere replays from the last token; keys, entries and parked events know what they already have.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from appservice import lobby, receive
from appservice.backoff import wait
from appservice.context import Context
from appservice.faults import point
from appservice.homeserver import HomeserverError, Unavailable
from appservice.metrics import RECEIVED, SYNC_FAILURES
from bridge import legs, outbox, parked, receipts, shards
from bridge.database import UNREACHABLE, Transaction, transaction
from bridge.feed import Change, Notification, notify
from bridge.legs import Leg
from policies.vocabulary import ConversationId, PersonId

log = structlog.get_logger()
ASK_AGAIN = 5.0
"""Seconds at most between two syncs while nobody answers: by this request everybody hears of its return."""
TROUBLE: tuple[type[Exception], ...] = (HomeserverError, *UNREACHABLE)
Json = dict[str, Any]

LONG_POLL = 30.0  # seconds
GAP_PAGES = 1000  # of 100 events: more than that is no absence any more
MANY = 4  # rooms being made at once: each sync then brings whole rooms, ours for the most part
MANY_PAUSE = 1.0  # seconds; such a sync costs the homeserver 30 to 100 ms, a room 150
KEEP_TOKEN_EVERY = 20.0  # seconds, while nothing comes but our own
FILTER = json.dumps(
    {
        "presence": {"types": []},
        "account_data": {"types": []},
        "room": {
            "timeline": {"limit": 50, "lazy_load_members": True},
            "state": {"lazy_load_members": True, "types": ["m.room.member"]},
            "account_data": {"types": []},
            "ephemeral": {"types": ["m.receipt", "m.typing"]},
        },
    },
    separators=(",", ":"),
)


@dataclass(slots=True)
class Outcome:
    """What is to be done after the commit, over the network or in other tasks."""

    changed_users: set[str] = field(default_factory=set)
    wedged: set[tuple[str, str]] = field(default_factory=set)
    key_counts: dict[str, int] | None = None
    unused_fallbacks: list[str] | None = None
    homeserver_is_back: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """What a sync has that isn't our own doing."""

    to_device: list[Any]
    changed_users: set[str]
    events: dict[str, list[Json]]
    """By room, oldest first; only those that we didn't send ourselves."""
    ephemeral: dict[str, list[Json]]
    invitations: dict[str, str]
    """Room → who asked the assistant into it."""

    @property
    def is_nothing(self) -> bool:
        return not (self.to_device or self.changed_users or self.events or self.ephemeral or self.invitations)


class Syncer:
    """One shard's incoming side. Each outcome is handed on once its transaction is committed."""

    def __init__(self, context: Context, epoch: int, token: str | None) -> None:
        self._context = context
        self._epoch = epoch
        self._token = token
        self._kept_at = 0.0
        self.caught_up = asyncio.Event()
        """Set once all that happened while we were away is taken in; nothing goes out before: a client's
        devices or identity may have changed meanwhile."""
        self._typing: dict[tuple[ConversationId, PersonId], bool] = {}

    async def run(self, outcomes: "asyncio.Queue[Outcome]") -> None:
        failures = 0
        while True:
            try:
                answer = await self._context.homeserver.sync(
                    self._context.acting,
                    since=self._token,
                    wait=LONG_POLL if self.caught_up.is_set() else 0,
                    filter=FILTER,
                )
                brought = self._brought(answer, await self._timelines(answer))
                if brought.to_device:
                    await self._context.machine.learn_senders(
                        self._context.pool, self._context.assistant, brought.to_device
                    )
            except TROUBLE as error:
                failures += 1
                SYNC_FAILURES.inc()
                seconds = wait(error, failures, give_up=False) if isinstance(error, HomeserverError) else 1.0
                if isinstance(error, Unavailable):
                    seconds = min(seconds, ASK_AGAIN)
                code = error.errcode if isinstance(error, HomeserverError) else type(error).__name__
                log.warning("sync_failed", error=code, seconds=round(seconds, 1))
                await asyncio.sleep(seconds)
                continue
            was_away, failures = failures > 0, 0
            point("sync.received")
            outcome = await self._commit(answer, brought)
            outcome.homeserver_is_back = was_away
            point("sync.committed")
            self._token = answer["next_batch"]
            outcomes.put_nowait(outcome)
            self._context.arrivals.heard(brought.events)
            self.caught_up.set()
            if len(self._context.building) >= MANY:
                await asyncio.sleep(MANY_PAUSE)

    def _brought(self, answer: Json, timelines: dict[str, list[Json]]) -> Brought:
        is_ours = self._context.is_ours
        lists = answer.get("device_lists", {})
        users = (*lists.get("changed", []), *lists.get("left", []))
        theirs = {
            room: kept
            for room, events in timelines.items()
            if (kept := [event for event in events if not is_ours(event["sender"])])
        }
        ephemeral = {
            room: events
            for room, body in answer.get("rooms", {}).get("join", {}).items()
            if (events := body.get("ephemeral", {}).get("events"))
        }
        to_device = answer.get("to_device", {}).get("events", [])
        invitations = lobby.invitations(answer, self._context.assistant.user_id)
        changed = {user for user in users if not is_ours(user)}
        return Brought(to_device, changed, theirs, ephemeral, invitations)

    async def _timelines(self, answer: Json) -> dict[str, list[Json]]:
        """Each room's events, oldest first; what the homeserver left out of one is fetched."""
        found: dict[str, list[Json]] = {}
        for kind in ("join", "leave"):
            for room_id, room in answer.get("rooms", {}).get(kind, {}).items():
                timeline = room.get("timeline", {})
                events = timeline.get("events", [])
                left_out = timeline.get("limited") and timeline.get("prev_batch")
                if left_out and self._token is not None and not _begins(events):
                    events = await self._gap(room_id, timeline["prev_batch"]) + events
                if events:
                    found[room_id] = events
        return found

    async def _gap(self, room_id: str, prev_batch: str) -> list[Json]:
        """What lies between the last sync and this one, oldest first."""
        events: list[Json] = []
        start = prev_batch
        for _ in range(GAP_PAGES):
            page = await self._context.homeserver.messages(
                room_id, self._context.acting, start=start, end=self._token, limit=100
            )
            events += page["chunk"]
            if "end" not in page or not page["chunk"]:
                break
            start = page["end"]
        else:
            log.error("gap_too_long", room=room_id, events=len(events))
        return events[::-1]

    async def _commit(self, answer: Json, brought: Brought) -> Outcome:
        outcome = Outcome(
            changed_users=brought.changed_users,
            key_counts=answer.get("device_one_time_keys_count"),
            unused_fallbacks=answer.get("device_unused_fallback_key_types"),
        )
        now = time.monotonic()
        if brought.is_nothing and now - self._kept_at < KEEP_TOKEN_EVERY:
            return outcome  # our own messages come back; going through them once more costs nothing
        pause = 0.2
        # Events alone can be gone through twice; what keys do to our copies of ratchets is better done once.
        apart = bool(brought.to_device or brought.invitations)
        while True:
            try:
                async with transaction(self._context.pool) as tx:
                    await self._effects(tx, brought, outcome, apart=apart)
                    await shards.advance(tx, self._context.shard, self._epoch, answer["next_batch"])
                self._kept_at = now
                RECEIVED.inc(sum(map(len, brought.events.values())))
                return outcome
            except receive.Apart:
                apart = True
            except UNREACHABLE as error:
                log.warning("database_unreachable", error=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5)

    async def _effects(self, tx: Transaction, brought: Brought, outcome: Outcome, *, apart: bool) -> None:
        context = self._context
        if brought.to_device:
            received = await context.machine.receive_to_device(tx, context.assistant, brought.to_device)
            outcome.wedged |= received.wedged
            await retry_sessions(tx, context, received.sessions)
        point("sync.keys")
        if brought.changed_users:
            await context.machine.devices_changed(tx, brought.changed_users)
        for room, user_id in brought.invitations.items():
            await lobby.invited(tx, context, room, user_id)
        rooms = {*brought.events, *brought.ephemeral}
        if not rooms:
            return
        known = await legs.by_rooms(tx, rooms)
        for room, events in brought.events.items():
            await self._room(tx, room, known.get(room), events, apart=apart)
        for room, events in brought.ephemeral.items():
            if room in known:
                await self._ephemeral(tx, known[room], events)

    async def _room(
        self, tx: Transaction, room: str, leg: Leg | None, events: list[Json], *, apart: bool
    ) -> None:
        if leg is None:
            # A room that no leg knows (a crash left it half made): nobody's words are in it.
            log.warning("unknown_room", room=room, events=len(events))
            return
        for event in events:
            await receive.take(tx, self._context, leg, event, apart=apart)

    async def _ephemeral(self, tx: Transaction, leg: Leg, events: list[Json]) -> None:
        for event in events:
            if event["type"] == "m.typing":
                await self._typed(tx, leg, leg.user_id in event["content"].get("user_ids", []))
            elif event["type"] == "m.receipt":
                await self._read(tx, leg, event["content"])

    async def _typed(self, tx: Transaction, leg: Leg, on: bool) -> None:
        key = (leg.conversation_id, leg.person_id)
        if self._typing.get(key, False) != on:
            self._typing[key] = on
            await notify(tx, Notification(Change.TYPING, leg.conversation_id, person=leg.person_id, on=on))

    async def _read(self, tx: Transaction, leg: Leg, content: Json) -> None:
        for event_id, kinds in content.items():
            mark = kinds.get("m.read", {}).get(leg.user_id)
            if mark is None:
                continue
            found = await outbox.entry_of_event(tx, leg.id, event_id)
            if found is not None:
                at = datetime.fromtimestamp(mark["ts"] / 1000, UTC) if "ts" in mark else datetime.now(UTC)
                await receipts.mark_read(
                    tx, person=leg.person_id, conversation=leg.conversation_id, seq=found[2], at=at,
                    late=True,
                )  # fmt: skip


def _begins(events: list[Json]) -> bool:
    """Whether the room itself begins here: there is nothing before. (A new room always counts as limited.)"""
    return any(event["type"] == "m.room.create" for event in events)


async def retry_sessions(tx: Transaction, context: Context, sessions: list[tuple[str, str]]) -> None:
    """Keys came: the parked events that waited for them, in the order that they arrived."""
    for room_id, session_id in sessions:
        for event in await parked.of_session(tx, room_id, session_id):
            await retry(tx, context, event)


async def retry(
    tx: Transaction, context: Context, event: parked.Parked, pause: float | None = receive.FIRST_LOOK
) -> bool:
    """Once more; True when it became an entry. Otherwise again after `pause` seconds, if that may help at
    all; None: this was the last time."""
    leg = (await legs.by_rooms(tx, [event.room_id])).get(event.room_id)
    if leg is None:
        await parked.tried(tx, event, "leg_gone", parked.FOREVER)
        return False
    failure = await receive.attempt(tx, context, leg, event.raw)
    if failure is None:
        await parked.resolved(tx, event)
        return True
    await parked.tried(tx, event, failure.code, pause if failure.again_in else parked.FOREVER)
    return False
