"""A room counts as open once its client is in it: what was said before that they would never see."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from appservice import legs
from appservice.homeserver import Acting
from bridge.database import Pool
from tests.appservice.rooms import Stage, a_stage
from tests.support.synapse import TestHomeserver


@pytest.fixture
async def stage(pool: Pool, homeserver: TestHomeserver) -> AsyncIterator[Stage]:
    async with a_stage(pool, homeserver) as stage:
        yield stage


async def test_a_room_is_open_when_its_client_has_joined(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs, "JOINING", (0, 0))
    whole, answers = stage.context.homeserver, ["invite", "invite", "invite"]

    async def state(room_id: str, kind: str, key: str, acting: Acting) -> Any:
        return {"membership": answers.pop()} if answers else await whole.state(room_id, kind, key, acting)

    stage.breaks(state=state)
    client = await stage.client()
    conversation = await stage.talk(await stage.therapist(), client)
    leg = await stage.leg(conversation, client)
    assert (leg["state"], leg["error"]) == ("wanted", "RUH_NOT_JOINED")

    await stage.settle()
    assert (await stage.leg(conversation, client))["state"] == "open"
    assert (await stage.memberships(leg["room_id"]))[leg["user_id"]] == "join"
