"""The client-server API, spoken as the application service on behalf of one of our users.

One thin method a request; each makes one attempt and raises `Unavailable`, `RateLimited` or `Refused`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence

from appservice.homeserver_admin import Administration, media_address
from appservice.homeserver_errors import HomeserverError, RateLimited, Refused, Unavailable
from appservice.homeserver_transport import Acting, Json, parsed, path

__all__ = ["Acting", "Homeserver", "HomeserverError", "RateLimited", "Refused", "Unavailable"]

CLIENT = "/_matrix/client/v3"
MEDIA = "/_matrix/client/v1/media"

BINARY = "application/octet-stream"

# Seconds. Files travel slower than events.
UPLOAD_TIMEOUT = 120.0
# Seconds that a long poll may take beyond what it was asked to wait: the first after an absence is slow.
SYNC_GRACE = 60.0


class Homeserver(Administration):
    """One homeserver."""

    # Users and devices

    async def register_user(self, localpart: str) -> None:
        """Make one of our own users; one that exists already is as good."""
        body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
        try:
            await self.call("POST", f"{CLIENT}/register", body=body)
        except Refused as error:
            if error.errcode != "M_USER_IN_USE":
                raise

    async def ensure_device(self, acting: Acting, display_name: str) -> None:
        """Make or rename a device (MSC4190). It can't be acted as before it exists."""
        await self.call(
            "PUT",
            path(f"{CLIENT}/devices", acting.device_id),
            params={"user_id": acting.user_id},
            body={"display_name": display_name},
        )

    async def set_display_name(self, acting: Acting, name: str) -> None:
        where = path(f"{CLIENT}/profile", acting.user_id, "displayname")
        await self.call("PUT", where, acting=acting, body={"displayname": name})

    # Receiving

    async def sync(
        self,
        acting: Acting,
        *,
        since: str | None = None,
        wait: float = 30,
        filter: str | None = None,
        set_presence: str = "offline",
    ) -> Json:
        """One long poll of at most `wait` seconds; `filter` is a filter id or JSON."""
        params: dict[str, str | int] = {"timeout": int(wait * 1000), "set_presence": set_presence}
        if since is not None:
            params["since"] = since
        if filter is not None:
            params["filter"] = filter
        return await self.call(
            "GET", f"{CLIENT}/sync", acting=acting, params=params, timeout=wait + SYNC_GRACE
        )

    async def create_filter(self, acting: Acting, definition: Json) -> str:
        where = path(f"{CLIENT}/user", acting.user_id, "filter")
        return str((await self.call("POST", where, acting=acting, body=definition))["filter_id"])

    async def messages(
        self,
        room_id: str,
        acting: Acting,
        *,
        start: str | None = None,
        end: str | None = None,
        backwards: bool = True,
        limit: int = 100,
        filter: str | None = None,
    ) -> Json:
        params: dict[str, str | int] = {"dir": "b" if backwards else "f", "limit": limit}
        for name, value in (("from", start), ("to", end), ("filter", filter)):
            if value is not None:
                params[name] = value
        return await self.call("GET", _room(room_id, "messages"), acting=acting, params=params)

    async def event(self, room_id: str, event_id: str, acting: Acting) -> Json:
        return await self.call("GET", _room(room_id, "event", event_id), acting=acting)

    # Sending

    async def send_event(
        self, room_id: str, type: str, content: Json, transaction_id: str, acting: Acting
    ) -> str:
        """The new event's id. Synapse keys transaction ids by appservice: make them unique over our users."""
        where = _room(room_id, "send", type, transaction_id)
        return str((await self.call("PUT", where, acting=acting, body=content))["event_id"])

    async def redact(
        self, room_id: str, event_id: str, transaction_id: str, acting: Acting, reason: str | None = None
    ) -> str:
        body = {} if reason is None else {"reason": reason}
        where = _room(room_id, "redact", event_id, transaction_id)
        return str((await self.call("PUT", where, acting=acting, body=body))["event_id"])

    async def typing(self, room_id: str, acting: Acting, typing: bool, *, milliseconds: int = 20_000) -> None:
        body: Json = {"typing": True, "timeout": milliseconds} if typing else {"typing": False}
        await self.call("PUT", _room(room_id, "typing", acting.user_id), acting=acting, body=body)

    async def send_receipt(self, room_id: str, event_id: str, acting: Acting) -> None:
        await self.call("POST", _room(room_id, "receipt", "m.read", event_id), acting=acting, body={})

    # Rooms

    async def create_room(self, body: Json, acting: Acting) -> str:
        answer = await self.call("POST", f"{CLIENT}/createRoom", acting=acting, body=body, timeout=60)
        return str(answer["room_id"])

    async def set_state(self, room_id: str, type: str, state_key: str, content: Json, acting: Acting) -> str:
        where = _room(room_id, "state", type, state_key)
        return str((await self.call("PUT", where, acting=acting, body=content))["event_id"])

    async def state(self, room_id: str, type: str, state_key: str, acting: Acting) -> Json:
        return await self.call("GET", _room(room_id, "state", type, state_key), acting=acting)

    async def invite(
        self, room_id: str, user_id: str, acting: Acting, *, is_direct: bool | None = None
    ) -> None:
        """Invite. `is_direct` goes as a membership event, since `/invite` can't carry it."""
        if is_direct is None:
            await self.call("POST", _room(room_id, "invite"), acting=acting, body={"user_id": user_id})
            return
        content = {"membership": "invite", "is_direct": is_direct}
        await self.set_state(room_id, "m.room.member", user_id, content, acting)

    async def join(self, room_id: str, acting: Acting) -> None:
        await self.call("POST", path(f"{CLIENT}/join", room_id), acting=acting, body={}, timeout=60)

    async def leave(self, room_id: str, acting: Acting) -> None:
        await self.call("POST", _room(room_id, "leave"), acting=acting, body={})

    async def kick(self, room_id: str, user_id: str, acting: Acting, reason: str | None = None) -> None:
        body = {"user_id": user_id} | ({} if reason is None else {"reason": reason})
        await self.call("POST", _room(room_id, "kick"), acting=acting, body=body)

    async def members(self, room_id: str, acting: Acting) -> Json:
        """All membership events, also of those who left."""
        return await self.call("GET", _room(room_id, "members"), acting=acting)

    async def joined_members(self, room_id: str, acting: Acting) -> Json:
        return await self.call("GET", _room(room_id, "joined_members"), acting=acting)

    async def joined_rooms(self, acting: Acting) -> list[str]:
        return list((await self.call("GET", f"{CLIENT}/joined_rooms", acting=acting))["joined_rooms"])

    # Keys

    async def upload_keys(self, acting: Acting, body: Json) -> Json:
        """Device keys, one-time keys, fallback keys. Answers with `one_time_key_counts`."""
        return await self.call("POST", f"{CLIENT}/keys/upload", acting=acting, body=body)

    async def query_keys(self, acting: Acting, user_ids: Sequence[str]) -> Json:
        body = {"device_keys": {user_id: [] for user_id in user_ids}, "timeout": 10_000}
        return await self.call("POST", f"{CLIENT}/keys/query", acting=acting, body=body)

    async def claim_keys(self, acting: Acting, wanted: Mapping[str, Mapping[str, str]]) -> Json:
        """`wanted`: user → device → algorithm."""
        body = {"one_time_keys": wanted, "timeout": 10_000}
        return await self.call("POST", f"{CLIENT}/keys/claim", acting=acting, body=body)

    async def upload_signing_keys(self, acting: Acting, body: Json) -> None:
        await self.call("POST", f"{CLIENT}/keys/device_signing/upload", acting=acting, body=body)

    async def upload_signatures(self, acting: Acting, body: Json) -> Json:
        return await self.call("POST", f"{CLIENT}/keys/signatures/upload", acting=acting, body=body)

    async def send_to_device(
        self, type: str, transaction_id: str, messages: Mapping[str, Mapping[str, Json]], acting: Acting
    ) -> None:
        """`messages`: user → device → content. Synapse forgets these transaction ids when it restarts."""
        where = path(f"{CLIENT}/sendToDevice", type, transaction_id)
        await self.call("PUT", where, acting=acting, body={"messages": messages})

    # Media

    async def upload_media(
        self,
        data: bytes | AsyncIterable[bytes],
        acting: Acting,
        content_type: str = BINARY,
    ) -> str:
        """The `mxc:` address. No file name: it would stand readable on the homeserver."""
        headers = self._as_headers | {"Content-Type": content_type}
        url = self._url("/_matrix/media/v3/upload", acting, None)
        answer = await self._request("POST", url, headers=headers, data=data, timeout=UPLOAD_TIMEOUT)
        return str(parsed(answer)["content_uri"])

    async def download_media(self, mxc: str, acting: Acting, *, limit: int = 100 * 2**20) -> bytes:
        """The bytes behind an `mxc:` address; more than `limit` of them is `Refused` with M_TOO_LARGE."""
        server, media_id = media_address(mxc)
        url = self._url(path(f"{MEDIA}/download", server, media_id), acting, None)
        return await self._request(
            "GET", url, headers=self._as_headers, data=None, timeout=UPLOAD_TIMEOUT, limit=limit
        )


def _room(room_id: str, *segments: str) -> str:
    return path(f"{CLIENT}/rooms", room_id, *segments)
