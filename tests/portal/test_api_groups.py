"""Client groups over the API of the platform: a PUT says all of it; settings follow who comes and goes."""

import asyncio

import pytest

from bridge import chat_settings, client_groups
from bridge.database import Pool, transaction
from policies.chat_settings import Level, Switch
from policies.vocabulary import PersonId
from portal.api import MAX_BODY
from portal.api_models import MAX_GROUP
from tests.support.platform import CLIENT, KEYS, Platform, api_app

EVENING = {"name": "Evening", "members": ["c1", "c2"]}


@pytest.fixture
async def platform(pool: Pool) -> Platform:
    made = Platform(api_app(pool))
    await made.pair()
    await made("PUT", "/people/c2", CLIENT | {"name": {"first": "Adam", "last": "Young"}})
    return made


async def test_a_group_is_made_then_brought_to_what_is_said(platform: Platform) -> None:
    made = await platform("PUT", "/groups/g1", EVENING)
    assert (made.status, made.json["members"], made.json["platform_id"]) == (201, ["c1", "c2"], "g1")
    again = await platform("PUT", "/groups/g1", EVENING | {"members": ["c2", "c1", "c2"]})
    assert (again.status, again.json) == (200, made.json)
    moved = await platform("PUT", "/groups/g1", {"name": "Late evening", "members": ["c2"]})
    assert (moved.json["name"], moved.json["members"], moved.json["id"]) == (
        "Late evening", ["c2"], made.json["id"],
    )  # fmt: skip
    assert (await platform("GET", "/groups/g1")).json == moved.json


async def test_the_same_group_many_times_at_once_is_one(platform: Platform, pool: Pool) -> None:
    answers = await asyncio.gather(*(platform("PUT", "/groups/g1", EVENING) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200] * 5 + [201]
    assert await pool.fetchval("SELECT count(*) FROM client_group_member") == 2


async def test_a_deleted_group_is_gone_and_its_clients_stay(platform: Platform) -> None:
    made = await platform("PUT", "/groups/g1", EVENING)
    assert (await platform("DELETE", "/groups/g1")).json == made.json
    assert (await platform("DELETE", "/groups/g1")).status == 404
    assert (await platform("GET", "/groups/g1")).json["error"]["code"] == "group_unknown"
    assert (await platform("GET", "/people/c1")).status == 200


async def test_archived_members_are_told_and_not_offered(platform: Platform, pool: Pool) -> None:
    await platform("PUT", "/groups/g1", EVENING)
    await platform("PUT", "/groups/g2", {"name": "Empty", "members": []})
    await platform("POST", "/people/c2/archive")
    assert (await platform("GET", "/groups/g1")).json["members"] == ["c1", "c2"]
    async with transaction(pool) as tx:
        (only,) = await client_groups.offered(tx, KEYS)
    assert (only.name, len(only.members)) == ("Evening", 1)


async def test_who_comes_and_goes_is_silenced_and_heard_with_the_group(
    platform: Platform, pool: Pool
) -> None:
    await platform.book()
    group = (await platform("PUT", "/groups/g1", EVENING | {"members": ["c2"]})).json["id"]
    async with transaction(pool) as tx:
        await chat_settings.change(
            tx, actor=PersonId(await tx.fetchval("SELECT id FROM person LIMIT 1")),
            switch=Switch.DIRECT_MESSAGING, level=Level.GROUP, subject=group, on=False,
        )  # fmt: skip
    silenced = "SELECT silenced FROM leg"
    assert await pool.fetchval(silenced) is False
    await platform("PUT", "/groups/g1", EVENING)
    assert await pool.fetchval(silenced) is True
    await platform("PUT", "/groups/g1", EVENING | {"members": []})
    assert await pool.fetchval(silenced) is False
    await platform("PUT", "/groups/g1", EVENING)
    await platform("DELETE", "/groups/g1")
    assert await pool.fetchval(silenced) is False, "its settings go with it"


async def test_no_name_of_a_group_stands_in_the_database(platform: Platform, pool: Pool) -> None:
    await platform("PUT", "/groups/g1", EVENING | {"name": "Grief circle"})
    assert b"Grief" not in await pool.fetchval("SELECT name_sealed FROM client_group")
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'group_changed'") == 1


async def test_the_largest_group_fits_into_a_request(platform: Platform) -> None:
    ids = [f"c{n:0127}" for n in range(MAX_GROUP)]
    given = EVENING | {"name": "x" * 100, "members": ids}
    refused = await platform("PUT", "/groups/g1", given)
    assert (refused.status, refused.json["error"]["code"]) == (404, "person_unknown")
    assert len(str(given)) < MAX_BODY
