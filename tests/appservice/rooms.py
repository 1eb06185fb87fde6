"""The appservice's work on a real homeserver, called by hand; whole processes are tried in the journeys."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import asyncpg

from appservice import legs, masks, revoke
from appservice.accounts import bring_due
from appservice.context import Context
from appservice.crypto.machine import Machine
from appservice.homeserver import Acting, Homeserver, Refused
from bridge import accounts, puppets, revocations, roster, seats
from bridge.database import Pool, transaction
from bridge.legs import due
from bridge.revocations import Revocation
from bridge.sealing import standing_key
from policies.removal import Step
from policies.vocabulary import ConversationId, ConversationKind, Person, Role
from tests.clients.raw import Raw
from tests.support.people import keyring, make
from tests.support.synapse import TestHomeserver

PASSWORD = "a long enough password"
KEYS = keyring()
CIPHERTEXT = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "words", "session_id": "s", "device_id": "D"}


class _Broken(Homeserver):
    """A homeserver that does some requests as a test tells it."""

    def __init__(self, whole: Homeserver, requests: dict[str, Any]) -> None:
        self.__dict__.update(whole.__dict__ | requests)


@dataclass
class Stage:
    """One practice on the run's homeserver."""

    context: Context
    server: TestHomeserver
    raws: list[Raw] = field(default_factory=list)

    @property
    def pool(self) -> Pool:
        return self.context.pool

    def breaks(self, **requests: Any) -> None:
        """From now on these requests go as given."""
        self.context = replace(self.context, homeserver=_Broken(self.context.homeserver, requests))

    def patient_for(self, patience: timedelta) -> None:
        self.context = replace(self.context, removal_patience=patience)

    async def therapist(self) -> Person:
        async with transaction(self.pool) as tx:
            return await make(tx, KEYS, Role.THERAPIST, "Sara", "Khan", email=f"{uuid4().hex}@ruh.test")

    async def client(self, first: str = "Amina") -> Person:
        async with transaction(self.pool) as tx:
            person = await make(tx, KEYS, Role.CLIENT, first, "Doe")
            await accounts.request_password(tx, KEYS, person.id, PASSWORD)
        await bring_due(self.pool, KEYS, self.context.homeserver)
        return person

    async def user_id(self, person: Person) -> str:
        return str(await self.pool.fetchval("SELECT user_id FROM account WHERE person_id = $1", person.id))

    async def sign_in(self, person: Person) -> Raw:
        raw = await Raw.sign_in(self.server.url, await self.user_id(person), PASSWORD)
        self.raws.append(raw)
        return raw

    async def talk(
        self, therapist: Person, *clients: Person, kind: ConversationKind | None = None, made: bool = True
    ) -> ConversationId:
        """A conversation, its rooms made unless `made` is false."""
        several = len(clients) > 1
        kind = kind or (ConversationKind.COMMUNITY if several else ConversationKind.DIRECT)
        async with transaction(self.pool) as tx:
            conversation = await roster.start(
                tx, KEYS, actor=therapist.id, kind=kind, others=[client.id for client in clients],
                told=several, at=datetime.now(UTC),
            )  # fmt: skip
        if made:
            await self.make_rooms()
        return conversation

    async def make_rooms(self) -> bool:
        """Every leg that is due, once, at the same time; False when there is none."""
        async with transaction(self.pool) as tx:
            found = await due(tx)
        await asyncio.gather(*(legs.attempt(self.context, leg) for leg in found))
        return bool(found)

    async def act(self, use_case: Any, **given: Any) -> Any:
        async with transaction(self.pool) as tx:
            return await use_case(tx, KEYS, at=datetime.now(UTC), **given)

    async def remove(self, therapist: Person, conversation: ConversationId, client: Person) -> None:
        await self.act(roster.remove, actor=therapist.id, conversation=conversation, person=client.id)

    async def leg(self, conversation: ConversationId, client: Person) -> Any:
        """The latest."""
        return await self.pool.fetchrow(
            "SELECT l.* FROM leg l JOIN member m ON m.id = l.member_id WHERE l.conversation_id = $1"
            " AND m.person_id = $2 ORDER BY m.joined_seq DESC LIMIT 1",
            conversation, client.id,
        )  # fmt: skip

    async def room(self, conversation: ConversationId, client: Person) -> str:
        return str((await self.leg(conversation, client))["room_id"])

    async def face(self, person: Person) -> Acting:
        async with transaction(self.pool) as tx:
            user = await tx.fetchval("SELECT user_id FROM puppet WHERE person_id = $1", person.id)
            return masks.acting((await puppets.by_users(tx, [user]))[0])

    async def fill(self, room: str, count: int, acting: Acting | None = None) -> list[str]:
        """So many events with something in them."""
        acting = acting or self.context.acting
        return [
            await self.context.homeserver.send_event(
                room, "m.room.encrypted", CIPHERTEXT, uuid4().hex, acting
            )
            for _ in range(count)
        ]

    async def progress(self, reader: Person, conversation: ConversationId) -> Revocation:
        async with transaction(self.pool) as tx:
            return (await revocations.of_conversation(tx, reader.id, conversation))[0]

    async def revoke(self, until: Step = Step.DONE, turns: int = 100) -> None:
        """Turn after turn, as if no time passed between two looks, until every leg is at that step."""
        for _ in range(turns):
            steps = {row["step"] for row in await self.pool.fetch("SELECT step FROM revocation")}
            if steps <= {until.value, Step.DONE.value}:
                return
            await self.pool.execute("UPDATE revocation SET next_attempt_at = now() WHERE step <> 'done'")
            await revoke.work_due(self.context)
        raise AssertionError(f"after {turns} turns: {steps}")

    async def settle(self, turns: int = 20) -> None:
        """Until no room is to be made, changed or taken back; what waits for a device is given up."""
        for _ in range(turns):
            await self.pool.execute("UPDATE delivery SET state = 'cancelled' WHERE state = 'pending'")
            await self.pool.execute("UPDATE leg SET next_attempt_at = now()")
            if not await self.make_rooms():
                break
        await self.revoke()

    async def phone(self, person: Person, seen_at: datetime) -> None:
        """A device that last asked for news then. Real ones are noted every two minutes only."""
        user_id, api = await self.user_id(person), self.context.homeserver
        where = f"/_synapse/admin/v2/users/{quote(user_id)}/devices"
        await api.call("POST", where, admin=True, body={"device_id": "PHONE"})
        its = self.server.config.database
        connection = await asyncpg.connect(
            host=its["host"], port=its["port"], user=its["user"], password=its["password"],
            database=its["dbname"],
        )  # fmt: skip
        try:
            await connection.execute(
                "UPDATE devices SET last_seen = $2 WHERE user_id = $1 AND device_id = 'PHONE'",
                user_id, int(seen_at.timestamp() * 1000),
            )  # fmt: skip
        finally:
            await connection.close()

    async def memberships(self, room: str) -> dict[str, str]:
        """Everybody who is or was in a room, as the homeserver's administration reports it."""
        where = f"/_synapse/admin/v1/rooms/{quote(room)}/state"
        state = (await self.context.homeserver.call("GET", where, admin=True))["state"]
        return {e["state_key"]: e["content"]["membership"] for e in state if e["type"] == "m.room.member"}

    async def exists(self, room: str) -> bool:
        try:
            await self.context.homeserver.call("GET", f"/_synapse/admin/v1/rooms/{quote(room)}", admin=True)
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True


@asynccontextmanager
async def a_stage(pool: Pool, server: TestHomeserver) -> AsyncIterator[Stage]:
    # The homeserver serves the whole run: each stage has an assistant of its own.
    await pool.execute(
        "INSERT INTO puppet (id, user_id, device_id, kind) VALUES ($1, $2, $3, 'assistant')",
        uuid4(), f"@ruh_a{secrets.token_hex(8)}:{server.server_name}", seats.ASSISTANT_DEVICE,
    )  # fmt: skip
    async with aiohttp.ClientSession() as http:
        homeserver = Homeserver(http, server.url, server.as_token, server.admin_token)
        async with transaction(pool) as tx:
            machine = Machine(homeserver, await standing_key(tx, KEYS, "devices"))
            assistant = await puppets.get(tx, await seats.ensure_assistant(tx, server.server_name))
        await masks.bring(pool, homeserver, machine, assistant, "Ruh")
        stage = Stage(Context(pool, KEYS, homeserver, machine, assistant, server.server_name), server)
        try:
            yield stage
        finally:
            for raw in stage.raws:
                await raw.close()
