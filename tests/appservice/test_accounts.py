"""Accounts on a real Synapse; a stand-in only where something has to go wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from appservice.accounts import bring_accounts, bring_due
from appservice.homeserver import Homeserver, RateLimited, Refused, Unavailable
from bridge import accounts
from bridge.accounts import Account
from bridge.database import Pool, transaction
from policies.vocabulary import Person
from tests.support.people import keyring, make, pair
from tests.support.synapse import TestHomeserver

KEYS = keyring()


@asynccontextmanager
async def connected(server: TestHomeserver) -> AsyncIterator[Homeserver]:
    async with aiohttp.ClientSession() as http:
        yield Homeserver(http, server.url, server.as_token, server.admin_token)


async def sign_in(server: TestHomeserver, user_id: str, password: str) -> dict[str, Any]:
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user_id},
        "password": password,
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/_matrix/client/v3/login", json=body) as answer,
    ):
        return {"status": answer.status, **await answer.json()}


async def account_of(pool: Pool, person: Person) -> Account:
    async with transaction(pool) as tx:
        account = await accounts.find(tx, person.id)
    assert account is not None
    return account


async def ask(pool: Pool, person: Person, password: str) -> None:
    async with transaction(pool) as tx:
        await accounts.request_password(tx, KEYS, person.id, password)


async def test_a_client_signs_in_with_the_password_that_was_set(
    pool: Pool, homeserver: TestHomeserver
) -> None:
    _, client = await pair(pool, KEYS)
    await ask(pool, client, "correct horse battery")
    async with connected(homeserver) as server:
        assert await bring_due(pool, KEYS, server) is None
    account = await account_of(pool, client)
    assert account.ready
    assert (await sign_in(homeserver, account.user_id, "correct horse battery"))["status"] == 200
    assert (await sign_in(homeserver, account.user_id, "wrong horse battery"))["status"] == 403


async def test_an_account_without_a_password_is_made_and_lets_nobody_in(
    pool: Pool, homeserver: TestHomeserver
) -> None:
    _, client = await pair(pool, KEYS)
    async with connected(homeserver) as server:
        await bring_due(pool, KEYS, server)
        account = await account_of(pool, client)
        made = await server.call("GET", f"/_synapse/admin/v2/users/{account.user_id}", admin=True)
    assert account.state == "made"
    assert (await sign_in(homeserver, account.user_id, ""))["status"] == 403
    assert not made["admin"]
    assert made["displayname"] in (None, "", account.user_id[1:].partition(":")[0])


async def test_a_new_password_leaves_the_clients_devices_signed_in(
    pool: Pool, homeserver: TestHomeserver
) -> None:
    _, client = await pair(pool, KEYS)
    await ask(pool, client, "correct horse battery")
    async with connected(homeserver) as server:
        await bring_due(pool, KEYS, server)
        user_id = (await account_of(pool, client)).user_id
        await sign_in(homeserver, user_id, "correct horse battery")
        await ask(pool, client, "another horse battery")
        await bring_due(pool, KEYS, server)
        assert len(await server.devices(user_id)) == 1
    assert (await sign_in(homeserver, user_id, "another horse battery"))["status"] == 200


class Troubled(Homeserver):
    """Goes wrong as told, then works; remembers what it was asked for."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made: list[tuple[str, str | None]] = []

    async def create_account(self, user_id: str, password: str | None = None) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.made.append((user_id, password))


async def due_now(pool: Pool) -> None:
    await pool.execute("UPDATE account SET next_attempt_at = now() - interval '1 second'")


async def test_an_outage_keeps_the_password_until_it_is_over(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    await ask(pool, client, "correct horse")
    server = Troubled(Unavailable(0, "RUH_UNREACHABLE"), Unavailable(503, "M_UNKNOWN"))
    for error in ("RUH_UNREACHABLE", "M_UNKNOWN"):
        pause = await bring_due(pool, KEYS, server)
        assert pause is not None
        assert 0 < pause <= 30
        assert (await account_of(pool, client)).error == error
        await due_now(pool)
    assert await bring_due(pool, KEYS, server) is None
    account = await account_of(pool, client)
    assert (server.made, account.error) == ([(account.user_id, "correct horse")], None)
    assert await pool.fetchval("SELECT password_sealed FROM account") is None


async def test_an_outage_is_met_once_not_once_for_every_account(pool: Pool) -> None:
    async with transaction(pool) as tx:
        for _ in range(5):
            await make(tx, KEYS)
    server = Troubled(*[Unavailable(0, "RUH_TIMEOUT")] * 5)
    await bring_due(pool, KEYS, server)
    assert len(server.errors) == 4


async def test_what_is_refused_for_one_does_not_keep_the_others(pool: Pool) -> None:
    async with transaction(pool) as tx:
        for _ in range(3):
            await make(tx, KEYS)
    server = Troubled(Refused(400, "M_INVALID_USERNAME"))
    pause = await bring_due(pool, KEYS, server)
    assert len(server.made) == 2
    assert pause is not None
    assert pause > 60


async def test_the_homeserver_is_left_alone_for_as_long_as_it_asks(pool: Pool) -> None:
    await pair(pool, KEYS)
    server = Troubled(RateLimited(429, "M_LIMIT_EXCEEDED", retry_after=45))
    pause = await bring_due(pool, KEYS, server)
    assert pause is not None
    assert pause >= 45


async def test_a_crash_after_the_homeservers_answer_does_it_again_to_the_same_end(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = await pair(pool, KEYS)
    await ask(pool, client, "correct horse")
    server = Troubled()

    async def crash(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "finish", crash)
        with pytest.raises(RuntimeError):
            await bring_due(pool, KEYS, server)
    assert not (await account_of(pool, client)).ready
    await due_now(pool)
    await bring_due(pool, KEYS, server)
    assert (await account_of(pool, client)).ready
    assert server.made[0] == server.made[1]


async def test_a_password_that_does_not_open_is_put_aside(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    await ask(pool, client, "correct horse")
    server = Troubled()
    await pool.execute("UPDATE account SET password_sealed = 'x'")
    assert await bring_due(pool, KEYS, server)
    assert (server.made, (await account_of(pool, client)).error) == ([], "RUH_SEAL_BROKEN")


async def test_the_loop_wakes_at_once_and_outlives_the_databases_absence(pool: Pool) -> None:
    class Flaky:
        """The pool, away for the first look."""

        away = True

        def acquire(self) -> Any:
            if self.away:
                self.away = False
                raise OSError
            return pool.acquire()

    server, woken = Troubled(), asyncio.Event()
    flaky: Any = Flaky()
    loop = asyncio.create_task(bring_accounts(flaky, KEYS, server, woken=woken, poll=0.05))
    try:
        _, client = await pair(pool, KEYS)
        async with asyncio.timeout(5):
            while (await account_of(pool, client)).state != "made":
                await asyncio.sleep(0.01)
    finally:
        loop.cancel()
    assert len(server.made) == 1
