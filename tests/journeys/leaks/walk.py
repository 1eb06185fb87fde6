"""All that the client-server API gives to one access token: whatever an answer names is asked about next.

Kept is every byte that came back, headers included. It is searched in every spelling that an answer may have,
so that a name is found in UTF-8, behind JSON's escapes and in an address.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import aiohttp

from tests.clients.raw import Answer, Raw

V1, UNSTABLE = "/_matrix/client/v1", "/_matrix/client/unstable"
NAMES = {
    "user": re.compile(rb"@[a-z0-9._=/+-]+:[a-z0-9.]+"),
    "room": re.compile(rb"![A-Za-z0-9_-]{10,}(?::[a-z0-9.]+)?"),
    "event": re.compile(rb"\$[A-Za-z0-9_-]{43}"),
    "file": re.compile(rb"mxc://[a-z0-9.]+/[A-Za-z0-9]+"),
}
ALL = '{"room":{"include_leave":true,"state":{"lazy_load_members":false},"timeline":{"limit":100}}}'


@dataclass(frozen=True)
class Heard:
    """A piece of an answer, and what it answers."""

    asked: str
    data: bytes


class Listener(Raw):
    """Raw, with an ear on the line."""

    def __init__(self, homeserver: str, token: str | None, *, acting_as: str = "") -> None:
        super().__init__(homeserver, token, acting_as=acting_as)
        self.heard: list[Heard] = []

    async def call(self, method: str, *path: str, **more: Any) -> Answer:
        if self._http is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_end.append(self._head)
            trace.on_response_chunk_received.append(self._body)
            self._http = aiohttp.ClientSession(trace_configs=[trace])
        return await super().call(method, *path, **more)

    async def _head(self, _: Any, __: Any, end: aiohttp.TraceRequestEndParams) -> None:
        self.heard.append(Heard(f"{end.method} {end.url}", str(end.response.raw_headers).encode()))

    async def _body(self, _: Any, __: Any, came: aiohttp.TraceResponseChunkReceivedParams) -> None:
        self.heard.append(Heard(f"{came.method} {came.url}", came.chunk))


def spellings(secret: str) -> set[bytes]:
    """A secret as an answer may carry it; compared without regard to case."""
    forms = {secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")}
    return {form.lower().encode() for form in forms}


def found_in(heard: Iterable[Heard], secrets: Mapping[str, str]) -> list[str]:
    """`secrets`: what it is → what it says. Each one that an answer carries, with the answer; what stood in
    the question's own address is nobody's news."""
    looked_for = [(what, form) for what, secret in secrets.items() for form in spellings(secret)]
    finds: list[str] = []
    innocent: set[bytes] = set()
    for piece in heard:
        if piece.data in innocent:
            continue
        data, asked = piece.data.lower(), unquote(piece.asked).lower().encode()
        hits = [(what, form) for what, form in looked_for if form in data]
        if not hits:
            innocent.add(piece.data)
        for what, form in hits:
            if (at := data.find(form)) >= 0 and unquote_to_bytes(form) not in asked:
                context = data[max(at - 80, 0) : at + len(form) + 80]
                finds.append(f"{what} in {piece.asked[:120]}: …{context!r}…")
    return finds


class Walk:
    """One user's walk. `terms` are what they search for; `knowing` are ids that they have from elsewhere."""

    def __init__(self, raw: Listener, *, terms: Iterable[str] = (), knowing: Iterable[str] = ()) -> None:
        self.raw, self.terms, self.knowing = raw, list(terms), set(knowing)
        self.given: set[str] = set()
        """What was answered with a yes: method and path."""
        self.statuses: dict[int, int] = {}
        self._done: set[object] = set()
        self._named: dict[str, set[str]] = {}
        self._read: dict[str, int] = {}

    @property
    def heard(self) -> list[Heard]:
        return self.raw.heard

    def named(self, kind: str) -> set[str]:
        """The ids of a kind that answers have named."""
        found = self._named.setdefault(kind, {k for k in self.knowing if NAMES[kind].fullmatch(k.encode())})
        for piece in self.heard[self._read.get(kind, 0) :]:
            found |= {match.decode() for match in NAMES[kind].findall(piece.data)}
        self._read[kind] = len(self.heard)
        return found

    def gave(self, known: Iterable[str]) -> list[str]:
        """What was answered with a yes when these were asked for by name; not one's own notes on them."""
        parts = {part.removeprefix("mxc://") for part in known}
        own = f"GET user/{self.raw.user_id}/"
        found = (path for path in self.given if any(part in unquote(path) for part in parts))
        return sorted(path for path in found if not path.startswith(own))

    async def _ask(self, method: str, *path: str, **more: Any) -> Any:
        answer = await self.raw.call(method, *path, **more)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.ok:
            self.given.add(f"{method} {'/'.join(path)}")
        return answer.body if answer.ok and isinstance(answer.body, dict) else {}

    def _first(self, *what: object) -> bool:
        if what in self._done:
            return False
        self._done.add(what)
        return True

    async def go(self) -> "Walk":
        """Until no answer names anything new."""
        await self._oneself()
        while True:
            before = len(self._done)
            rooms, users = sorted(self.named("room")), sorted(self.named("user"))
            for user in users:
                if self._first("user", user):
                    await self._user(user)
            await self._keys([user for user in users if self._first("keys", user)])
            for room in rooms:
                if self._first("room", room):
                    await self._room(room)
                for user in users:
                    if self._first("member", room, user):
                        await self._ask("GET", "rooms", room, "state", "m.room.member", user)
                for event in sorted(self.named("event")):
                    if ("home", event) not in self._done and self._first("event", room, event):
                        await self._event(room, event)
            for file in sorted(self.named("file")):
                if self._first("file", file):
                    await self._file(file.removeprefix("mxc://"))
            if len(self._done) == before:
                return self

    async def _oneself(self) -> None:
        me = self.raw.user_id
        for more in ({}, {"full_state": "true"}, {"filter": ALL}, {"filter": ALL, "full_state": "true"}):
            sync = await self._ask("GET", "sync", timeout="0", set_presence="online", **more)
        await self._ask("GET", "keys", "changes", **{"from": "s0", "to": sync.get("next_batch", "")})
        for path in (
            "account/whoami", "account/3pid", "capabilities", "devices", "joined_rooms", "notifications",
            "publicRooms", "pushers", "pushrules/", "login", "events", "initialSync", "thirdparty/protocols",
            "voip/turnServer", "room_keys/version", "room_keys/keys", f"devices/{self._device(sync)}",
        ):  # fmt: skip
            await self._ask("GET", *path.split("/"), timeout="0")  # "events" would wait for some
        for path in (
            "/_matrix/client/versions", "/.well-known/matrix/client", "/.well-known/matrix/support",
            f"{V1}/media/config", f"{UNSTABLE}/org.matrix.msc3814.v1/dehydrated_device",
            f"{UNSTABLE}/org.matrix.msc4140/delayed_events", f"{UNSTABLE}/org.matrix.msc2965/auth_metadata",
            "/_synapse/admin/v1/rooms", "/_synapse/admin/v2/users", "/_synapse/admin/v1/event_reports",
            f"/_synapse/admin/v1/users/{quote(me)}/media", "/_synapse/admin/v1/statistics/users/media",
            "/_synapse/admin/v1/server_version", "/_matrix/federation/v1/publicRooms",
            "/_matrix/key/v2/server",
        ):  # fmt: skip
            await self._ask("GET", path)
        for kind in ("m.direct", "m.push_rules", "m.ignored_user_list", "m.fully_read"):
            await self._ask("GET", "user", me, "account_data", kind)
        await self._ask("POST", "user", me, "openid", "request_token")
        await self._ask("POST", "publicRooms", body={"filter": {"generic_search_term": ""}})
        every = {
            "lists": {"all": {"ranges": [[0, 99]], "required_state": [["*", "*"]], "timeline_limit": 50}}
        }
        kinds = ("to_device", "e2ee", "account_data", "receipts", "typing", "threads")
        extensions = {"extensions": {kind: {"enabled": True} for kind in kinds}}
        sliding = f"{UNSTABLE}/org.matrix.simplified_msc3575/sync"
        await self._ask("POST", sliding, body={**every, **extensions})
        for term in self.terms:
            await self._search(term)

    def _device(self, sync: Any) -> str:
        return str(sync.get("device_id", "NONE"))

    async def _search(self, term: str) -> None:
        await self._ask("POST", "user_directory", "search", body={"search_term": term, "limit": 50})
        await self._ask("POST", "publicRooms", body={"filter": {"generic_search_term": term}})
        context = {"before_limit": 5, "after_limit": 5, "include_profile": True}
        room_events = {"search_term": term, "event_context": context, "include_state": True}
        await self._ask("POST", "search", body={"search_categories": {"room_events": room_events}})
        await self._ask("GET", "directory", "room", f"#{term}:{self.raw.user_id.partition(':')[2]}")
        await self._ask("GET", "profile", term)
        await self._ask("GET", "register", "available", username=term)

    async def _user(self, user: str) -> None:
        await self._ask("GET", "profile", user)
        for field in ("displayname", "avatar_url", "m.tz"):
            await self._ask("GET", "profile", user, field)
        await self._ask("GET", "presence", user, "status")
        await self._ask("GET", "user", user, "account_data", "m.direct")
        await self._ask("GET", "user", user, "filter", "0")
        await self._ask("GET", "admin", "whois", user)
        await self._ask("GET", f"{UNSTABLE}/uk.half-shot.msc2666/user/mutual_rooms", user_id=user)
        for path in ("", "/joined_rooms", "/devices", "/media", "/pushers", "/accountdata"):
            await self._ask("GET", f"/_synapse/admin/v{1 if path else 2}/users/{quote(user)}{path}")
        await self._ask("GET", f"/_matrix/federation/v1/user/devices/{quote(user)}")
        await self._ask("GET", "/_matrix/federation/v1/query/profile", user_id=user)

    async def _keys(self, users: list[str]) -> None:
        if not users:
            return
        keys = await self._ask("POST", "keys", "query", body={"device_keys": {user: [] for user in users}})
        wanted = {
            user: dict.fromkeys(devices, "signed_curve25519")
            for user, devices in keys.get("device_keys", {}).items()
            if user != self.raw.user_id
        }
        await self._ask("POST", "keys", "claim", body={"one_time_keys": wanted})

    async def _room(self, room: str) -> None:
        me = self.raw.user_id
        for way in ("b", "f"):
            for more in ({}, {"filter": '{"lazy_load_members":false}'}, {"from": "s0"}, {"from": "t1-0_0"}):
                await self._ask("GET", "rooms", room, "messages", dir=way, limit="500", **more)
        for path in ("state", "joined_members", "aliases", "initialSync", "threads"):
            await self._ask("GET", "rooms", room, path)
        for more in ({}, {"membership": "join"}, {"not_membership": "join"}, {"membership": "leave"}):
            await self._ask("GET", "rooms", room, "members", **more)
        for kind in (
            "create", "name", "topic", "avatar", "power_levels", "encryption", "join_rules", "pinned_events",
            "history_visibility", "guest_access", "canonical_alias", "tombstone", "server_acl",
            "third_party_invite",
        ):  # fmt: skip
            await self._ask("GET", "rooms", room, "state", f"m.room.{kind}", "")
        under = quote(room)
        for path in ("threads", "hierarchy"):
            await self._ask("GET", f"{V1}/rooms/{under}/{path}")
        for since in ("f", "b"):
            ts = "0" if since == "f" else "99999999999999"
            await self._ask("GET", f"{V1}/rooms/{under}/timestamp_to_event", dir=since, ts=ts)
        await self._ask("GET", f"{V1}/room_summary/{under}")
        await self._ask("GET", f"{UNSTABLE}/im.nheko.summary/rooms/{under}/summary")
        for kind in ("tags", "account_data/m.fully_read", "account_data/m.tag"):
            await self._ask("GET", "user", me, "rooms", room, *kind.split("/"))
        for path in ("", "/members", "/state", "/messages", "/hierarchy", "/block"):
            await self._ask("GET", f"/_synapse/admin/v1/rooms/{under}{path}")
        await self._ask("POST", "knock", room)
        # What it would be to come in again; for a room that one is in it changes nothing.
        await self._ask("POST", "join", room)
        await self._ask("POST", "rooms", room, "join")

    async def _event(self, room: str, event: str) -> None:
        came = await self._ask("GET", "rooms", room, "event", event)
        if came:
            self._first("home", event)
        if "state_key" in came or (not came and event not in self.knowing):
            return  # nothing refers to it; or it is another room's
        await self._ask("GET", "rooms", room, "context", event, limit="100")
        under = f"{V1}/rooms/{quote(room)}/relations/{quote(event)}"
        for path in ("", "/m.annotation", "/m.replace", "/m.reference", "/m.thread"):
            await self._ask("GET", under + path, limit="50")
        await self._ask("GET", "events", event)

    async def _file(self, where: str) -> None:
        for path in ("download", "thumbnail"):
            size = {"width": "32", "height": "32"} if path == "thumbnail" else {}
            await self._ask("GET", f"{V1}/media/{path}/{where}", **size)
            await self._ask("GET", f"/_matrix/media/v3/{path}/{where}", **size)
