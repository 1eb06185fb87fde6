"""A one-to-one thread in the database alone, and what its two members do there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from bridge import legs, messages, participants, timeline
from bridge.database import Pool, transaction
from bridge.journal import Origin
from bridge.messages import Posted
from bridge.sealing import Keyring
from bridge.timeline import Line, Page
from policies.content import Text
from policies.vocabulary import ConversationId, EventId, LegId, Person, Role
from tests.support.people import keyring, make

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
T = TypeVar("T")


@dataclass
class Thread:
    pool: Pool
    keys: Keyring
    therapist: Person
    client: Person
    id: ConversationId
    leg: LegId
    _seconds: int = 0

    async def act(self, use_case: Callable[..., Awaitable[T]], **given: Any) -> T:
        """One transaction, a second after the one before."""
        self._seconds += 1
        at = NOW + timedelta(seconds=self._seconds)
        async with transaction(self.pool) as tx:
            return await use_case(tx, self.keys, conversation=self.id, at=at, **given)

    async def say(self, words: str, author: Person | None = None, **more: Any) -> Posted:
        return await self.act(
            messages.post, author=(author or self.therapist).id, content=Text(words), **more
        )

    async def hear(self, words: str, event: str, **more: Any) -> Posted:
        """The client's words, out of an event of their room."""
        return await self.say(words, self.client, origin=Origin(self.leg, EventId(event)), **more)

    async def page(self, reader: Person | None = None, **more: Any) -> Page:
        async with transaction(self.pool) as tx:
            return await timeline.page(tx, self.keys, (reader or self.therapist).id, self.id, **more)

    async def lines(self, reader: Person | None = None) -> list[Line]:
        return list((await self.page(reader, limit=1000)).lines)

    async def bodies(self) -> list[str]:
        return [line.content.body if isinstance(line.content, Text) else "" for line in await self.lines()]

    async def deliveries(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch(
            "SELECT e.kind, d.state FROM delivery d JOIN entry e ON e.id = d.entry_id ORDER BY d.id"
        )
        return [(row["kind"], row["state"]) for row in rows]

    async def open_leg(self) -> None:
        """As if its room were made and the client had a device."""
        async with transaction(self.pool) as tx:
            await legs.set_room(tx, self.leg, f"!{self.leg}")
            await tx.execute("UPDATE leg SET state = 'open', hold = NULL WHERE id = $1", self.leg)
            await tx.execute("UPDATE occupant SET joined_at = now() WHERE leg_id = $1", self.leg)


async def a_thread(pool: Pool, keys: Keyring | None = None) -> Thread:
    keys = keys or keyring()
    async with transaction(pool) as tx:
        therapist = await make(
            tx, keys, Role.THERAPIST, "Sara", "Khan", title="Dr.", email=f"{uuid4().hex}@ruh.test"
        )
        client = await make(tx, keys)
        conversation, _ = await participants.open_direct(
            tx, keys, therapist=therapist.id, client=client.id, at=NOW
        )
        leg = LegId(await tx.fetchval("SELECT id FROM leg WHERE conversation_id = $1", conversation))
    return Thread(pool, keys, therapist, client, conversation, leg)
