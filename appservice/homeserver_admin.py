"""The homeserver's administration: clients' accounts, which are not ours to act as, and whole rooms."""

from __future__ import annotations

from appservice.homeserver_errors import Refused
from appservice.homeserver_transport import Json, Transport, path

ADMIN = "/_synapse/admin"


class Administration(Transport):
    """With the administrator's token, never as one of our users."""

    # Accounts

    async def put_account(self, user_id: str, body: Json) -> Json:
        """Make or change an account: `password`, `displayname`, `deactivated`, …"""
        return await self.call("PUT", path(f"{ADMIN}/v2/users", user_id), body=body, admin=True, timeout=60)

    async def create_account(self, user_id: str, password: str | None = None) -> None:
        body: Json = {"admin": False}
        if password is not None:
            body |= {"password": password, "logout_devices": False}
        await self.put_account(user_id, body)

    async def set_password(self, user_id: str, password: str, *, log_out_devices: bool = True) -> None:
        body = {"new_password": password, "logout_devices": log_out_devices}
        where = path(f"{ADMIN}/v1/reset_password", user_id)
        await self.call("POST", where, body=body, admin=True, timeout=60)

    async def deactivate(self, user_id: str) -> None:
        """Close an account. Its devices go first: a deactivation alone leaves them their keys' secrets."""
        listed = await self.devices(user_id)
        if listed:
            where = path(f"{ADMIN}/v2/users", user_id, "delete_devices")
            await self.call("POST", where, body={"devices": listed}, admin=True, timeout=60)
        where = path(f"{ADMIN}/v1/deactivate", user_id)
        await self.call("POST", where, body={"erase": True}, admin=True, timeout=60)

    async def devices(self, user_id: str) -> list[str]:
        return list(await self.device_sightings(user_id))

    async def device_sightings(self, user_id: str) -> dict[str, float | None]:
        """Device → when it last asked for anything, in seconds since 1970; None: not yet.

        Noted to two minutes: a device that goes on asking is up to that much later than this says.
        """
        answer = await self.call("GET", path(f"{ADMIN}/v2/users", user_id, "devices"), admin=True)
        seen = {device["device_id"]: device.get("last_seen_ts") for device in answer["devices"]}
        return {device: ts / 1000 if ts else None for device, ts in seen.items()}

    # What is taken away for good

    async def delete_media(self, mxc: str) -> None:
        """One of this server's own files; one that is gone already is as good."""
        server, media_id = media_address(mxc)
        try:
            await self.call("DELETE", path(f"{ADMIN}/v1/media", server, media_id), admin=True, timeout=60)
        except Refused as error:
            if error.status != 404:
                raise

    async def delete_room(self, room_id: str) -> str:
        """Put everybody out, forget everything and let nobody back in; goes on by itself under this id.

        A deletion that is under way already is the one: only one at a time is accepted.
        """
        for deletion in await self._deletions(room_id):
            if deletion["status"] in ("scheduled", "active"):
                return str(deletion["delete_id"])
        where = path(f"{ADMIN}/v2/rooms", room_id)
        body = {"purge": True, "block": True}
        return str((await self.call("DELETE", where, body=body, admin=True, timeout=60))["delete_id"])

    async def deletion_status(self, delete_id: str) -> str:
        """scheduled, active, complete, failed; or unknown: the homeserver remembers them for a week."""
        where = path(f"{ADMIN}/v2/rooms/delete_status", delete_id)
        try:
            return str((await self.call("GET", where, admin=True))["status"])
        except Refused as error:
            if error.status != 404:
                raise
            return "unknown"

    async def _deletions(self, room_id: str) -> list[Json]:
        try:
            answer = await self.call("GET", path(f"{ADMIN}/v2/rooms", room_id, "delete_status"), admin=True)
        except Refused as error:
            if error.status != 404:
                raise
            return []
        return list(answer["results"])


def media_address(mxc: str) -> tuple[str, str]:
    """Server and media id of an `mxc:` address."""
    if not mxc.startswith("mxc://") or mxc.count("/") != 3:
        raise Refused(0, "M_INVALID_PARAM", "not an mxc address")
    server, media_id = mxc.removeprefix("mxc://").split("/")
    return server, media_id
