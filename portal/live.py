"""The page's web socket: what changed goes out as HTML, what the reader does (reads, types, opens) comes in.

Only with a session, and only from our own pages. When the session ends, so does the socket, with a code that
sends the page to sign in.
"""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, ClassVar, cast

import structlog
from quart import Blueprint, current_app, websocket

from bridge import feed, receipts
from bridge.database import UNREACHABLE, transaction
from bridge.errors import NotFound
from bridge.feed import Change, Notification
from bridge.standing import standing
from policies.vocabulary import ConversationId, Person
from portal.hub import Hub, hub
from portal.security import cookie_name, find_session, identity, is_our_origin
from portal.services import Services, services
from portal.templating import Templates
from portal.viewer import Page

SIGNED_OUT = 4401
TRY_AGAIN = 1013
GATHER = 0.02
"""Seconds between two answers: what happens meanwhile goes out together."""
LOOK_AT_SESSION = 20.0
MAX_FRAME = 2000
_TYPING_EVERY = 2.0

blueprint = Blueprint("live", __name__)
log = structlog.get_logger()


@blueprint.websocket("/live")
async def live() -> None:
    if _from_elsewhere():
        await websocket.close(1008)
        return
    token = websocket.cookies.get(cookie_name(services().settings))
    found = await find_session(token, touch=False)
    await websocket.accept()
    if found is None:
        await websocket.close(SIGNED_OUT)
        return
    await _Socket(token or "", found[1]).run()


def _from_elsewhere() -> bool:
    return not is_our_origin(websocket.headers.get("Origin"), websocket.host)


class _Socket:
    """One connection of one page."""

    def __init__(self, token: str, person: Person) -> None:
        self._token = token
        self._services: Services = services()
        self._hub: Hub = hub()
        templates = cast(Templates, current_app.extensions["templates"])
        self._page = Page(person, self._services.pool, self._services.keyring, templates)
        self._looked_at = monotonic()
        self._typed_at = 0.0

    async def run(self) -> None:
        conversation = identity(websocket.args.get("conversation", ""))
        self._page.show(
            ConversationId(conversation) if conversation else None,
            blast="blast" in websocket.args,
            archived="archived" in websocket.args,
        )
        self._page.notifies = "notifies" in websocket.args
        self._hub.join(self._page, websocket.args.get("mark", ""))
        try:
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(self._tell())
                await self._listen()
                telling.cancel()
        except* _Ended:
            await _close(SIGNED_OUT)
        except* UNREACHABLE as errors:
            # The page comes back by itself, and asks for what it missed.
            log.warning("live_interrupted", error=type(errors.exceptions[0]).__name__)
            await _close(TRY_AGAIN)
        finally:
            self._hub.leave(self._page)

    async def _tell(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AT_SESSION):
                    await self._page.changed.wait()
            if monotonic() - self._looked_at > LOOK_AT_SESSION:
                await self._still_signed_in(touch=False)
            if self._page.changed.is_set():
                mark = self._hub.mark()
                changes = await self._page.changes()
                if changes:
                    await websocket.send(json.dumps({"mark": mark, "changes": changes}))
                await asyncio.sleep(GATHER)

    async def _listen(self) -> None:
        while True:
            frame = await websocket.receive()
            said = _read(frame)
            if said is None:
                continue
            for word, act in self._acts.items():
                if word in said:
                    await act(self, said)

    async def _opened(self, said: dict[str, Any]) -> None:
        conversation = identity(str(said["open"] or ""))
        self._page.show(
            ConversationId(conversation) if conversation else None,
            blast=bool(said.get("blast")),
            archived=bool(said.get("archived")),
        )
        self._hub.catch_up(self._page, str(said.get("mark", "")))

    async def _reads(self, said: dict[str, Any]) -> None:
        conversation, seq = identity(str(said.get("conversation"))), said["read"]
        if conversation is None or not isinstance(seq, int) or not 0 < seq < 2**62:
            return
        # A page at the end of a conversation reads on by itself: that keeps nobody signed in (S1).
        await self._still_signed_in(touch=bool(said.get("there")))
        async with transaction(self._services.pool) as tx:
            await receipts.mark_read(
                tx,
                person=self._page.person_id,
                conversation=ConversationId(conversation),
                seq=seq,
                at=datetime.now(UTC),
            )

    async def _types(self, said: dict[str, Any]) -> None:
        conversation, on = identity(str(said.get("conversation"))), bool(said["typing"])
        now = monotonic()
        if conversation is None or (on and now - self._typed_at < _TYPING_EVERY):
            return
        self._typed_at = now if on else 0.0
        await self._still_signed_in(touch=True)
        where = ConversationId(conversation)
        with suppress(NotFound):
            async with transaction(self._services.pool) as tx:
                await standing(tx, self._page.person_id, where)
                typing = Notification(Change.TYPING, where, person=self._page.person_id, on=on)
                await feed.notify(tx, typing)

    _acts: ClassVar = {"open": _opened, "read": _reads, "typing": _types}

    async def _still_signed_in(self, *, touch: bool) -> None:
        self._looked_at = monotonic()
        if await find_session(self._token, touch=touch) is None:
            raise _Ended


async def _close(code: int) -> None:
    with suppress(Exception):
        await websocket.close(code)


class _Ended(Exception):
    """The session is over."""


def _read(frame: str | bytes) -> dict[str, Any] | None:
    if len(frame) > MAX_FRAME:
        return None
    with suppress(ValueError):
        said = json.loads(frame)
        if isinstance(said, dict):
            return said
    return None
