"""Synapse's own rate: the requests that make a conversation's events, with nothing behind them.

As many at once as our carrier has. What they send is ready-made: no database, no encryption, no bookkeeping,
no crash-safety. Their rooms belong to a user of the same registration who doesn't sync, so that the
assistant's sync counts on our side only.
"""

import asyncio
import secrets
from collections.abc import Sequence
from uuid import uuid4

from appservice import legs
from appservice.homeserver import Acting, Homeserver
from tests.bench.device import MEGOLM, OLM, Json
from tests.bench.throughput import AT_ONCE

CIPHERTEXT = "A" * 300  # characters: a message of two sentences
ROOM_KEY = "A" * 1100


class Replay:
    def __init__(self, homeserver: Homeserver, server_name: str) -> None:
        self._homeserver, self._server_name = homeserver, server_name
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def users(self, count: int) -> list[Acting]:
        """Made before anything is timed; the first is to make the rooms."""
        made = []
        for n in range(count):
            acting = Acting(f"@ruh_bench{secrets.token_hex(8)}:{self._server_name}", "BENCH")
            await self._homeserver.register_user(acting.user_id[1:].split(":")[0])
            await self._homeserver.ensure_device(acting, "bench")
            await self._homeserver.set_display_name(acting, f"B. {n}")
            made.append(acting)
        return made

    async def room(self, maker: Acting, others: Sequence[Acting], client: str, *, is_direct: bool) -> str:
        """As a leg's: the same room, invitation and join for each of the others, and the client in it."""
        body = legs.room("Bench") | {"invite": [other.user_id for other in others]}
        async with self._gate:
            room = await self._homeserver.create_room(body, maker)
            for other in others:
                await self._homeserver.join(room, other)
            await self._homeserver.invite(room, client, maker, is_direct=is_direct or None)
        pause = 0.2  # the homeserver accepts for them: as a rule they are there at the first look
        while (await self._member(room, client, maker, after=pause)).get("membership") != "join":
            pause = min(2 * pause, 1)
        return room

    async def _member(self, room: str, user: str, acting: Acting, *, after: float) -> Json:
        await asyncio.sleep(after)
        return await self._homeserver.state(room, "m.room.member", user, acting)

    async def first_message(self, room: str, sender: Acting, client: str) -> None:
        """With what no encrypted message goes without: the client's devices, a key of each, the room key."""
        async with self._gate:
            found = await self._homeserver.query_keys(sender, [client])
            devices = list(found["device_keys"][client])
            wanted = {client: dict.fromkeys(devices, "signed_curve25519")}
            await self._homeserver.claim_keys(sender, wanted)
            key = {
                "algorithm": OLM,
                "sender_key": "K" * 43,
                "ciphertext": {"k": {"type": 0, "body": ROOM_KEY}},
            }
            await self._homeserver.send_to_device(
                "m.room.encrypted", uuid4().hex, {client: dict.fromkeys(devices, key)}, sender
            )
            await self._send(room, sender)

    async def messages(self, rooms: Sequence[str], sender: Acting) -> None:
        """One into each."""

        async def one(room: str) -> None:
            async with self._gate:
                await self._send(room, sender)

        await asyncio.gather(*(one(room) for room in rooms))

    async def _send(self, room: str, sender: Acting) -> None:
        content = {"algorithm": MEGOLM, "ciphertext": CIPHERTEXT, "session_id": "s" * 43, "device_id": "D"}
        await self._homeserver.send_event(room, "m.room.encrypted", content, uuid4().hex, sender)
