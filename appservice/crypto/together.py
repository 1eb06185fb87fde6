"""Questions that may be asked together: while one is under way, what comes is kept for the next.

Who asks is answered by a question that began after they came, so that they learn of every change before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Key = TypeVar("Key")
MOST = 50  # users of one question


@dataclass(slots=True)
class _Question:
    users: set[str] = field(default_factory=set)
    answered: asyncio.Task[None] | None = None


class Together(Generic[Key]):
    """`ask(key, users)` is called for one question at a time of each key."""

    def __init__(self, ask: Callable[[Key, Collection[str]], Awaitable[None]]) -> None:
        self._ask = ask
        self._next: dict[Key, _Question] = {}
        self._turns: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    async def ask(self, key: Key, users: Collection[str]) -> None:
        """Returns when these have been asked about, or raises what the question raised."""
        question = self._next.get(key)
        if question is None or len(question.users | set(users)) > MOST:
            question = self._next[key] = _Question()
            question.answered = asyncio.create_task(self._turn(key, question))
        question.users |= set(users)
        assert question.answered is not None
        # One who gives up waiting doesn't take the answer from the others.
        await asyncio.shield(question.answered)

    async def _turn(self, key: Key, question: _Question) -> None:
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = asyncio.Lock()
        async with turn:
            if self._next.get(key) is question:
                del self._next[key]
            await self._ask(key, question.users)
