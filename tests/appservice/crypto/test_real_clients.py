"""The machine against a real homeserver and real clients, both ways, with no shield and after losses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from appservice.crypto import Hold, Machine
from appservice.crypto.errors import DecryptionError
from appservice.crypto.model import Puppet, acting
from appservice.homeserver import Homeserver
from bridge.database import Pool, transaction
from tests.appservice.crypto.conftest import KEY, add_leg, add_puppet
from tests.clients.clients import Clients
from tests.clients.protocol import RealClient, Seen
from tests.support.synapse import TestHomeserver

PASSWORD = "correct horse battery staple"
ENCRYPTED = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


@dataclass
class Line:
    """A room with one client, our face and our assistant; `poll` is the assistant's sync."""

    pool: Pool
    homeserver: Homeserver
    machine: Machine
    assistant: Puppet
    face: Puppet
    user_id: str
    room_id: str
    leg_id: UUID
    since: str | None = None

    async def poll(self, wait: float = 5, puppet: Puppet | None = None) -> list[dict[str, Any]]:
        """The room's encrypted events of one sync, after its to-device messages and device lists."""
        as_whom = acting(puppet or self.assistant)
        answer = await self.homeserver.sync(as_whom, since=self.since, wait=wait if self.since else 0)
        events = answer.get("to_device", {}).get("events", [])
        await self.machine.learn_senders(self.pool, self.assistant, events)
        async with transaction(self.pool) as tx:
            await self.machine.receive_to_device(tx, self.assistant, events)
            lists = answer.get("device_lists", {})
            await self.machine.devices_changed(tx, lists.get("changed", []) + lists.get("left", []))
        await self.machine.one_time_keys(
            self.pool,
            self.assistant,
            answer["device_one_time_keys_count"],
            answer.get("device_unused_fallback_key_types"),
        )
        self.since = answer["next_batch"]
        room = answer.get("rooms", {}).get("join", {}).get(self.room_id, {})
        timeline = room.get("timeline", {}).get("events", [])
        return [event for event in timeline if event["type"] == "m.room.encrypted"]

    async def hear(self, event_id: str) -> str:
        """The text of the client's message, once it and its key are there."""
        for _ in range(10):
            for event in await self.poll():
                if event["event_id"] == event_id:
                    async with transaction(self.pool) as tx:
                        return str(
                            (await self.machine.decrypt_event(tx, self.room_id, event)).content["body"]
                        )
        raise AssertionError("the message did not come")

    async def share(self) -> Any:
        return await self.machine.ensure_shared(
            self.pool, leg_id=self.leg_id, room_id=self.room_id, puppet=self.face, user_id=self.user_id
        )

    async def say(self, body: str) -> str:
        shared = await self.share()
        assert not isinstance(shared, Hold), shared
        async with transaction(self.pool) as tx:
            (content,) = await self.machine.encrypt(
                tx,
                leg_id=self.leg_id,
                room_id=self.room_id,
                puppet=self.face,
                events=[("m.room.message", {"msgtype": "m.text", "body": body})],
            )
        return await self.homeserver.send_event(
            self.room_id, "m.room.encrypted", content, uuid4().hex, acting(self.face)
        )


@pytest.fixture
async def clients(homeserver: TestHomeserver) -> AsyncIterator[Clients]:
    async with Clients(homeserver.url) as clients:
        yield clients


@pytest.fixture
async def line(pool: Pool, homeserver: TestHomeserver) -> AsyncIterator[Line]:
    """The client's account exists; they have not signed in yet."""
    async with aiohttp.ClientSession() as http:
        api = Homeserver(http, homeserver.url, homeserver.as_token, homeserver.admin_token)
        machine = Machine(api, KEY)
        assistant, face = await add_puppet(pool, "assistant"), await add_puppet(pool, "face")
        for puppet in (assistant, face):
            await machine.provision(pool, puppet)
        user_id = f"@c{uuid4().hex[:20]}:{homeserver.server_name}"
        await api.create_account(user_id, PASSWORD)
        body = {"preset": "private_chat", "invite": [user_id, face.user_id], "initial_state": [ENCRYPTED]}
        room_id = await api.create_room(body, acting(assistant))
        await api.join(room_id, acting(face))
        leg_id = await add_leg(pool, user_id, room_id)
        yield Line(pool, api, machine, assistant, face, user_id, room_id, leg_id)


async def in_room(line: Line, client: RealClient) -> RealClient:
    async def joined() -> bool:
        rooms = {room.id: room for room in await client.rooms()}
        return line.room_id in rooms and rooms[line.room_id].membership == "join"

    await client.wait_until(joined, what="the room")
    return client


async def sees(client: RealClient, line: Line, event_id: str) -> Seen:
    def readable(seen: Seen) -> bool:
        return seen.event_id == event_id and seen.body is not None and not seen.failure

    return await client.wait_for(line.room_id, readable)


@pytest.mark.parametrize("program", ["element", "nio"])
async def test_messages_go_both_ways(line: Line, clients: Clients, program: str) -> None:
    assert await line.share() == Hold("no_device", "none")
    client = await in_room(line, await getattr(clients, program)(line.user_id, PASSWORD))
    await line.machine.refresh_devices(line.pool, [line.user_id])
    seen = await sees(client, line, await line.say("good morning"))
    assert (seen.body, seen.encrypted) == ("good morning", True)
    assert seen.shield is None
    await line.poll()
    assert await line.hear(await client.send(line.room_id, "and to you")) == "and to you"


async def test_a_second_device_of_the_client_reads_what_follows(line: Line, clients: Clients) -> None:
    phone = await in_room(line, await clients.nio(line.user_id, PASSWORD))
    await line.poll()
    await line.say("before")
    tablet = await in_room(line, await clients.nio(line.user_id, PASSWORD))
    await line.poll()
    after = await line.say("after")
    for device in (phone, tablet):
        assert (await sees(device, line, after)).body == "after"


async def test_an_unverified_second_element_gets_no_key_and_a_reset_identity_blocks(
    line: Line, clients: Clients
) -> None:
    phone = await in_room(line, await clients.element(line.user_id, PASSWORD))
    await line.machine.refresh_devices(line.pool, [line.user_id])
    second = await in_room(line, await clients.element(line.user_id, PASSWORD))
    await line.machine.refresh_devices(line.pool, [line.user_id])
    async with transaction(line.pool) as tx:
        may = await line.machine.recipients(tx, line.user_id)
    assert [device.device_id for device in may.devices] == [phone.device_id]
    secret = await line.say("for verified devices")
    assert (await sees(phone, line, secret)).body == "for verified devices"
    refused = await second.wait_for(line.room_id, lambda seen: seen.event_id == secret and bool(seen.failure))
    assert refused.failure == "MEGOLM_KEY_WITHHELD_FOR_UNVERIFIED_DEVICE"
    await second.reset_identity()  # type: ignore[attr-defined]
    await line.machine.refresh_devices(line.pool, [line.user_id])
    assert await line.share() == Hold("identity_changed")
    async with transaction(line.pool) as tx:
        await line.machine.release_identity(tx, line.user_id)
    assert (await sees(second, line, await line.say("released"))).body == "released"


async def test_keys_that_were_lost_come_back_over_a_new_session(line: Line, clients: Clients) -> None:
    """Our Olm and Megolm sessions are gone, as after a restore of an old copy of the database."""
    client = await in_room(line, await clients.element(line.user_id, PASSWORD))
    await line.poll()
    await line.hear(await client.send(line.room_id, "one"))
    await line.pool.execute("DELETE FROM megolm_inbound")
    await line.pool.execute("DELETE FROM olm_session")
    line.machine = Machine(line.homeserver, KEY)
    lost = await client.send(line.room_id, "two")
    with pytest.raises(DecryptionError) as missing:
        await line.hear(lost)
    assert missing.value.code == "missing_session"
    assert await line.machine.replace_olm_session(line.pool, line.assistant, line.user_id, client.device_id)
    for attempt in range(20):
        sent = await client.send(line.room_id, f"try {attempt}")
        try:
            heard = await line.hear(sent)
        except DecryptionError:
            continue
        assert heard == f"try {attempt}"
        return
    raise AssertionError("the client did not send its key again")


async def test_one_time_keys_run_out_and_the_fallback_key_serves(line: Line, clients: Clients) -> None:
    """Another client takes every one-time key of the assistant."""
    client = await in_room(line, await clients.nio(line.user_id, PASSWORD))
    await line.poll()
    wanted = {line.assistant.user_id: {line.assistant.device_id: "signed_curve25519"}}
    for _ in range(51):
        answer = await line.homeserver.claim_keys(acting(line.face), wanted)
    ((key,),) = [
        list(keys.values()) for devices in answer["one_time_keys"].values() for keys in devices.values()
    ]
    assert key["fallback"] is True
    sent = await client.send(line.room_id, "with the fallback key")
    assert await line.hear(sent) == "with the fallback key"
    uploaded = await line.homeserver.claim_keys(acting(line.face), wanted)
    ((fresh,),) = [list(k.values()) for d in uploaded["one_time_keys"].values() for k in d.values()]
    assert "fallback" not in fresh


async def test_a_provision_that_was_cut_off_goes_on_at_the_real_homeserver(line: Line) -> None:
    mask = await add_puppet(line.pool, "mask")
    await line.machine.provision(line.pool, mask)
    await line.pool.execute("UPDATE crypto_account SET published_at = NULL WHERE puppet_id = $1", mask.id)
    await Machine(line.homeserver, KEY).provision(line.pool, mask)
    await line.homeserver.invite(line.room_id, mask.user_id, acting(line.assistant))
    await line.homeserver.join(line.room_id, acting(mask))
    await line.machine.refresh_devices(line.pool, [mask.user_id])
    signed = await line.pool.fetchval("SELECT signed FROM crypto_device WHERE user_id = $1", mask.user_id)
    assert signed is True
