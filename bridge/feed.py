"""Tells the other processes that something changed: ids only, never names or content.

PostgreSQL delivers a notification when its transaction commits, in commit order, to who listens then.
It is a hint: whoever missed one finds the rows.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from bridge.database import Pool, Transaction, connect
from policies.vocabulary import ConversationId, EntryId, LegId, PersonId

CHANNEL = "ruh"
LOOK_EVERY, ANSWER_WITHIN = 15.0, 10.0  # seconds, while nothing is heard
log = structlog.get_logger()


class Change(StrEnum):
    ENTRY = "entry"  # the journal grew; `entry` and what it is about, `target`
    DELIVERY = "delivery"  # entries were prepared, delivered or failed
    RECEIPT = "receipt"  # `person` read on
    TYPING = "typing"  # `person` types or stopped; nothing is kept of it
    CONVERSATION = "conversation"  # title, roster, leg, hold
    ACCOUNT = "account"  # an account or a person changed
    ATTACHMENT = "attachment"  # a file arrived, or will not
    BLAST = "blast"  # a blast of `person` got further
    REWAKE = "rewake"  # the listener was away: anything may have changed


@dataclass(frozen=True, slots=True)
class Notification:
    change: Change
    conversation: ConversationId | None = None
    entry: EntryId | None = None
    target: EntryId | None = None
    person: PersonId | None = None
    on: bool = False
    legs: tuple[LegId, ...] | None = None
    """Of an entry: the legs that it is to be carried to. None: not said, as they are too many."""

    def to_json(self) -> str:
        ids = {"c": self.conversation, "e": self.entry, "t": self.target, "p": self.person}
        body: dict[str, Any] = {key: str(value) for key, value in ids.items() if value is not None}
        if self.legs is not None:
            body["l"] = [str(leg) for leg in self.legs]
        return json.dumps({"k": self.change, "on": int(self.on), **body}, separators=(",", ":"))

    @classmethod
    def from_json(cls, payload: str) -> "Notification":
        body = json.loads(payload)

        def uuid(key: str) -> Any:
            return UUID(body[key]) if key in body else None

        legs = None if body.get("l") is None else tuple(LegId(UUID(leg)) for leg in body["l"])
        return cls(Change(body["k"]), uuid("c"), uuid("e"), uuid("t"), uuid("p"), bool(body.get("on")), legs)


async def notify(tx: Transaction, notification: Notification) -> None:
    await tx.execute("SELECT pg_notify($1, $2)", CHANNEL, notification.to_json())


async def announce(pool: Pool, notification: Notification) -> None:
    """For what is not kept, typing: a notification without a transaction around it."""
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, notification.to_json())


async def listen(url: str) -> AsyncIterator[Notification]:
    """Everything that changes from now on, for ever; after each (re)connection a REWAKE comes first."""
    pause = 0.2
    while True:
        try:
            connection = await connect(url)
        except (OSError, asyncpg.PostgresError, TimeoutError) as error:
            log.warning("feed_unreachable", error=type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5)
            continue
        try:
            async for notification in _until_lost(connection):
                pause = 0.2
                yield notification
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("feed_lost", error=type(error).__name__)
        finally:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)
        await asyncio.sleep(pause)


async def _until_lost(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[Notification]:
    queue: asyncio.Queue[Notification | None] = asyncio.Queue()
    connection.add_termination_listener(lambda _: queue.put_nowait(None))
    await connection.add_listener(CHANNEL, lambda *args: queue.put_nowait(_read(args[-1])))
    yield Notification(Change.REWAKE)
    while True:
        try:
            async with asyncio.timeout(LOOK_EVERY):
                notification = await queue.get()
        except TimeoutError:
            # A connection can die without a word (a host lost, a firewall): only a question finds out.
            await connection.fetchval("SELECT 1", timeout=ANSWER_WITHIN)
            continue
        if notification is None:
            return
        yield notification


def _read(payload: object) -> Notification:
    try:
        return Notification.from_json(str(payload))
    except (ValueError, KeyError):
        log.warning("feed_malformed")
        return Notification(Change.REWAKE)
