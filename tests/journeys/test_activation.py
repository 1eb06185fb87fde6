"""From the platform's call to a client who reads, with only our processes and a link in between (P2)."""

import re
from typing import Any

import aiohttp

from tests.journeys.world import World, until
from tests.support.synapse import free_port

PASSWORD = "blue teapot sings"
TOKEN = "token-of-the-platform"


class Outside:
    """The platform's backend and the client's browser, on a portal that runs as a process of its own."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self.url = http, url

    async def call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self._http.request(
            method, f"{self.url}/api/v1{path}", json=body, headers=headers
        ) as answer:
            return await answer.json()

    async def up(self) -> bool:
        try:
            return "conversations" in await self.call("GET", "/conversations")
        except aiohttp.ClientError:
            return False

    async def page(self, link: str, **form: str) -> str:
        act = self._http.post(link, data=form) if form else self._http.get(link)
        async with act as answer:
            return await answer.text()


async def test_a_client_comes_from_the_platforms_call_to_the_welcome(world: World) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await world.start()
    await world.start("portal", RUH_PORTAL_URL=url, RUH_PORTAL_PORT=str(port), RUH_API_TOKEN=TOKEN)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        outside = Outside(http, url)
        await until(outside.up, what="the portal")
        name = {"first": "Sara", "last": "Khan", "title": "Dr."}
        await outside.call("PUT", "/people/t1", {"role": "therapist", "name": name, "email": "sara@ruh.test"})
        client = {"role": "client", "name": {"first": "Amina", "last": "Yusuf"}}
        link = (await outside.call("PUT", "/people/c1", client))["activation"]["url"]
        booked = {"booking_id": "b1", "client": "c1", "therapist": "t1"}
        assert (await outside.call("POST", "/bookings", booked))["welcome_sent"]

        await outside.page(link)
        await outside.page(link, password=PASSWORD)
        shown = await until(lambda: _ready(outside, link), what="the account")
        (user_id,) = re.findall(r"@c[a-z2-7]{20}:[\w.]+", shown)
        assert world.homeserver.url in shown

        amina = await world.clients.nio(user_id, PASSWORD)
        room = await amina.room_with(lambda seen: seen.name == "Dr. Sara Khan" and seen.membership == "join")
        await amina.wait_for(room.id, lambda seen: "welcome" in seen.body)
        await until(lambda: _nothing_held(outside), what="the state without a hold")


async def _ready(outside: Outside, link: str) -> str | None:
    shown = await outside.page(link)
    return shown if "Your account is ready" in shown else None


async def _nothing_held(outside: Outside) -> bool:
    (conversation,) = (await outside.call("GET", "/conversations?client=c1"))["conversations"]
    return bool(conversation["states"] == [])
