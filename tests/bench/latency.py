"""How long one message takes: client to client as Synapse does it, then each way through Ruh, in turns."""

import asyncio
import json
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp

from policies.vocabulary import ConversationId
from tests.bench.cost import cpu_ms
from tests.bench.device import Device, Json

PATIENCE = 20.0  # seconds


@dataclass
class Times:
    """Milliseconds, one a message; CPU milliseconds of all of them together, ours and Synapse's."""

    took: list[float] = field(default_factory=list)
    our_cpu: float = 0.0
    synapse_cpu: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.took)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.took, n=20)[-1]

    def per_message(self, total: float) -> float:
        return total / len(self.took)


class Portal:
    """A therapist's open page: its session, its socket."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, token: str, conversation: ConversationId
    ) -> None:
        self._http, self._url, self._conversation = http, url, conversation
        self._cookies = {"Cookie": f"ruh-{urlsplit(url).port}={token}"}
        self.arrived: asyncio.Queue[tuple[float, str]] = asyncio.Queue()

    async def open(self) -> None:
        async with self._http.get(f"{self._url}/chat/{self._conversation}", headers=self._cookies) as answer:
            page = await answer.text()
        self._csrf, mark = (self._found(page, name) for name in ("csrf", "mark"))
        address = f"{self._url}/live?conversation={self._conversation}&mark={mark}"
        self._socket = await self._http.ws_connect(address, headers=self._cookies)
        self._listening = asyncio.create_task(self._listen())

    def _found(self, page: str, name: str) -> str:
        found = re.search(rf'data-{name}="([^"]*)"', page)
        assert found, f"the page has no {name}"
        return found[1]

    async def _listen(self) -> None:
        async for frame in self._socket:
            self.arrived.put_nowait((time.perf_counter(), str(frame.data)))

    async def post(self, text: str) -> None:
        headers = self._cookies | {"X-CSRF-Token": self._csrf, "HX-Request": "true"}
        form = {"text": text, "request_id": str(uuid4())}
        url = f"{self._url}/chat/{self._conversation}/messages"
        async with self._http.post(url, data=form, headers=headers) as answer:
            assert answer.status == 201, await answer.text()

    async def shows(self, text: str) -> float:
        """When the page got the words."""
        async with asyncio.timeout(PATIENCE):
            while True:
                at, frame = await self.arrived.get()
                if text in frame:
                    return at

    async def close(self) -> None:
        self._listening.cancel()
        await self._socket.close()


async def arrival(device: Device, wanted: Callable[[Json], bool]) -> float:
    async with asyncio.timeout(PATIENCE):
        while True:
            news = device.news
            for at, event in device.arrived.values():
                if wanted(event):
                    return at
            await news.wait()


class Ways:
    """The three ways, each one message at a time."""

    def __init__(
        self, portal: Portal, client: Device, room: str, plain: tuple[Device, Device, str], face: str
    ) -> None:
        self._portal, self._client, self._room, self._face = portal, client, room, face
        self._plain = plain
        self._seen: set[str] = set()

    async def client_to_client(self, _: str) -> float:
        sender, receiver, room = self._plain
        content = self._client.encrypt(self._room, "x" * 40)
        start = time.perf_counter()
        event_id = await sender.send(room, content)
        return await arrival(receiver, lambda event: event["event_id"] == event_id) - start

    async def client_to_portal(self, text: str) -> float:
        content = self._client.encrypt(self._room, text)
        start = time.perf_counter()
        await self._client.send(self._room, content)
        return await self._portal.shows(text) - start

    async def portal_to_client(self, text: str) -> float:
        before = set(self._client.arrived)
        start = time.perf_counter()
        await self._portal.post(text)

        def ours(event: Json) -> bool:
            return (
                event["sender"] == self._face
                and event["type"] == "m.room.encrypted"
                and event["event_id"] not in before
            )

        return await arrival(self._client, ours) - start


async def measure(ways: Ways, count: int, ours: list[int], synapse: int) -> dict[str, Times]:
    named: dict[str, Callable[[str], Awaitable[float]]] = {
        "client → client": ways.client_to_client,
        "client → portal": ways.client_to_portal,
        "portal → client": ways.portal_to_client,
    }
    times = {name: Times() for name in named}
    for n in range(count + 5):
        for name, way in named.items():
            before, synapse_before = cpu_ms(*ours), cpu_ms(synapse)
            took = await way(f"bench-{n}-{uuid4().hex}") * 1000
            await asyncio.sleep(0.05)  # what follows a message (its mark, its sync) is part of its cost
            if n < 5:
                continue  # sessions are shared and caches filled by the first ones
            times[name].took.append(took)
            times[name].our_cpu += cpu_ms(*ours) - before
            times[name].synapse_cpu += cpu_ms(synapse) - synapse_before
    return times


def plain_room(name: str, users: list[str]) -> Json:
    """As a leg's room, without the service in it."""
    state = [{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
    return json.loads(
        json.dumps({"preset": "private_chat", "name": name, "invite": users, "initial_state": state})
    )  # type: ignore[no-any-return]
