"""Who waits for a client to be in a room hears of it from the sync that brings it, once that is committed.

Only a shortcut: whoever waits also asks the homeserver every so often.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Arrivals:
    def __init__(self) -> None:
        self._expected: dict[tuple[str, str], asyncio.Event] = {}

    @contextmanager
    def expected(self, room_id: str, user_id: str) -> Iterator[asyncio.Event]:
        """Set when they come. One waits for the same at a time: the leg's lock sees to it."""
        came = self._expected[room_id, user_id] = asyncio.Event()
        try:
            yield came
        finally:
            del self._expected[room_id, user_id]

    def heard(self, events: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """What a sync has brought, by room."""
        for room_id, user_id in [*self._expected]:
            if any(_is_join(event, user_id) for event in events.get(room_id, ())):
                self._expected[room_id, user_id].set()


def _is_join(event: Mapping[str, Any], user_id: str) -> bool:
    return (
        event["type"] == "m.room.member"
        and event.get("state_key") == user_id
        and event["content"].get("membership") == "join"
    )
