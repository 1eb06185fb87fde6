"""A client, a leg with them, and the machine that encrypts for it, on a database of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from appservice.crypto import Machine
from appservice.crypto.model import Puppet
from bridge.database import Pool, transaction
from bridge.puppets import Puppet as PuppetRow
from bridge.sealing import DataKey
from tests.appservice.crypto.peer import KeyServer, Peer

ROOM = "!leg:ruh.test"
CLIENT = "@cabc:ruh.test"
KEY = DataKey(b"k" * 32)


@dataclass
class Scene:
    """One client with one device (`phone`), one leg, and a face and the assistant that speak in it."""

    pool: Pool
    server: KeyServer
    machine: Machine
    leg_id: UUID
    face: Puppet
    assistant: Puppet
    phone: Peer
    one_time_keys: dict[UUID, list[str]] = field(default_factory=dict)

    def another_process(self) -> Machine:
        return Machine(self.server, KEY)  # type: ignore[arg-type]

    async def share(self, machine: Machine | None = None, puppet: Puppet | None = None) -> Any:
        return await (machine or self.machine).ensure_shared(
            self.pool, leg_id=self.leg_id, room_id=ROOM, puppet=puppet or self.face, user_id=CLIENT
        )

    async def encrypt(self, body: str = "hello", machine: Machine | None = None) -> dict[str, Any]:
        async with transaction(self.pool) as tx:
            (content,) = await (machine or self.machine).encrypt(
                tx,
                leg_id=self.leg_id,
                room_id=ROOM,
                puppet=self.face,
                events=[("m.room.message", {"body": body})],
            )
        return content

    async def say(self, body: str = "hello") -> dict[str, Any]:
        await self.share()
        return await self.encrypt(body)

    async def receive(self, *events: Any, puppet: Puppet | None = None) -> Any:
        async with transaction(self.pool) as tx:
            return await self.machine.receive_to_device(tx, puppet or self.assistant, events)

    async def decrypt(
        self, event: dict[str, Any], room_id: str = ROOM, machine: Machine | None = None
    ) -> Any:
        async with transaction(self.pool) as tx:
            return await (machine or self.machine).decrypt_event(tx, room_id, event)

    async def know(self, *user_ids: str) -> None:
        await self.machine.refresh_devices(self.pool, user_ids or (CLIENT,))

    async def devices_changed(self) -> None:
        async with transaction(self.pool) as tx:
            await self.machine.devices_changed(tx, [CLIENT])

    async def device_keys(self, puppet: Puppet) -> dict[str, Any]:
        return dict(
            await self.pool.fetchval("SELECT device_keys FROM crypto_account WHERE puppet_id = $1", puppet.id)
        )

    def one_time_key(self, puppet: Puppet) -> str:
        """The next of those that this puppet uploaded; as the homeserver, each only once."""
        return self.one_time_keys[puppet.id].pop()

    async def key_event(self, peer: Peer, puppet: Puppet | None = None, **forged: Any) -> dict[str, Any]:
        """The to-device event that gives the peer's current Megolm key to one of our devices."""
        puppet = puppet or self.assistant
        keys = await self.device_keys(puppet)
        known = keys["keys"][f"curve25519:{puppet.device_id}"] in peer.sessions
        one_time_key = None if known else self.one_time_key(puppet)
        return peer.olm(keys, one_time_key, "m.room_key", peer.room_key(ROOM), **forged)

    async def hand_over(self, peer: Peer) -> Any:
        return await self.receive(await self.key_event(peer))


async def add_puppet(pool: Pool, kind: str) -> Puppet:
    puppet = PuppetRow(uuid4(), f"@ruh_{uuid4().hex[:16]}:ruh.test", "RUH" + kind.upper(), kind)  # type: ignore[arg-type]
    await pool.execute(
        "INSERT INTO puppet (id, user_id, device_id, kind) VALUES ($1, $2, $3, $4)",
        puppet.id,
        puppet.user_id,
        puppet.device_id,
        kind,
    )
    return puppet


async def add_leg(pool: Pool, user_id: str, room_id: str) -> UUID:
    person, client, conversation, member, leg = (uuid4() for _ in range(5))
    async with transaction(pool) as tx:
        for id, role in ((person, "therapist"), (client, "client")):
            await tx.execute(
                "INSERT INTO person (id, role, name_sealed) VALUES ($1, $2, $3)", id, role, b"sealed"
            )
        await tx.execute(
            "INSERT INTO conversation (id, kind, organiser_id, client_id) VALUES ($1, 'direct', $2, $3)",
            conversation,
            person,
            client,
        )
        await tx.execute(
            "INSERT INTO member (id, conversation_id, person_id) VALUES ($1, $2, $3)",
            member,
            conversation,
            client,
        )
        await tx.execute(
            """INSERT INTO leg (id, conversation_id, member_id, user_id, room_id, state)
               VALUES ($1, $2, $3, $4, $5, 'open')""",
            leg,
            conversation,
            member,
            user_id,
            room_id,
        )
    return leg


@pytest.fixture
async def scene(pool: Pool) -> Scene:
    phone = Peer(CLIENT, "PHONE")
    server = KeyServer(phone)
    machine = Machine(server, KEY)  # type: ignore[arg-type]
    face, assistant = await add_puppet(pool, "face"), await add_puppet(pool, "assistant")
    made = Scene(pool, server, machine, await add_leg(pool, CLIENT, ROOM), face, assistant, phone)
    for puppet in (face, assistant):
        await machine.provision(pool, puppet)
        uploaded = server.uploads[-1]["one_time_keys"]
        made.one_time_keys[puppet.id] = [signed["key"] for signed in uploaded.values()]
    return made
