"""A client's account without a client's manners: anything it could send, and what we make of it."""

import json
from typing import Any

import vodozemac

from tests.clients.nio_client import NioClient
from tests.clients.raw import Raw
from tests.journeys.talk import Talk
from tests.journeys.world import until

MEGOLM = "m.megolm.v1.aes-sha2"
Content = dict[str, Any]


async def of_parked(talk: Talk, column: str, event: str) -> Any:
    return await talk.world.pool.fetchval(f"SELECT {column} FROM parked_event WHERE event_id = $1", event)


async def parked(talk: Talk, event: str) -> str:
    """Why an event was parked, now or later."""
    return str(await until(lambda: of_parked(talk, "reason", event), what="a parked event"))


async def still_works(talk: Talk, words: str) -> None:
    await talk.app.send(talk.room, words)
    await talk.hears(words)
    await talk.say(f"heard: {words}")
    await talk.reads(f"heard: {words}")


async def count(talk: Talk) -> int:
    return int(
        await talk.world.pool.fetchval(
            "SELECT count(*) FROM entry WHERE conversation_id = $1 AND kind = 'message'", talk.conversation
        )
    )


async def sent_event(talk: Talk, raw: Raw, words: str) -> Content:
    event = await talk.app.send(talk.room, words)
    await talk.hears(words)
    return dict((await raw.call("GET", "rooms", talk.room, "event", event)).must())


class Hand:
    """A client's device that encrypts by hand: its Megolm session is real, the contents are anything."""

    def __init__(self, talk: Talk, raw: Raw) -> None:
        self.talk, self.raw, self.group = talk, raw, vodozemac.GroupSession()
        self.key = self.group.session_key.to_base64()  # reads from the first message on

    @property
    def app(self) -> NioClient:
        assert isinstance(self.talk.app, NioClient)
        return self.talk.app

    async def share(self) -> None:
        """The session's key, over nio's own Olm sessions, to everybody in the room."""
        nio = self.app.client
        key = {
            "algorithm": MEGOLM,
            "room_id": self.talk.room,
            "session_id": self.group.session_id,
            "session_key": self.key,
        }
        for user in (await self.talk.app.room(self.talk.room)).joined() - {self.app.user_id}:
            for device in nio.device_store.active_user_devices(user):
                session = nio.olm.session_store.get(device.curve25519)
                content = nio.olm._olm_encrypt(session, device, "m.room_key", key)
                messages = {user: {device.id: content}}
                where = ("sendToDevice", "m.room.encrypted", f"{self.group.session_id}{device.id}")
                (await self.raw.call("PUT", *where, body={"messages": messages})).must()

    def seal(self, plaintext: bytes) -> Content:
        nio = self.app.client
        return {
            "algorithm": MEGOLM,
            "ciphertext": self.group.encrypt(plaintext).to_base64(),
            "session_id": self.group.session_id,
            "sender_key": nio.olm.account.identity_keys["curve25519"],
            "device_id": self.app.device_id,
        }

    async def send(self, plaintext: bytes) -> str:
        sealed = self.seal(plaintext)
        return str((await self.raw.send(self.talk.room, "m.room.encrypted", sealed)).must()["event_id"])

    async def say(self, content: Any, kind: Any = "m.room.message") -> str:
        payload = {"type": kind, "content": content, "room_id": self.talk.room}
        return await self.send(json.dumps(payload).encode())
