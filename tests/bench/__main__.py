"""`make bench`: what Ruh adds to what Synapse itself costs, measured in one run on this machine.

Ratios count, not times: both sides of a row are measured in turns, on the same Synapse, under the same load.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from appservice.homeserver import Acting, Homeserver
from bridge import sessions
from bridge.database import open_pool, transaction
from policies.vocabulary import ConversationId, Person
from tests.bench import latency, throughput
from tests.bench.cost import resident_mb
from tests.bench.device import Device
from tests.bench.table import show
from tests.journeys.world import PASSWORD, World, a_world, until
from tests.support.postgres import TestPostgres, running_postgres
from tests.support.synapse import TestHomeserver, free_port, running_homeserver


class Bench:
    """A practice with `legs` clients, whose devices cost next to nothing."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self.world, self.http = world, http
        self.homeserver = Homeserver(http, world.homeserver.url, world.homeserver.as_token)
        self.conversations: list[ConversationId] = []
        self.devices: list[Device] = []

    async def set_up(self, legs: int) -> None:
        self.appservice = (await self.world.start()).pid
        port = free_port()
        self.portal_url = f"http://127.0.0.1:{port}"
        settings = {"RUH_PORTAL_URL": self.portal_url, "RUH_PORTAL_PORT": str(port), "RUH_API_TOKEN": "bench"}
        self.portal = (await self.world.start("portal", **settings)).pid
        self.therapist = await self.world.therapist()
        for _ in range(legs):
            client = await self.world.client()
            self.conversations.append(await self.world.open(self.therapist, client))
            self.devices.append(await self.device(client))
        everybody = "SELECT count(*) = $1 FROM leg WHERE state = 'open' AND hold IS NULL"
        await until(lambda: self.world.pool.fetchval(everybody, legs), seconds=180, what="the legs")
        for conversation in self.conversations:
            await self.world.say(self.therapist, conversation, "Hello")
        sent = "SELECT bool_and(state = 'sent') FROM delivery"
        await until(lambda: self.world.pool.fetchval(sent), seconds=60, what="the first messages")

    async def device(self, client: Person) -> Device:
        device = Device(self.http, self.world.homeserver.url)
        await device.sign_in(await self.world.user_id(client), PASSWORD)
        return device

    @property
    def synapse(self) -> int:
        return self.world.homeserver.pid

    async def rooms(self) -> list[tuple[str, Acting]]:
        """Each leg's room, and the therapist's face to send there."""
        face = await self.world.pool.fetchrow(
            "SELECT user_id, device_id FROM puppet WHERE person_id = $1", self.therapist.id
        )
        assert face is not None
        acting = Acting(face["user_id"], face["device_id"])
        return [
            (row["room_id"], acting)
            for row in await self.world.pool.fetch("SELECT room_id FROM leg ORDER BY id")
        ]

    async def latencies(self, count: int) -> dict[str, latency.Times]:
        async with transaction(self.world.pool) as tx:
            token = await sessions.begin(tx, self.therapist.id, datetime.now(UTC))
        portal = latency.Portal(self.http, self.portal_url, token, self.conversations[0])
        await until(lambda: self._portal_answers(), what="the portal")
        await portal.open()
        client = self.devices[0]
        room = await client.room()
        await client.share(room)
        sender, receiver = [await self.device(await self.world.client()) for _ in range(2)]
        acting = Acting(f"@ruh_bench{os.getpid()}:{self.world.homeserver.server_name}", "BENCH")
        await self.homeserver.register_user(acting.user_id[1:].split(":")[0])
        await self.homeserver.ensure_device(acting, "bench")
        body = latency.plain_room("Bench", [sender.user_id, receiver.user_id])
        plain = await self.homeserver.create_room(body, acting)
        assert await sender.room() == await receiver.room() == plain
        following = [asyncio.create_task(device.follow()) for device in (client, receiver)]
        face = (await self.rooms())[0][1].user_id
        ways = latency.Ways(portal, client, room, (sender, receiver, plain), face)
        try:
            return await latency.measure(ways, count, [self.appservice, self.portal], self.synapse)
        finally:
            for task in following:
                task.cancel()
            await portal.close()

    async def _portal_answers(self) -> bool:
        try:
            async with self.http.get(f"{self.portal_url}/sign-in") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def rates(self, count: int, rounds: int) -> list[tuple[throughput.Rate, throughput.Rate]]:
        """(Synapse's own, the outbox's), in turns."""
        found = []
        rooms = await self.rooms()
        for _ in range(rounds):
            raw = await throughput.raw(self.homeserver, rooms, count, 300, self.synapse)
            ours = await throughput.outbox(
                self.world, self.therapist, self.conversations, count, self.appservice, self.synapse
            )
            found.append((raw, ours))
        return found

    def memory(self) -> Sequence[tuple[str, float]]:
        named = (("ruh appservice", self.appservice), ("ruh portal", self.portal), ("Synapse", self.synapse))
        return [(name, resident_mb(pid)) for name, pid in named]


async def run(server: TestPostgres, homeserver: TestHomeserver, given: argparse.Namespace) -> None:
    url = await server.create()
    pool = await open_pool(url)
    with tempfile.TemporaryDirectory() as logs:
        async with a_world(pool, url, homeserver, Path(logs)) as world, aiohttp.ClientSession() as http:
            bench = Bench(world, http)
            await bench.set_up(given.legs)
            latencies = await bench.latencies(given.messages)
            rates = await bench.rates(given.count, given.rounds)
            print(show(latencies, rates, bench.memory()))
    await pool.close()


def main() -> None:
    options = argparse.ArgumentParser(prog="bench")
    options.add_argument("--legs", type=int, default=20, help="clients with a conversation each (20)")
    options.add_argument(
        "--messages", type=int, default=100, help="messages timed one by one, each way (100)"
    )
    options.add_argument("--count", type=int, default=400, help="deliveries of one round of the rates (400)")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with running_postgres() as server, running_homeserver(server) as homeserver:
        asyncio.run(run(server, homeserver, given))


if __name__ == "__main__":
    main()
