"""Rooms are made many at a time: a hanging one holds nobody else up, and a booking goes before a blast."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from appservice import builder, legs
from appservice.builder import Builder
from appservice.context import Context
from appservice.homeserver import Acting
from bridge.database import Pool
from bridge.legs import Leg
from policies.vocabulary import ConversationKind
from tests.appservice.rooms import Stage, a_stage
from tests.journeys.world import until
from tests.support.synapse import TestHomeserver


@pytest.fixture
async def stage(pool: Pool, homeserver: TestHomeserver) -> AsyncIterator[Stage]:
    async with a_stage(pool, homeserver) as stage:
        yield stage


async def test_a_room_that_hangs_holds_no_other_up(stage: Stage) -> None:
    whole, hanging = stage.context.homeserver, asyncio.Event()

    async def create_room(body: dict[str, object], acting: Acting) -> str:
        if not hanging.is_set():
            hanging.set()
            await asyncio.Event().wait()
        return await whole.create_room(body, acting)

    stage.breaks(create_room=create_room)
    therapist, first, second = await stage.therapist(), await stage.client(), await stage.client()
    building = asyncio.create_task(Builder(stage.context, asyncio.Event(), at_once=2).run())
    slow = await stage.talk(therapist, first, made=False)
    await asyncio.wait_for(hanging.wait(), 20)
    quick = await stage.talk(therapist, second, made=False)

    async def opened() -> bool:
        return bool((await stage.leg(quick, second))["state"] == "open")

    await until(opened, what="the second room")
    assert (await stage.leg(slow, first))["state"] == "wanted"
    building.cancel()
    await asyncio.wait([building])


async def test_what_a_booking_made_goes_before_a_blast(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[ConversationKind] = []

    async def attempt(context: Context, leg: Leg) -> None:
        order.append(leg.kind)
        await context.pool.execute("UPDATE leg SET state = 'open', seats_due = false WHERE id = $1", leg.id)

    monkeypatch.setattr(legs, "attempt", attempt)
    monkeypatch.setattr(builder, "SWEEP", 0.1)
    therapist, client = await stage.therapist(), await stage.client()
    for kind in (ConversationKind.BLAST, ConversationKind.BLAST, ConversationKind.DIRECT):
        await stage.talk(therapist, client, kind=kind, made=False)
    building = asyncio.create_task(Builder(stage.context, asyncio.Event(), at_once=1).run())

    async def all_made() -> bool:
        return len(order) == 3

    await until(all_made, what="the rooms")
    building.cancel()
    await asyncio.wait([building])
    assert order == [ConversationKind.DIRECT, ConversationKind.BLAST, ConversationKind.BLAST]
