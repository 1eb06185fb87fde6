"""The therapist's typing is shown where something new may come, and nowhere else."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from appservice import show_typing
from appservice.context import Context
from bridge import chat_settings, roster
from bridge.database import Pool, transaction
from bridge.feed import Change, Notification
from policies.chat_settings import Level, Switch
from tests.support.people import SERVER_NAME
from tests.support.thread import NOW, Thread, a_thread


@dataclass
class Told:
    """A homeserver that keeps in which rooms somebody was seen to type."""

    rooms: list[str] = field(default_factory=list)

    async def typing(self, room_id: str, acting: object, on: bool) -> None:
        self.rooms.append(room_id)


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    thread = await a_thread(pool)
    await thread.open_leg()
    return thread


async def seen(thread: Thread) -> int:
    nobody, told = cast(Any, None), Told()
    context = Context(thread.pool, thread.keys, cast(Any, told), nobody, nobody, SERVER_NAME)
    typing = Notification(Change.TYPING, thread.id, person=thread.therapist.id, on=True)
    await show_typing.show(context, typing)
    return len(told.rooms)


async def test_a_client_sees_that_their_therapist_types(thread: Thread) -> None:
    assert await seen(thread) == 1


async def test_nothing_new_comes_to_whose_chat_is_off_typing_neither(thread: Thread) -> None:
    async with transaction(thread.pool) as tx:
        await chat_settings.change(
            tx, actor=thread.therapist.id, switch=Switch.DIRECT_MESSAGING, level=Level.CLIENT,
            subject=thread.client.id, on=False,
        )  # fmt: skip
    assert await seen(thread) == 0


async def test_nobody_types_in_a_closed_conversation(thread: Thread) -> None:
    async with transaction(thread.pool) as tx:
        await roster.close(tx, thread.keys, actor=thread.therapist.id, conversation=thread.id, at=NOW)
    assert await seen(thread) == 0
