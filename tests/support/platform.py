"""The portal's app with the platform's API, and the platform that calls it."""

import json
from types import SimpleNamespace
from typing import Any

from quart import Quart

from bridge.config import PortalSettings, load
from bridge.database import Pool
from bridge.sealing import Keyring
from portal import api
from portal.services import EXTENSION, Services

TOKEN = "platform-token-of-the-tests"
SETTINGS = {
    "RUH_DATABASE_URL": "unused",
    "RUH_MASTER_KEY": "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0=",
    "RUH_SERVER_NAME": "ruh.test",
    "RUH_HOMESERVER_PUBLIC_URL": "https://matrix.ruh.test",
    "RUH_PORTAL_URL": "https://chat.ruh.test",
    "RUH_API_TOKEN": TOKEN,
}
THERAPIST: dict[str, object] = {
    "role": "therapist",
    "name": {"first": "Sara", "last": "Khan", "title": "Dr."},
    "email": "sara@ruh.test",
    "time_zone": "Europe/London",
}
KEYS = Keyring(b"m" * 32)
"""The keyring of SETTINGS."""
CLIENT: dict[str, object] = {"role": "client", "name": {"first": "Amina", "last": "Yusuf"}}
BOOKING: dict[str, object] = {"booking_id": "b1", "client": "c1", "therapist": "t1"}


def api_app(pool: Pool) -> Quart:
    app = Quart("portal")
    app.extensions[EXTENSION] = Services(load(PortalSettings, SETTINGS), KEYS, pool)
    api.install(app)
    return app


class Platform:
    """Calls the API with the token and JSON."""

    def __init__(self, app: Quart, token: str | None = TOKEN) -> None:
        self._client = app.test_client()
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def __call__(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        headers = self._headers | more.pop("headers", {})
        if body is not None:
            more["json"] = body
        response = await self._client.open(f"/api/v1{path}", method=method, headers=headers, **more)
        text = await response.get_data(as_text=True)
        return SimpleNamespace(
            status=response.status_code, headers=response.headers, text=text, json=json.loads(text)
        )

    async def pair(self) -> None:
        assert (await self("PUT", "/people/t1", THERAPIST)).status == 201
        assert (await self("PUT", "/people/c1", CLIENT)).status == 201

    async def book(self, booking: str = "b1", client: str = "c1", therapist: str = "t1") -> Any:
        return await self(
            "POST", "/bookings", {"booking_id": booking, "client": client, "therapist": therapist}
        )
