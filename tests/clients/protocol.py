"""What a test may ask of a real Matrix client, whichever program is behind it.

Waiting is always for a condition that the client itself sees (`wait_for`, `room_with`, `wait_until`), asked
anew after every change that reaches it; nothing here sleeps. What is seen is frozen: keep it and compare.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from tests.clients import contents
from tests.clients.raw import ClientError as ClientError
from tests.clients.raw import Raw

T = TypeVar("T")
Content = dict[str, Any]

PATIENCE = 15.0  # seconds; a healthy round trip takes well under one


@dataclass(frozen=True)
class Seen:
    """One message as the person at this client sees it: the latest edit, what was redacted, who reacted."""

    event_id: str
    sender: str
    sender_name: str
    at: int  # ms since the epoch, the homeserver's word
    content: Mapping[str, Any]  # {} if redacted or not decrypted
    type: str = "m.room.message"
    encrypted: bool = False
    edited: bool = False
    redacted: bool = False
    reply_to: str | None = None  # an event id
    reactions: Mapping[str, Sequence[str]] = field(default_factory=dict)  # "👍" → user ids
    failure: str | None = None  # why it could not be decrypted
    shield: str | None = None  # "grey", "red" or none at all; only Element has them
    shield_reason: str | None = None

    @property
    def body(self) -> str:
        return str(self.content.get("body", ""))

    @property
    def formatted(self) -> str | None:
        return self.content.get("formatted_body")

    @property
    def msgtype(self) -> str | None:
        """`m.text`, `m.image`, …; None once redacted or if not decrypted."""
        return self.content.get("msgtype")

    @property
    def is_voice(self) -> bool:
        return "org.matrix.msc3245.voice" in self.content


@dataclass(frozen=True)
class Member:
    name: str
    membership: str


@dataclass(frozen=True)
class Room:
    id: str
    name: str  # as the client's room list shows it
    membership: str  # one's own: "join", "invite", "leave", "ban"
    encrypted: bool
    members: Mapping[str, Member]  # by user id, whatever their membership
    state: Mapping[tuple[str, str], Mapping[str, Any]]  # (type, state key) → content

    def joined(self) -> set[str]:
        return {user for user, member in self.members.items() if member.membership == "join"}


class NotSeen(AssertionError):
    """What was waited for didn't come in time."""


class RealClient(ABC):
    """A signed-in client of one user, syncing. `await X.sign_in(…)` makes one, `await close()` ends it."""

    user_id: str
    device_id: str
    homeserver: str
    access_token: str

    def __init__(self) -> None:
        self._stir = asyncio.Event()
        self._broken: BaseException | None = None  # why nothing will change any more

    @classmethod
    @abstractmethod
    async def sign_in(cls, homeserver: str, user: str, password: str, *, device_name: str = "") -> Self:
        """A new device of `user` (a user id or localpart), its keys published, its first sync done."""

    # What each program does in its own way.

    @abstractmethod
    async def rooms(self) -> list[Room]: ...
    @abstractmethod
    async def timeline(self, room: str) -> list[Seen]:
        """Messages, oldest first, without edits, reactions, redactions and state as rows of their own."""

    @abstractmethod
    async def history(self, room: str, limit: int = 50) -> None:
        """Scroll back: older messages join the timeline."""

    @abstractmethod
    async def receipts(self, room: str) -> Mapping[str, str]:
        """User id → the event id up to which they have read, by their own receipts."""

    @abstractmethod
    async def typists(self, room: str) -> set[str]:
        """Who is typing now."""

    @abstractmethod
    async def join(self, room: str) -> None: ...
    @abstractmethod
    async def leave(self, room: str) -> None: ...
    @abstractmethod
    async def send_event(self, room: str, type: str, content: Content) -> str:
        """As this client would: encrypted where the room is, reactions excepted. Returns the event id."""

    @abstractmethod
    async def redact(self, room: str, event_id: str, reason: str = "") -> str: ...
    @abstractmethod
    async def read(self, room: str, event_id: str) -> None:
        """A public read receipt."""

    @abstractmethod
    async def typing(self, room: str, on: bool = True) -> None: ...
    @abstractmethod
    async def upload(self, data: bytes, *, mimetype: str, encrypted: bool) -> Content:
        """`{"file": …}` or `{"url": …}`, to be put into a message's content."""

    @abstractmethod
    async def download(self, room: str, event_id: str) -> bytes:
        """The attachment of a message, decrypted and its hash checked."""

    @abstractmethod
    async def go_offline(self) -> None:
        """No network from now on; keys and the place in the sync are kept."""

    @abstractmethod
    async def go_online(self) -> None: ...
    @abstractmethod
    async def logout(self) -> None:
        """Delete this device at the homeserver and end."""

    @abstractmethod
    async def close(self) -> None:
        """End the program, whatever state it is in. The device stays."""

    # What follows from these.

    async def send(self, room: str, body: str, *, formatted: str | None = None) -> str:
        return await self.send_event(room, "m.room.message", contents.text(body, formatted))

    async def reply(self, room: str, event_id: str, body: str, *, formatted: str | None = None) -> str:
        return await self.send_event(room, "m.room.message", contents.reply(event_id, body, formatted))

    async def edit(self, room: str, event_id: str, body: str, *, formatted: str | None = None) -> str:
        return await self.send_event(room, "m.room.message", contents.edit(event_id, body, formatted))

    async def react(self, room: str, event_id: str, key: str) -> str:
        return await self.send_event(room, "m.reaction", contents.reaction(event_id, key))

    async def send_file(
        self, room: str, data: bytes, *, name: str, mimetype: str, msgtype: str = "m.file", **extra: Any
    ) -> str:
        """`msgtype` m.file, m.image, m.video or m.audio; `extra` goes into its info (`w`, `h`, …)."""
        source = await self.upload(data, mimetype=mimetype, encrypted=await self._is_encrypted(room))
        content = contents.attachment(msgtype, name, mimetype, len(data), source, extra)
        return await self.send_event(room, "m.room.message", content)

    async def send_voice(
        self, room: str, data: bytes, *, duration_ms: int, mimetype: str = "audio/ogg"
    ) -> str:
        source = await self.upload(data, mimetype=mimetype, encrypted=await self._is_encrypted(room))
        content = contents.voice(mimetype, len(data), source, duration_ms)
        return await self.send_event(room, "m.room.message", content)

    async def send_location(self, room: str, latitude: float, longitude: float, body: str = "") -> str:
        return await self.send_event(room, "m.room.message", contents.location(latitude, longitude, body))

    async def send_plaintext(self, room: str, type: str, content: Content) -> str:
        """Past the client's encryption, as a broken or malicious client would."""
        async with self.raw() as raw:
            return str((await raw.send(room, type, content)).must()["event_id"])

    def raw(self) -> Raw:
        """Plain HTTP with this device's access token (`async with`)."""
        return Raw(self.homeserver, self.access_token)

    async def room(self, room: str) -> Room:
        return next(seen for seen in await self.rooms() if seen.id == room)

    async def room_with(self, predicate: Callable[[Room], bool], timeout: float = PATIENCE) -> Room:
        """The first room that the predicate holds for, now or later."""

        async def look() -> Room | None:
            return next((room for room in await self.rooms() if predicate(room)), None)

        return await self.wait_until(look, timeout, "a room")

    async def wait_for(self, room: str, predicate: Callable[[Seen], bool], timeout: float = PATIENCE) -> Seen:
        """The latest message in the timeline that the predicate holds for, now or later."""

        async def look() -> Seen | None:
            return next((seen for seen in reversed(await self.timeline(room)) if predicate(seen)), None)

        try:
            return await self.wait_until(look, timeout, "a message")
        except NotSeen as missing:
            rows = [seen.body or seen.failure or "(redacted)" for seen in await self.timeline(room)]
            raise NotSeen(f"{missing}; the timeline is {rows[-20:]}") from None

    async def wait_until(
        self, look: Callable[[], Awaitable[T | None]], timeout: float = PATIENCE, what: str = "it"
    ) -> T:
        """The first true answer of `look`, asked now and after every change that reaches this client."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    stir = self._stir
                    if answer := await look():
                        return answer
                    if self._broken:
                        raise self._broken
                    await stir.wait()
        except TimeoutError:
            raise NotSeen(f"{self.user_id} waited {timeout:g} s for {what}") from None

    def _changed(self) -> None:
        self._stir.set()
        self._stir = asyncio.Event()

    async def _is_encrypted(self, room: str) -> bool:
        return (await self.room(room)).encrypted
