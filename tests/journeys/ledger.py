"""What was accepted in a conversation, kept beside it: the journal and the client's app must say the same.

Accepted: the portal's transaction has committed, or the client's homeserver has given an event id.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from bridge import messages
from bridge.database import UNREACHABLE
from policies.content import Text
from policies.vocabulary import EntryId
from tests.clients.protocol import RealClient, Seen
from tests.journeys.talk import Talk
from tests.journeys.world import PATIENCE, text, until

_numbers = itertools.count(1)
T = TypeVar("T")


@dataclass
class Ledger:
    """`written` by the therapist and `sent` by the client, each in order, in the words in force."""

    talk: Talk
    written: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    _entries: list[EntryId] = field(default_factory=list)

    async def exchange(self, count: int, *, every: float = 0) -> None:
        """Both of them write at the same time; both change one of their messages and take one back."""
        await asyncio.gather(self._write(count, every), self._send(count, every))

    async def _write(self, count: int, every: float) -> None:
        for _ in range(count):
            words = f"w{next(_numbers)}"
            request = uuid4()
            posted = await through(lambda w=words, r=request: self.talk.say(w, request_id=r))  # type: ignore[misc]
            self.written.append(words)
            self._entries.append(posted.entry_id)
            await asyncio.sleep(every)
        changed, gone = self._entries[-2:]
        request, anew = uuid4(), Text(f"{self.written[-2]} anew")
        await through(lambda: self.talk.act(messages.edit, entry=changed, content=anew, request_id=request))
        await through(lambda: self.talk.act(messages.delete, entry=gone))
        self.written[-2:] = [anew.body]
        del self._entries[-1]

    async def _send(self, count: int, every: float) -> None:
        app, room = self.talk.app, self.talk.room
        events = []
        for _ in range(count):
            words = f"c{next(_numbers)}"
            events.append(await app.send(room, words))
            self.sent.append(words)
            await asyncio.sleep(every)
        await app.edit(room, events[-2], f"{self.sent[-2]} anew")
        await app.redact(room, events[-1])
        self.sent[-2:] = [f"{self.sent[-2]} anew"]

    async def check(self, seconds: float = PATIENCE) -> None:
        """Everything is in both places exactly once, in order, readable: at the latest after `seconds`."""
        try:
            await until(self._journal_agrees, seconds=seconds, what="the journal")
        except AssertionError as missing:
            raise AssertionError(f"{missing}\n{await self._journalled()}\nexpected={self.sent}") from None
        await self.check_app(self.talk.app, self.written, seconds)
        # It can be there before we know it: what a dead process has sent is sent again, and then recorded.
        settled = (
            "SELECT count(*) = 0 FROM delivery d JOIN leg l ON l.id = d.leg_id WHERE l.conversation_id = $1"
            " AND d.state NOT IN ('sent', 'origin', 'cancelled')"
        )
        pool = self.talk.world.pool
        await until(
            lambda: pool.fetchval(settled, self.talk.conversation),
            seconds=seconds,
            what="the outbox to empty",
        )

    async def check_app(
        self, app: RealClient, expected: list[str], seconds: float = PATIENCE, *, only_last: bool = False
    ) -> None:
        """`only_last`: what stands before them was written before this app signed in."""
        face = await self.talk.face()

        async def agrees() -> bool:
            seen = await shown(app, self.talk.room, face)
            return (seen[-len(expected) :] if only_last else seen) == expected

        try:
            await app.wait_until(agrees, seconds, "the same in the app")
        except AssertionError as missing:
            seen = await shown(app, self.talk.room, face)
            raise AssertionError(f"{missing}\n{seen=}\n{expected=}") from None

    async def _journalled(self) -> list[str]:
        lines = await self.talk.world.lines(self.talk.therapist, self.talk.conversation)
        return [
            text(line) for line in lines if line.author_id == self.talk.client.id and line.deleted_at is None
        ]

    async def _journal_agrees(self) -> bool:
        return await self._journalled() == self.sent


async def through(act: Callable[[], Awaitable[T]]) -> T:
    """As a page does whose server has lost its database: the same request again, until it has an answer."""
    while True:
        try:
            return await act()
        except UNREACHABLE:
            await asyncio.sleep(0.1)


async def shown(app: RealClient, room: str, sender: str) -> list[str]:
    """A sender's messages as the app shows them; what it can't read stands there as such."""

    def words(seen: Seen) -> str:
        return f"unreadable: {seen.failure}" if seen.failure else seen.body

    return [words(seen) for seen in await app.timeline(room) if seen.sender == sender and not seen.redacted]
