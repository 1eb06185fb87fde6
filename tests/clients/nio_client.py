"""matrix-nio's AsyncClient with its end-to-end store: the other real client.

Its keys and its place in the sync are kept in a directory, so `go_offline()` really ends it and `go_online()`
is a start from that store, as a phone's after a reboot. It knows no cross-signing and no shields. What nio
has decrypted is kept here and folded by `nio_view`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import nio
from nio.crypto import decrypt_attachment

from tests.clients.nio_view import RoomLog, items_of, room_of
from tests.clients.protocol import ClientError, Content, RealClient, Room, Seen

SYNC_FILTER = {"room": {"timeline": {"limit": 100}}}
LONG_POLL = 30_000  # ms
# A homeserver that is down is a test's business, and its warnings are long.
logging.getLogger("nio").setLevel(logging.ERROR)


class NioClient(RealClient):
    def __init__(self) -> None:
        super().__init__()
        self._store = Path(tempfile.mkdtemp(prefix="nio-"))
        self._logs: defaultdict[str, RoomLog] = defaultdict(RoomLog)
        self._sending = asyncio.Lock()  # nio shares a room's session once, if asked once at a time
        self._nio: nio.AsyncClient | None = None
        self._syncing: asyncio.Task[None] | None = None

    @classmethod
    async def sign_in(cls, homeserver: str, user: str, password: str, *, device_name: str = "nio") -> Self:
        self = cls()
        self.homeserver = homeserver
        self._nio = self._new(user)
        try:
            account = _must(await self._nio.login(password, device_name))
            self.user_id, self.device_id = account.user_id, account.device_id
            self.access_token = account.access_token
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def client(self) -> nio.AsyncClient:
        """The library's own object, for what is special to it."""
        if self._nio is None:
            raise ClientError("offline")
        return self._nio

    async def rooms(self) -> list[Room]:
        client = self.client
        return [room_of(client, room, log) for room, log in self._logs.items()]

    async def timeline(self, room: str) -> list[Seen]:
        return items_of(self.client, room, self._logs[room])

    async def history(self, room: str, limit: int = 50) -> None:
        log = self._logs[room]
        if log.start:
            older = _must(await self.client.room_messages(room, log.start, limit=limit))
            log.events[:0] = reversed(older.chunk)
            log.start = older.end
            self._changed()

    async def receipts(self, room: str) -> Mapping[str, str]:
        return {user: receipt.event_id for user, receipt in self.client.rooms[room].read_receipts.items()}

    async def typists(self, room: str) -> set[str]:
        return set(self.client.rooms[room].typing_users)

    async def join(self, room: str) -> None:
        _must(await self.client.join(room))
        await self.room_with(lambda seen: seen.id == room and seen.membership == "join")

    async def leave(self, room: str) -> None:
        _must(await self.client.room_leave(room))

    async def send_event(self, room: str, type: str, content: Content) -> str:
        async with self._sending:
            if self.client.should_query_keys:  # a new device must get the key of this message too
                _must(await self.client.keys_query())
            sent = await self.client.room_send(room, type, dict(content), ignore_unverified_devices=True)
        return str(_must(sent).event_id)

    async def redact(self, room: str, event_id: str, reason: str = "") -> str:
        return str(_must(await self.client.room_redact(room, event_id, reason or None)).event_id)

    async def read(self, room: str, event_id: str) -> None:
        _must(await self.client.update_receipt_marker(room, event_id))

    async def typing(self, room: str, on: bool = True) -> None:
        _must(await self.client.room_typing(room, on, timeout=20_000))

    async def upload(self, data: bytes, *, mimetype: str, encrypted: bool) -> Content:
        kind = "application/octet-stream" if encrypted else mimetype
        stored, key = await self.client.upload(io.BytesIO(data), kind, encrypt=encrypted, filesize=len(data))
        url = _must(stored).content_uri
        return {"file": {**key, "url": url}} if key else {"url": url}

    async def download(self, room: str, event_id: str) -> bytes:
        content = next(seen for seen in await self.timeline(room) if seen.event_id == event_id).content
        file = content.get("file")
        server, media = (file or content)["url"].removeprefix("mxc://").split("/")
        # nio still asks the address from before authenticated media.
        async with self.raw() as raw:
            answer = await raw.call("GET", f"/_matrix/client/v1/media/download/{server}/{media}")
        if not answer.ok:
            raise ClientError(answer.errcode or "M_UNKNOWN", "no such media", answer.status)
        if not file:
            return bytes(answer.body)
        return decrypt_attachment(answer.body, file["key"]["k"], file["hashes"]["sha256"], file["iv"])

    async def go_offline(self) -> None:
        if self._syncing:
            # Cancelled between two awaits: what a sync brought is stored as a whole or not at all.
            self._syncing.remove_done_callback(self._sync_ended)
            self._syncing.cancel()
            await asyncio.wait([self._syncing])
            self._syncing = None
        if self._nio:
            await self._nio.close()
            if self._nio.store:
                self._nio.store.database.close()
            self._nio = None

    async def go_online(self) -> None:
        self._nio = self._new(self.user_id)
        self._nio.restore_login(self.user_id, self.device_id, self.access_token)
        await self._start()

    async def logout(self) -> None:
        _must(await self.client.logout())
        await self.close()

    async def close(self) -> None:
        await self.go_offline()
        shutil.rmtree(self._store, ignore_errors=True)

    # Syncing

    def _new(self, user: str) -> nio.AsyncClient:
        config = nio.AsyncClientConfig(
            store_sync_tokens=True, encryption_enabled=True, max_timeout_retry_wait_time=1
        )
        client = nio.AsyncClient(self.homeserver, user, store_path=str(self._store), config=config)
        client.add_response_callback(self._synced, nio.SyncResponse)
        client.add_response_callback(self._not_synced, nio.SyncError)
        return client

    async def _start(self) -> None:
        first = _must(await self.client.sync(timeout=0, sync_filter=SYNC_FILTER, full_state=True))
        await self._synced(first)
        if self.client.should_upload_keys:
            _must(await self.client.keys_upload())
        if self.client.should_query_keys:
            _must(await self.client.keys_query())
        self._syncing = asyncio.create_task(self._sync())
        self._syncing.add_done_callback(self._sync_ended)

    async def _sync(self) -> None:
        while True:
            try:
                await self.client.sync_forever(LONG_POLL, SYNC_FILTER)
                return
            except nio.LocalProtocolError as error:
                # Its loop asks for keys that a message sent meanwhile has asked for already, and stumbles.
                if "No key query required" not in str(error):
                    raise

    def _sync_ended(self, task: asyncio.Task[None]) -> None:
        self._broken = task.exception() if not task.cancelled() else None
        self._changed()

    async def _synced(self, response: nio.SyncResponse) -> None:
        for room, news in response.rooms.join.items():
            log = self._logs[room]
            missed = await self._missed(room, log, news.timeline) if news.timeline.limited else []
            log.joined(news, missed)
        for room, invitation in response.rooms.invite.items():
            self._logs[room].invited(invitation)
        for room, news in response.rooms.leave.items():
            self._logs[room].left(news)
        self._changed()

    async def _missed(self, room: str, log: RoomLog, timeline: Any) -> list[Any]:
        """What lies between the last event known and a sync that left some out. nio leaves the gap."""
        known = {event.event_id for event in log.events}
        missed: list[Any] = []
        start = timeline.prev_batch
        while known and start:
            older = _must(await self.client.room_messages(room, start, limit=100))
            fresh = [event for event in older.chunk if event.event_id not in known]
            missed += fresh
            start = older.end if older.chunk and len(fresh) == len(older.chunk) else None
        return list(reversed(missed))

    async def _not_synced(self, error: nio.SyncError) -> None:
        if error.status_code in {"M_UNKNOWN_TOKEN", "M_USER_DEACTIVATED"}:
            raise ClientError(error.status_code, error.message)
        await asyncio.sleep(0.5)  # nio would ask again at once


def _must(response: Any) -> Any:
    if isinstance(response, nio.ErrorResponse):
        status = getattr(response.transport_response, "status", 0)
        raise ClientError(str(response.status_code), response.message, status)
    return response
