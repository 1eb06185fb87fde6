"""A user over plain HTTP: any call, any answer, nothing raised. For set-up and what no honest client does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import aiohttp
from yarl import URL


class ClientError(Exception):
    """The homeserver or the client refused; `code` is Matrix's errcode where it gave one."""

    def __init__(self, code: str, message: str = "", status: int = 0) -> None:
        super().__init__(f"{code} {message}".strip())
        self.code, self.status = code, status


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any  # parsed JSON, or bytes

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def errcode(self) -> str | None:
        return self.body.get("errcode") if isinstance(self.body, dict) else None

    def must(self) -> Any:
        """The body of a call that had to succeed."""
        if not self.ok:
            raise ClientError(self.errcode or "M_UNKNOWN", f"{self.status} {self.body!r}", self.status)
        return self.body


class Raw:
    """Use with `async with`; or `close()`. Without a token it is nobody in particular; with the appservice's
    token it acts as one of its users."""

    def __init__(self, homeserver: str, token: str | None = None, *, acting_as: str = "") -> None:
        self.homeserver, self.token = homeserver.rstrip("/"), token
        self.user_id = self._acting_as = acting_as
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    async def sign_in(cls, homeserver: str, user: str, password: str) -> Self:
        raw = cls(homeserver)
        identifier = {"type": "m.id.user", "user": user}
        given = {"type": "m.login.password", "identifier": identifier, "password": password}
        try:
            account = (await raw.call("POST", "login", body=given)).must()
        except BaseException:
            await raw.close()
            raise
        raw.token, raw.user_id = account["access_token"], account["user_id"]
        return raw

    async def call(
        self, method: str, *path: str, body: Any = None, data: bytes | None = None, **query: str
    ) -> Answer:
        """`call("PUT", "rooms", room, "state", "m.room.name", body={…})`, below the client-server API; a path
        that starts with a slash is taken as it is: `call("GET", "/_synapse/admin/v2/users")`."""
        verbatim = path[0].startswith("/")
        address = (
            path[0] if verbatim else "/_matrix/client/v3/" + "/".join(quote(part, safe="") for part in path)
        )
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        payload: dict[str, Any] = {"json": body} if body is not None else {"data": data}
        if body is None and data is None and method in {"POST", "PUT"}:
            payload = {"json": {}}
        if self._http is None:
            self._http = aiohttp.ClientSession()
        if self._acting_as:
            query["user_id"] = self._acting_as
        url = URL(self.homeserver + address, encoded=True).update_query(query)
        async with self._http.request(method, url, headers=headers, **payload) as answer:
            parsed = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if parsed else await answer.read())

    async def send(self, room: str, type: str, content: dict[str, Any], txn: str | None = None) -> Answer:
        """The event as it stands, not encrypted."""
        return await self.call("PUT", "rooms", room, "send", type, txn or uuid4().hex, body=content)

    async def set_state(self, room: str, type: str, content: dict[str, Any], key: str = "") -> Answer:
        return await self.call("PUT", "rooms", room, "state", type, key, body=content)

    async def create_room(
        self, *, invite: list[str] | None = None, encrypted: bool = True, **more: Any
    ) -> str:
        megolm = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        initial = [megolm] if encrypted else []
        body = {"preset": "private_chat", "invite": invite or [], "initial_state": initial, **more}
        return str((await self.call("POST", "createRoom", body=body)).must()["room_id"])

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
