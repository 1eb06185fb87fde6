"""People over the platform's API: what a call makes, and what the same call again doesn't."""

import asyncio
import re

import pytest

from bridge import accounts
from bridge.database import Pool, transaction
from policies.vocabulary import Role
from tests.support.platform import CLIENT, THERAPIST, Platform, api_app


@pytest.fixture
def platform(pool: Pool) -> Platform:
    return Platform(api_app(pool))


async def test_a_new_client_gets_an_account_and_a_link(platform: Platform) -> None:
    made = await platform("PUT", "/people/c1", CLIENT | {"email": "amina@example.org"})
    assert made.status == 201
    assert re.fullmatch(r"@c[a-z2-7]{20}:ruh\.test", made.json["account"]["user_id"])
    assert made.json["account"]["state"] == "wanted"
    assert re.fullmatch(r"https://chat\.ruh\.test/activate/[\w-]{43}", made.json["activation"]["url"])
    assert made.json["name"] == {"first": "Amina", "last": "Yusuf", "title": ""}
    assert (made.json["email"], made.json["time_zone"], made.json["status"]) == (
        "amina@example.org",
        "UTC",
        "active",
    )


async def test_a_new_therapist_gets_a_link_and_no_account(platform: Platform) -> None:
    made = await platform("POST", "/people", THERAPIST | {"platform_id": "t1"})
    assert made.status == 201
    assert made.json["account"] is None
    assert made.json["activation"]["url"]


async def test_every_role_can_be_made(platform: Platform) -> None:
    for role in Role:
        given = THERAPIST | {"role": role.value, "email": f"{role.value}@ruh.test"}
        made = await platform("PUT", f"/people/{role.value}", given)
        assert (made.status, made.json["role"]) == (201, role.value)


async def test_the_same_call_again_updates_and_gives_no_link(platform: Platform) -> None:
    first = await platform("PUT", "/people/c1", CLIENT)
    again = await platform("POST", "/people", CLIENT | {"platform_id": "c1", "name": {"first": "Ami"}})
    assert (again.status, again.json["id"], again.json["activation"]) == (200, first.json["id"], None)
    assert again.json["name"] == {"first": "Ami", "last": "", "title": ""}


async def test_the_same_call_many_times_at_once_makes_one_person(platform: Platform, pool: Pool) -> None:
    answers = await asyncio.gather(*(platform("PUT", "/people/c1", CLIENT) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert await pool.fetchval("SELECT count(*) FROM person") == 1


async def test_a_change_touches_only_what_it_names(platform: Platform) -> None:
    await platform("PUT", "/people/c1", CLIENT | {"email": "a@example.org", "time_zone": "Asia/Dubai"})
    changed = await platform("PATCH", "/people/c1", {"name": {"first": "Amina", "last": "Saleh"}})
    assert (changed.status, changed.json["name"]["last"]) == (200, "Saleh")
    assert (changed.json["email"], changed.json["time_zone"]) == ("a@example.org", "Asia/Dubai")
    assert (await platform("PATCH", "/people/c1", {"email": None})).json["email"] is None
    assert (await platform("GET", "/people/c1")).json["time_zone"] == "Asia/Dubai"


async def test_archiving_twice_is_archiving_and_a_change_takes_it_back(platform: Platform) -> None:
    await platform.pair()
    for _ in range(2):
        assert (await platform("POST", "/people/c1/archive")).json["status"] == "archived"
    assert (await platform("PATCH", "/people/c1", {"status": "active"})).json["status"] == "active"


async def test_a_new_link_is_another_link(platform: Platform) -> None:
    first = await platform("PUT", "/people/c1", CLIENT)
    second = await platform("POST", "/people/c1/activation")
    assert second.status == 201
    assert second.json["activation"]["url"] != first.json["activation"]["url"]


async def test_archived_staff_get_no_link(platform: Platform) -> None:
    await platform.pair()
    await platform("POST", "/people/t1/archive")
    refused = await platform("POST", "/people/t1/activation")
    assert (refused.status, refused.json["error"]["code"]) == (409, "archived")


async def test_conflicts_say_what_with(platform: Platform) -> None:
    await platform.pair()
    role = await platform("PUT", "/people/c1", THERAPIST | {"email": "other@ruh.test"})
    email = await platform("PUT", "/people/t2", THERAPIST)
    assert (role.status, role.json["error"]["field"]) == (409, "role")
    assert (email.status, email.json["error"]["field"]) == (409, "email")
    assert (await platform("PATCH", "/people/t1", {"email": None})).status == 422


async def test_the_account_is_told_as_it_comes_along(platform: Platform, pool: Pool) -> None:
    await platform("PUT", "/people/c1", CLIENT)
    async with transaction(pool) as tx:
        (due,) = await accounts.claim_due(tx, 1)
        await accounts.finish(tx, due)
    assert (await platform("GET", "/people/c1")).json["account"]["state"] == "made"
