"""One LISTEN a process, told on to the pages that it concerns: ids only, each page asks what it may see.

Every notification gets a number. A page that was rendered at number n, or was away since, is told all
after n; when that is too long ago (or the listener itself was away) it asks for everything again.
"""

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, cast

import structlog
from quart import current_app

from bridge import conversations
from bridge.database import UNREACHABLE, Pool, transaction
from bridge.feed import Change, Notification
from policies.vocabulary import ConversationId, PersonId

KEPT = 2000
_ROSTERS = 5000
log = structlog.get_logger()


class Viewer(Protocol):
    """An open page."""

    person_id: PersonId

    def take(self, notification: Notification) -> None: ...


@dataclass(frozen=True, slots=True)
class _Told:
    number: int
    notification: Notification
    concerned: frozenset[PersonId]


class Hub:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._viewers: set[Viewer] = set()
        self._rosters: OrderedDict[ConversationId, frozenset[PersonId]] = OrderedDict()
        self._told: deque[_Told] = deque(maxlen=KEPT)
        self._number = 0
        self._epoch = secrets.token_hex(4)
        self.listening = asyncio.Event()
        """Set once the feed has been heard for the first time."""

    def mark(self) -> str:
        """Where the feed is now: a page rendered after this knows everything up to here."""
        return f"{self._epoch}.{self._number}"

    def join(self, viewer: Viewer, mark: str) -> None:
        """From now on, and what was told since `mark`."""
        self._viewers.add(viewer)
        self.catch_up(viewer, mark)

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def catch_up(self, viewer: Viewer, mark: str) -> None:
        epoch, _, number = mark.partition(".")
        known = epoch == self._epoch and number.isdecimal()
        if not known or (self._told and int(number) < self._told[0].number - 1):
            viewer.take(Notification(Change.REWAKE))
            return
        for told in self._told:
            if told.number > int(number) and viewer.person_id in told.concerned:
                viewer.take(told.notification)

    async def run(self, feed: AsyncIterator[Notification]) -> None:
        """For ever; a failure in between is told as "everything may have changed"."""
        async for notification in feed:
            try:
                await self._tell(notification)
            except UNREACHABLE as error:
                log.warning("feed_not_told", error=type(error).__name__)
                self._begin_anew()

    async def _tell(self, notification: Notification) -> None:
        if notification.change is Change.REWAKE:
            self._begin_anew()
            return
        if notification.conversation is not None:
            concerned = await self._concerned(notification.conversation, notification.change)
        elif notification.change is Change.BLAST and notification.person is not None:
            concerned = frozenset({notification.person})
        else:
            return
        self._number += 1
        self._told.append(_Told(self._number, notification, concerned))
        for viewer in list(self._viewers):
            if viewer.person_id in concerned:
                viewer.take(notification)

    async def _concerned(self, conversation: ConversationId, change: Change) -> frozenset[PersonId]:
        """Staff in it; after a change of the roster also those who were: their page has to let it go."""
        before = self._rosters.get(conversation)
        if before is not None and change is not Change.CONVERSATION:
            self._rosters.move_to_end(conversation)
            return before
        async with transaction(self._pool) as tx:
            now = frozenset(await conversations.staff_of(tx, conversation))
        self._rosters[conversation] = now
        if len(self._rosters) > _ROSTERS:
            self._rosters.popitem(last=False)
        return now | (before or frozenset())

    def _begin_anew(self) -> None:
        self._epoch, self._number = secrets.token_hex(4), 0
        self._told.clear()
        self._rosters.clear()
        self.listening.set()
        for viewer in list(self._viewers):
            viewer.take(Notification(Change.REWAKE))


def hub() -> Hub:
    return cast(Hub, current_app.extensions["hub"])


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
