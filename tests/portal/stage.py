"""The portal as a browser meets it: a real server and database in a thread of their own.

Tests here are plain functions, because Playwright's synchronous API reads like a story; what they need done
behind the scenes goes through `Stage.do`.
"""

import asyncio
import base64
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from hypercorn.asyncio import serve
from playwright.sync_api import Browser, Page, expect
from quart import Quart

from bridge import legs, messages, participants, people, receipts, sessions
from bridge.config import PortalSettings, load
from bridge.database import Pool, Transaction, open_pool, transaction
from bridge.feed import Change, Notification, notify
from bridge.formatting import from_composer
from bridge.sealing import Keyring
from policies.content import Text
from policies.vocabulary import ConversationId, EntryId, Name, Person, Role
from portal.app import create_app
from portal.main import config
from portal.passwords import hash_password
from tests.support.postgres import TestPostgres
from tests.support.synapse import free_port

MASTER = b"m" * 32
PASSWORD = "a good long password"
PASSWORD_HASH = hash_password(PASSWORD)
CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
COOKIE = "ruh-8080"
"""The session's, where nothing else is said of the port."""
T = TypeVar("T")


def settings(url: str, port: int = 8080, **more: str) -> PortalSettings:
    return load(
        PortalSettings,
        {
            "RUH_DATABASE_URL": url,
            "RUH_MASTER_KEY": base64.b64encode(MASTER).decode(),
            "RUH_SERVER_NAME": "ruh.test",
            "RUH_HOMESERVER_PUBLIC_URL": "http://homeserver.test",
            "RUH_PORTAL_URL": f"http://127.0.0.1:{port}",
            "RUH_PORTAL_PORT": str(port),
            "RUH_API_TOKEN": "token-of-the-platform",
            **more,
        },
    )


@dataclass
class Cast:
    """Makes people and lets them talk, as the rest of the system would."""

    pool: Pool
    keyring: Keyring = field(default_factory=lambda: Keyring(MASTER))

    async def person(self, role: Role, first: str, last: str, title: str = "") -> Person:
        email = f"{uuid4().hex}@ruh.test" if role.is_staff else None
        async with transaction(self.pool) as tx:
            person_id = await people.create(
                tx, self.keyring, platform_id=None, role=role, name=Name(first, last, title), email=email,
                time_zone="Europe/London", server_name="ruh.test",
            )  # fmt: skip
            if role.is_staff:
                await people.set_password_hash(tx, person_id, PASSWORD_HASH)
            return await people.get(tx, self.keyring, person_id)

    async def therapist(self, first: str = "Sara", last: str = "Khan") -> Person:
        return await self.person(Role.THERAPIST, first, last, "Dr.")

    async def client(self, first: str = "Amina", last: str = "Yusuf", of: Person | None = None) -> Person:
        client = await self.person(Role.CLIENT, first, last)
        if of is not None:
            async with transaction(self.pool) as tx:
                await tx.execute(
                    "INSERT INTO booking (platform_id, client_id, therapist_id) VALUES ($1, $2, $3)",
                    uuid4().hex, client.id, of.id,
                )  # fmt: skip
        return client

    async def thread(self, therapist: Person, client: Person, *, signed_in: bool = True) -> ConversationId:
        async with transaction(self.pool) as tx:
            conversation, _ = await participants.open_direct(
                tx, self.keyring, therapist=therapist.id, client=client.id, at=datetime.now(UTC)
            )
            if signed_in:
                await tx.execute(
                    "UPDATE leg SET state = 'open', hold = NULL WHERE conversation_id = $1", conversation
                )
        return conversation

    async def say(
        self,
        author: Person,
        conversation: ConversationId,
        text: str,
        ago: timedelta = timedelta(),
        **more: Any,
    ) -> EntryId:
        async with transaction(self.pool) as tx:
            posted = await messages.post(
                tx, self.keyring, author=author.id, conversation=conversation,
                content=Text(*from_composer(text)), at=datetime.now(UTC) - ago, **more,
            )  # fmt: skip
        return posted.entry_id

    async def carried(self, conversation: ConversationId) -> None:
        """The appservice has carried all that waits."""
        async with transaction(self.pool) as tx:
            await tx.execute(
                "UPDATE delivery d SET state = 'sent', event_id = '$' || d.id, sent_at = now() FROM leg l"
                " WHERE l.id = d.leg_id AND l.conversation_id = $1 AND d.state = 'pending'",
                conversation,
            )
            await notify(tx, Notification(Change.DELIVERY, conversation))

    async def read(self, reader: Person, conversation: ConversationId) -> None:
        async with transaction(self.pool) as tx:
            await receipts.mark_read(
                tx, person=reader.id, conversation=conversation, seq=2**40, at=datetime.now(UTC)
            )

    async def hold(self, conversation: ConversationId, hold: str | None) -> None:
        async with transaction(self.pool) as tx:
            leg = await tx.fetchval("SELECT id FROM leg WHERE conversation_id = $1", conversation)
            await legs.set_hold(tx, leg, hold)

    async def session(self, person: Person) -> str:
        async with transaction(self.pool) as tx:
            return await sessions.begin(tx, person.id, datetime.now(UTC))

    async def email_of(self, person: Person) -> str:
        async with transaction(self.pool) as tx:
            found = await people.details(tx, self.keyring, person.id)
        assert found.email is not None
        return found.email

    async def in_transaction(self, act: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        async with transaction(self.pool) as tx:
            return await act(tx)


class Stage:
    """A running portal, and a loop on which tests may do things meanwhile."""

    def __init__(self, url: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.database_url = url
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._stopping: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="portal", daemon=True)
        self.cast: Cast
        self.app: Quart

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        pool = await open_pool(self.database_url)
        self.cast = Cast(pool)
        found = settings(self.database_url, self.port)
        self.app = create_app(found)
        self._ready.set()
        served = config(found)
        served.graceful_timeout = 0.2
        await serve(self.app, served, shutdown_trigger=self._stopping.wait)
        await pool.close()

    def __enter__(self) -> "Stage":
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)


@contextmanager
def running_stage(postgres: TestPostgres) -> Iterator[Stage]:
    url = asyncio.run(postgres.create())
    with Stage(url, free_port()) as stage:
        yield stage
    asyncio.run(postgres.drop(url))


@contextmanager
def page_of(browser: Browser, stage: Stage, **more: Any) -> Iterator[Page]:
    """A fresh browser profile; an error in the page's own code fails the test."""
    options: dict[str, Any] = {
        "viewport": {"width": 1280, "height": 800}, "timezone_id": "Europe/London", "locale": "en-GB",
        "reduced_motion": "reduce", "base_url": stage.url, **more,
    }  # fmt: skip
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: _note(errors, message.type, message.text))
    try:
        yield page
    finally:
        context.close()
    assert errors == [], errors


def _note(errors: list[str], kind: str, text: str) -> None:
    """Refused requests are the browser's to report; a broken page or policy is ours."""
    if kind == "error" and "Failed to load resource" not in text and "WebSocket connection" not in text:
        errors.append(text)


def enter(page: Page, stage: Stage, person: Person, path: str = "/chat") -> None:
    """As somebody who has signed in before; the form has tests of its own."""
    token = stage.do(stage.cast.session(person))
    page.context.add_cookies([{"name": f"ruh-{stage.port}", "value": token, "url": stage.url}])
    page.goto(path)
    expect(page.locator("html[data-live]")).to_be_attached()


def sign_in(page: Page, stage: Stage, person: Person) -> None:
    page.goto("/sign-in")
    page.get_by_label("Email").fill(stage.do(stage.cast.email_of(person)))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Chat", exact=True)).to_be_attached()


def chromium_path() -> str:
    return os.environ.get("RUH_CHROMIUM", "/usr/bin/chromium")
