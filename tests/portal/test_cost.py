"""What a message costs the portal: so many questions to the database, each a good part of a millisecond."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from portal.hub import Hub
from tests.portal.scene import Scene

OWN = 8
"""Who asks; begin, in turn, how they stand, append, commit; the conversation and the line as they are now."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All statements from here on."""
    found: list[str] = []

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: Any, query: str, *given: Any, **more: Any) -> Any:
            found.append(query)
            return original(self, query, *given, **more)

        return counted

    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        monkeypatch.setattr(asyncpg.Connection, name, counting(getattr(asyncpg.Connection, name)))
    return found


async def test_a_message_is_taken_and_answered_with_few_questions(scene: Scene, asked: list[str]) -> None:
    visit, hub = await scene.visit(scene.sara), scene.app.extensions["hub"]
    assert isinstance(hub, Hub)
    for _ in range(2):  # the first one's notification makes the hub look who is concerned
        await hub.listening.wait()
        mark = hub.mark()
        asked.clear()
        status, _ = await visit.post(f"/chat/{scene.thread}/messages", text="Hello", request_id=str(uuid4()))
        assert status == 201
        taken = list(asked)
        async with asyncio.timeout(10):
            while hub.mark() == mark:
                await asyncio.sleep(0.01)
    assert len(taken) <= OWN, taken
