"""A client's device with as little as a real one needs: keys, a Megolm session, a sync. It costs the machine
next to nothing, so that what is measured is the service and not the clients."""

import asyncio
import base64
import json
import time
from typing import Any
from uuid import uuid4

import aiohttp
import vodozemac as vz

Json = dict[str, Any]
OLM, MEGOLM = "m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


class Device:
    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url
        self.account = vz.Account()
        self.account.generate_one_time_keys(50)
        self.token = self.user_id = self.device_id = ""
        self.arrived: dict[str, tuple[float, Json]] = {}
        """event id → when it came over sync, the event"""
        self.news = asyncio.Event()

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.url}/_matrix/client/v3/{path}"
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            data: Json = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {data}")
            return data

    async def sign_in(self, user_id: str, password: str) -> None:
        identifier = {"type": "m.id.user", "user": user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        found = await self.call("POST", "login", body)
        self.token, self.user_id, self.device_id = found["access_token"], user_id, found["device_id"]
        device = {
            "user_id": user_id,
            "device_id": self.device_id,
            "algorithms": [OLM, MEGOLM],
            "keys": {
                f"curve25519:{self.device_id}": self.account.curve25519_key.to_base64(),
                f"ed25519:{self.device_id}": self.account.ed25519_key.to_base64(),
            },
        }
        keys = {
            f"signed_curve25519:{key_id}": self._signed({"key": key.to_base64()})
            for key_id, key in self.account.one_time_keys.items()
        }
        await self.call("POST", "keys/upload", {"device_keys": self._signed(device), "one_time_keys": keys})
        self.account.mark_keys_as_published()

    def _signed(self, value: Json) -> Json:
        signature = self.account.sign(canonical(value)).to_base64()
        return {**value, "signatures": {self.user_id: {f"ed25519:{self.device_id}": signature}}}

    async def room(self) -> str:
        """The first room it has joined."""
        while not (rooms := (await self.call("GET", "joined_rooms"))["joined_rooms"]):
            await asyncio.sleep(0.1)
        return str(rooms[0])

    async def share(self, room: str) -> None:
        """A Megolm session for everybody else in the room."""
        members = (await self.call("GET", f"rooms/{room}/joined_members"))["joined"]
        others = [user for user in members if user != self.user_id]
        self.group = vz.GroupSession()
        found = (await self.call("POST", "keys/query", {"device_keys": {user: [] for user in others}}))[
            "device_keys"
        ]
        wanted = {user: dict.fromkeys(found[user], "signed_curve25519") for user in others}
        claimed = (await self.call("POST", "keys/claim", {"one_time_keys": wanted}))["one_time_keys"]
        content = {
            "algorithm": MEGOLM,
            "room_id": room,
            "session_id": self.group.session_id,
            "session_key": self.group.session_key.to_base64(),
        }
        messages: Json = {}
        for user, devices in claimed.items():
            for device_id, keys in devices.items():
                device = found[user][device_id]["keys"]
                their_key = device[f"curve25519:{device_id}"]
                session = self.account.create_outbound_session(
                    vz.Curve25519PublicKey.from_base64(their_key),
                    vz.Curve25519PublicKey.from_base64(next(iter(keys.values()))["key"]),
                )
                payload = {
                    "type": "m.room_key",
                    "content": content,
                    "sender": self.user_id,
                    "recipient": user,
                    "recipient_keys": {"ed25519": device[f"ed25519:{device_id}"]},
                    "keys": {"ed25519": self.account.ed25519_key.to_base64()},
                    "sender_device": self.device_id,
                }
                kind, body = session.encrypt(canonical(payload)).to_parts()
                messages.setdefault(user, {})[device_id] = {
                    "algorithm": OLM,
                    "sender_key": self.account.curve25519_key.to_base64(),
                    "ciphertext": {their_key: {"type": kind, "body": unpadded(body)}},
                }
        await self.call("PUT", f"sendToDevice/m.room.encrypted/{uuid4()}", {"messages": messages})

    def encrypt(self, room: str, text: str) -> Json:
        content = {"msgtype": "m.text", "body": text}
        payload = canonical({"type": "m.room.message", "room_id": room, "content": content})
        return {
            "algorithm": MEGOLM,
            "ciphertext": self.group.encrypt(payload).to_base64(),
            "session_id": self.group.session_id,
            "device_id": self.device_id,
            "sender_key": self.account.curve25519_key.to_base64(),
        }

    async def send(self, room: str, content: Json, kind: str = "m.room.encrypted") -> str:
        return str((await self.call("PUT", f"rooms/{room}/send/{kind}/{uuid4()}", content))["event_id"])

    async def follow(self, since: str | None = None) -> None:
        """Sync for ever, noting when each event came."""
        while True:
            query = f"sync?timeout={30000 if since else 0}" + (f"&since={since}" if since else "")
            answer = await self.call("GET", query)
            now = time.perf_counter()
            since = answer["next_batch"]
            for room in answer.get("rooms", {}).get("join", {}).values():
                for event in room["timeline"]["events"]:
                    self.arrived.setdefault(event["event_id"], (now, event))
            self.news.set()
            self.news = asyncio.Event()
