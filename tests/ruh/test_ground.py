"""The ground that other tests stand on."""

import aiohttp

from bridge.database import Pool
from tests.support.synapse import TestHomeserver


async def test_every_test_has_a_migrated_database(pool: Pool) -> None:
    assert await pool.fetchval("SELECT count(*) FROM sealing_key") == 0


async def test_the_assistant_can_be_registered_and_synced(homeserver: TestHomeserver) -> None:
    headers = {"Authorization": f"Bearer {homeserver.as_token}"}
    async with aiohttp.ClientSession(homeserver.url, headers=headers) as session:
        account = {"type": "m.login.application_service", "username": "ruh_ground", "inhibit_login": True}
        async with session.post("/_matrix/client/v3/register", json=account) as answer:
            assert answer.status == 200
        user = f"@ruh_ground:{homeserver.server_name}"
        async with session.put(
            "/_matrix/client/v3/devices/GROUND", params={"user_id": user}, json={}
        ) as answer:
            assert answer.status in (200, 201)
        where = {"user_id": user, "device_id": "GROUND", "timeout": "0"}
        async with session.get("/_matrix/client/v3/sync", params=where) as answer:
            assert answer.status == 200, await answer.text()


async def test_the_admin_account_may_use_the_admin_api(homeserver: TestHomeserver) -> None:
    headers = {"Authorization": f"Bearer {homeserver.admin_token}"}
    async with (
        aiohttp.ClientSession(homeserver.url, headers=headers) as session,
        session.get("/_synapse/admin/v2/users") as answer,
    ):
        assert answer.status == 200
