"""All real clients of one test: signed in by name, ended together whatever happened.

async with Clients(homeserver.url) as clients:
    amina = await clients.element(user_id, password)
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Protocol, Self, TypeVar

from tests.clients.element import Element
from tests.clients.nio_client import NioClient
from tests.clients.raw import Raw


class _Closable(Protocol):
    async def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


class Clients:
    def __init__(self, homeserver: str) -> None:
        self.homeserver = homeserver
        self._open: list[_Closable] = []

    async def element(self, user: str, password: str, **more: Any) -> Element:
        return self._keep(await Element.sign_in(self.homeserver, user, password, **more))

    async def nio(self, user: str, password: str, **more: Any) -> NioClient:
        return self._keep(await NioClient.sign_in(self.homeserver, user, password, **more))

    async def raw(self, user: str, password: str) -> Raw:
        return self._keep(await Raw.sign_in(self.homeserver, user, password))

    def with_token(self, token: str, *, acting_as: str = "") -> Raw:
        return self._keep(Raw(self.homeserver, token, acting_as=acting_as))

    def _keep(self, client: C) -> C:
        self._open.append(client)
        return client

    async def close(self) -> None:
        async with AsyncExitStack() as stack:  # one that fails to close doesn't keep the others open
            for client in self._open:
                stack.push_async_callback(client.close)
            self._open = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self.close())
