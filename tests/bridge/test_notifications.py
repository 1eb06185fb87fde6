"""What somebody wants to hear of is theirs to say (N2)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from bridge import messages, notifications, participants, receipts, roster
from bridge.database import Pool, transaction
from bridge.errors import NotFound
from policies.content import Reaction, Text
from policies.notifying import NOTHING, Settings, Wanted
from policies.vocabulary import ConversationId, ConversationKind, Person, Role
from tests.support.people import keyring, make, pair

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
T = TypeVar("T")


async def act(pool: Pool, use_case: Callable[..., Awaitable[T]], *given: Any, **more: Any) -> T:
    async with transaction(pool) as tx:
        return await use_case(tx, *given, **more)


async def a_thread(pool: Pool) -> tuple[Person, Person, ConversationId]:
    therapist, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        thread, _ = await participants.open_direct(tx, KEYS, therapist=therapist.id, client=client.id, at=NOW)
    return therapist, client, thread


async def test_whoever_never_said_anything_hears_of_everything(pool: Pool) -> None:
    therapist, client, thread = await a_thread(pool)
    assert await act(pool, notifications.settings, therapist.id) == Settings()
    assert await act(pool, notifications.wants, therapist.id, thread) == Wanted(email=True, browser=True)
    assert await act(pool, notifications.wants, client.id, thread) == Wanted(email=True, browser=False)


async def test_a_switch_holds_until_it_is_set_again(pool: Pool) -> None:
    therapist, _, thread = await a_thread(pool)
    for settings in (Settings(direct=False), Settings(email=False, browser=False), Settings()):
        await act(pool, notifications.change, therapist.id, settings)
        assert await act(pool, notifications.settings, therapist.id) == settings
    await act(pool, notifications.change, therapist.id, Settings(direct=False))
    assert await act(pool, notifications.wants, therapist.id, thread) == NOTHING


async def test_one_conversation_is_muted_for_oneself_alone(pool: Pool) -> None:
    therapist, client, thread = await a_thread(pool)
    async with transaction(pool) as tx:
        colleague = await make(tx, KEYS, Role.TEAM_MEMBER, "Omar", "Haddad", email="omar@ruh.test")
        group = await roster.start(
            tx, KEYS, actor=therapist.id, kind=ConversationKind.COMMUNITY,
            others=[client.id, colleague.id], at=NOW,
        )  # fmt: skip
    await act(pool, notifications.mute, actor=therapist.id, conversation=group, muted=True)
    assert await act(pool, notifications.wants, therapist.id, group) == NOTHING
    assert (await act(pool, notifications.wants, therapist.id, thread)).browser
    assert (await act(pool, notifications.wants, colleague.id, group)).browser
    assert await act(pool, notifications.is_muted, therapist.id, group)
    await act(pool, notifications.mute, actor=therapist.id, conversation=group, muted=False)
    assert (await act(pool, notifications.wants, therapist.id, group)).browser


async def test_one_is_told_of_others_messages_until_one_has_read_them(pool: Pool) -> None:
    therapist, client, thread = await a_thread(pool)
    async with transaction(pool) as tx:
        said = {"conversation": thread, "content": Text("…"), "at": NOW}
        theirs = await messages.post(tx, KEYS, author=client.id, **said)
        own = await messages.post(tx, KEYS, author=therapist.id, automatic="auto_reply", **said)
        reaction = await messages.react(
            tx, KEYS, author=client.id, conversation=thread, entry=own.entry_id, reaction=Reaction("👍"),
            at=NOW,
        )  # fmt: skip
    assert reaction is not None

    async def told() -> list[bool]:
        entries = [posted.entry_id for posted in (theirs, own, reaction)]
        return [
            (await act(pool, notifications.wants, therapist.id, thread, entry)).browser for entry in entries
        ]

    assert await told() == [True, False, False]
    async with transaction(pool) as tx:
        await receipts.mark_read(tx, person=therapist.id, conversation=thread, seq=theirs.seq, at=NOW)
    assert await told() == [False] * 3


async def test_an_outsider_hears_of_nothing_and_mutes_nothing(pool: Pool) -> None:
    _, _, thread = await a_thread(pool)
    async with transaction(pool) as tx:
        charlie = await make(tx, KEYS, Role.THERAPIST, "Charlie", "Brown", email="charlie@ruh.test")
    assert await act(pool, notifications.wants, charlie.id, thread) == NOTHING
    with pytest.raises(NotFound):
        await act(pool, notifications.mute, actor=charlie.id, conversation=thread, muted=True)
    with pytest.raises(NotFound):
        await act(pool, notifications.is_muted, charlie.id, thread)
