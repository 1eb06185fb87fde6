"""A practice to measure: our processes, a therapist, and clients whose devices cost next to nothing."""

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import aiohttp

from appservice.homeserver import Acting, Homeserver
from bridge import accounts
from bridge.database import transaction
from policies.vocabulary import ConversationId, Person
from tests.bench.cost import resident_mb
from tests.bench.device import Device
from tests.journeys.world import PASSWORD, World, until
from tests.support.people import make
from tests.support.synapse import free_port

SIGNING_IN = 8  # at once


@dataclass(frozen=True)
class Someone:
    """A client with a device."""

    person: Person
    device: Device


class Bench:
    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self.world, self.http = world, http
        self.homeserver = Homeserver(http, world.homeserver.url, world.homeserver.as_token)
        self.conversations: list[ConversationId] = []
        self._clients: list[Someone] = []

    @property
    def devices(self) -> list[Device]:
        return [someone.device for someone in self._clients]

    @property
    def synapse(self) -> int:
        return self.world.homeserver.pid

    async def set_up(self, legs: int) -> None:
        """Everything running; the therapist in conversation with so many clients."""
        self.appservice = (await self.world.start()).pid
        port = free_port()
        self.portal_url = f"http://127.0.0.1:{port}"
        settings = {"RUH_PORTAL_URL": self.portal_url, "RUH_PORTAL_PORT": str(port), "RUH_API_TOKEN": "bench"}
        self.portal = (await self.world.start("portal", **settings)).pid
        self.therapist = await self.world.therapist()
        for someone in (await self.clients(legs))[:legs]:
            self.conversations.append(await self.world.open(self.therapist, someone.person))
        everybody = "SELECT count(*) = $1 FROM leg WHERE state = 'open' AND hold IS NULL"
        await until(lambda: self.world.pool.fetchval(everybody, legs), seconds=180, what="the legs")
        for conversation in self.conversations:
            await self.world.say(self.therapist, conversation, "Hello")
        sent = "SELECT coalesce(bool_and(state = 'sent'), true) FROM delivery"
        await until(lambda: self.world.pool.fetchval(sent), seconds=60, what="the first messages")

    async def clients(self, count: int) -> list[Someone]:
        """At least so many of the therapist's own; who is there already stays."""
        fresh = await self._persons(count - len(self._clients))
        gate = asyncio.Semaphore(SIGNING_IN)

        async def sign_in(person: Person) -> Someone:
            async with gate:
                return Someone(person, await self.device(person))

        self._clients += await asyncio.gather(*(sign_in(person) for person in fresh))
        return self._clients

    async def _persons(self, count: int) -> list[Person]:
        """With a booking each, and without the thread and the welcome that a reported one brings."""
        keyring = self.world.keyring
        async with transaction(self.world.pool) as tx:
            persons = [await make(tx, keyring, platform_id=f"b-{uuid4()}") for _ in range(count)]
            for person in persons:
                await accounts.request_password(tx, keyring, person.id, PASSWORD)
            await tx.executemany(
                "INSERT INTO booking (platform_id, client_id, therapist_id) VALUES ($1, $2, $3)",
                [(uuid4().hex, person.id, self.therapist.id) for person in persons],
            )
        ready = "SELECT bool_and(password_set_at IS NOT NULL) FROM account WHERE person_id = ANY($1)"
        ids = [person.id for person in persons]
        if persons:
            await until(lambda: self.world.pool.fetchval(ready, ids), seconds=300, what="the accounts")
        return persons

    async def device(self, client: Person) -> Device:
        device = Device(self.http, self.world.homeserver.url)
        await device.sign_in(await self.world.user_id(client), PASSWORD)
        return device

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

    def memory(self) -> list[tuple[str, float]]:
        named = (("ruh appservice", self.appservice), ("ruh portal", self.portal), ("Synapse", self.synapse))
        return [(name, resident_mb(pid)) for name, pid in named]

    async def portal_answers(self) -> bool:
        try:
            async with self.http.get(f"{self.portal_url}/sign-in") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False
