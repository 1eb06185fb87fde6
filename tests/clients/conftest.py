"""Accounts and rooms for the drivers' own tests, made by the homeserver's administrator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.clients.clients import Clients
from tests.clients.protocol import RealClient
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


@pytest.fixture(scope="module")
def room_of(homeserver: TestHomeserver, clients: Clients) -> RoomOf:
    async def make(*members: RealClient) -> str:
        """An encrypted room that all of them have joined, and know that the others have."""
        users = {member.user_id for member in members}
        room = await clients.with_token(homeserver.admin_token).create_room(invite=sorted(users))
        for member in members:
            await member.room_with(lambda seen: seen.id == room and users <= seen.joined())
        return room

    return make
