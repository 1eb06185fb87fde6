"""Accounts and rooms for the drivers' own tests, made as the service makes them: by admin and appservice."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.clients.clients import Clients
from tests.clients.protocol import RealClient
from tests.clients.raw import Raw
from tests.support.synapse import TestHomeserver

PASSWORD = "correct horse battery staple"

Account = Callable[[], Awaitable[str]]
RoomOf = Callable[..., Awaitable[str]]


# A client costs a process and two seconds of a core, so the tests of a module share theirs.
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(homeserver: TestHomeserver) -> AsyncIterator[Clients]:
    async with Clients(homeserver.url) as clients:
        yield clients


@pytest.fixture(scope="module")
def account(homeserver: TestHomeserver, clients: Clients) -> Account:
    async def make() -> str:
        user = f"@c{uuid4().hex[:20]}:{homeserver.server_name}"
        admin = clients.with_token(homeserver.admin_token)
        path = f"/_synapse/admin/v2/users/{user}"
        (await admin.call("PUT", path, body={"password": PASSWORD, "admin": False})).must()
        return user

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(homeserver: TestHomeserver, clients: Clients) -> Raw:
    """Makes the rooms, which clients may not: a user of the appservice, whom nothing limits."""
    name = f"ruh_{uuid4().hex[:16]}"
    host = clients.with_token(homeserver.as_token, acting_as=f"@{name}:{homeserver.server_name}")
    registration = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
    (await host.call("POST", "register", body=registration)).must()
    return host


@pytest.fixture(scope="module")
def room_of(host: Raw) -> RoomOf:
    async def make(*members: RealClient) -> str:
        """An encrypted room that all of them have joined, and know that the others have."""
        users = {member.user_id for member in members}
        room = await host.create_room(invite=sorted(users))
        for member in members:
            await member.room_with(lambda seen: seen.id == room and users <= seen.joined())
        return room

    return make
