"""Of two that wait for each other the database takes one back: its request is carried out once more."""

import asyncio
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest

from bridge import people
from bridge.config import PortalSettings, load
from bridge.database import Pool
from portal.app import REPEATED, create_app
from tests.portal.scene import Scene
from tests.support.platform import SETTINGS, Platform


async def test_a_message_that_was_taken_back_is_sent_all_the_same(scene: Scene) -> None:
    sara, pool = await scene.visit(scene.sara), scene.cast.pool
    async with pool.acquire() as other:
        with suppress(asyncpg.DeadlockDetectedError):
            async with other.transaction():
                await other.execute("SELECT FROM member WHERE conversation_id = $1 FOR UPDATE", scene.thread)
                sending = asyncio.create_task(
                    sara.post(f"/chat/{scene.thread}/messages", text="hello", request_id=str(uuid4()))
                )
                await asyncio.sleep(0.3)  # it has the conversation now, and waits for its members
                await other.execute("SELECT FROM conversation WHERE id = $1 FOR UPDATE", scene.thread)
    status, line = await sending
    assert (status, "hello" in line) == (201, True)
    count = "SELECT count(*) FROM entry WHERE kind = 'message' AND conversation_id = $1"
    assert await pool.fetchval(count, scene.thread) == 2


async def test_what_never_gets_through_is_said_to_the_platform_in_its_own_way(
    pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def locked_out(*_: object, **__: object) -> None:
        tries.append(1)
        raise asyncpg.DeadlockDetectedError

    monkeypatch.setattr(people, "find_by_platform_id", locked_out)
    app = create_app(load(PortalSettings, SETTINGS | {"RUH_DATABASE_URL": database_url}), pool)
    async with app.test_app():
        answer = await Platform(app)("GET", "/people/t1")
    assert len(tries) == REPEATED + 1
    assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
