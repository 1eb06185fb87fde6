"""A whole Ruh for one test: a database, the run's homeserver, and our processes as an operator runs them."""

import asyncio
import base64
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from bridge import accounts, bookings, messages, participants, timeline
from bridge.database import Pool, transaction
from bridge.messages import Posted
from bridge.sealing import Keyring
from bridge.timeline import Line, Page
from policies.content import Text
from policies.vocabulary import ConversationId, Person, Role
from ruh.local.process import Program, open_log, popen_options
from tests.clients.clients import Clients
from tests.clients.protocol import RealClient
from tests.support.people import make
from tests.support.synapse import TestHomeserver

MASTER = b"w" * 32
PASSWORD = "a long enough password"
RUH = [sys.executable, "-c", "from ruh.main import main; main()"]
T = TypeVar("T")
PATIENCE = 60.0  # seconds; ten times what a busy machine needs, and nobody waits longer than it takes


async def until(look: Callable[[], Awaitable[T | None]], *, seconds: float = PATIENCE, what: str = "it") -> T:
    """Asks the database until it says yes."""
    try:
        async with asyncio.timeout(seconds):
            while not (answer := await look()):
                await asyncio.sleep(0.05)
            return answer
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for {what}") from None


@dataclass
class World:
    pool: Pool
    database_url: str
    homeserver: TestHomeserver
    clients: Clients
    logs: Path
    keyring: Keyring = field(default_factory=lambda: Keyring(MASTER))
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RUH_DATABASE_URL": self.database_url,
            "RUH_MASTER_KEY": base64.b64encode(MASTER).decode(),
            "RUH_SERVER_NAME": self.homeserver.server_name,
            "RUH_HOMESERVER_PUBLIC_URL": self.homeserver.url,
            "RUH_HOMESERVER_URL": self.homeserver.url,
            "RUH_AS_TOKEN": self.homeserver.as_token,
            "RUH_HOMESERVER_ADMIN_TOKEN": self.homeserver.admin_token,
        }

    async def start(self, command: str = "appservice", **more: str) -> asyncio.subprocess.Process:
        """One of our processes; `more` goes into its environment. It ends with us, whatever happens."""
        program = Program(
            command, (*RUH, command), {**self.environment, **more}, self.logs / f"{command}.log"
        )
        output = open_log(program)
        try:
            process = await asyncio.create_subprocess_exec(
                *program.argv, stdout=output, stderr=output, **popen_options(program)
            )
        finally:
            os.close(output)
        self.processes.append(process)
        return process

    async def ready(self) -> None:
        """Until the assistant has synced once."""
        await until(lambda: self.pool.fetchval("SELECT sync_token FROM shard"), what="the first sync")

    async def restart(self, **more: str) -> asyncio.subprocess.Process:
        """The appservice killed where it stands, and another in its place."""
        await self.end()
        return await self.start(**more)

    @asynccontextmanager
    async def kept_running(self, **more: str) -> AsyncIterator[None]:
        """The appservice under a supervisor: started again whenever it ends."""

        async def keep() -> None:
            while True:
                await (await self.start(**more)).wait()

        await self.end()
        keeper = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await self.end()

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()

    async def end(self) -> None:
        """Kill all that runs."""
        for process in self.processes:
            await self.kill(process)
        self.processes.clear()

    async def person(self, role: Role, first: str, last: str, **more: Any) -> Person:
        async with transaction(self.pool) as tx:
            return await make(tx, self.keyring, role, first, last, **more)

    async def therapist(self) -> Person:
        return await self.person(Role.THERAPIST, "Sara", "Khan", title="Dr.", email=f"{uuid4().hex}@ruh.test")

    async def client(self, first: str = "Amina", last: str = "Yusuf", **more: Any) -> Person:
        """A client whose account the homeserver has; they have not signed in."""
        person = await self.person(Role.CLIENT, first, last, **more)
        async with transaction(self.pool) as tx:
            await accounts.request_password(tx, self.keyring, person.id, PASSWORD)
        await until(lambda: self.account_ready(person), what="the account")
        return person

    async def account_ready(self, person: Person) -> bool:
        async with transaction(self.pool) as tx:
            account = await accounts.find(tx, person.id)
            return account is not None and account.ready

    async def user_id(self, person: Person) -> str:
        return str(await self.pool.fetchval("SELECT user_id FROM account WHERE person_id = $1", person.id))

    async def nio(self, person: Person) -> RealClient:
        return await self.clients.nio(await self.user_id(person), PASSWORD)

    async def element(self, person: Person) -> RealClient:
        return await self.clients.element(await self.user_id(person), PASSWORD)

    async def book(self, therapist: Person, client: Person) -> ConversationId:
        async with transaction(self.pool) as tx:
            outcome = await bookings.report(
                tx, self.keyring, platform_booking_id=uuid4().hex, client=client.id, therapist=therapist.id,
                starts_at=None, practice="Ruh", at=datetime.now(UTC),
            )  # fmt: skip
        return outcome.conversation_id

    async def open(self, therapist: Person, client: Person) -> ConversationId:
        async with transaction(self.pool) as tx:
            conversation, _ = await participants.open_direct(
                tx, self.keyring, therapist=therapist.id, client=client.id, at=datetime.now(UTC)
            )
        return conversation

    async def say(self, author: Person, conversation: ConversationId, text: str, **more: Any) -> Posted:
        """As the portal does."""
        async with transaction(self.pool) as tx:
            return await messages.post(
                tx, self.keyring, author=author.id, conversation=conversation, content=Text(text),
                at=datetime.now(UTC), **more,
            )  # fmt: skip

    async def act(self, use_case: Callable[..., Awaitable[T]], **given: Any) -> T:
        """A use case as the portal carries it out: one transaction, now."""
        async with transaction(self.pool) as tx:
            return await use_case(tx, self.keyring, at=datetime.now(UTC), **given)

    async def page(self, reader: Person, conversation: ConversationId) -> Page:
        async with transaction(self.pool) as tx:
            return await timeline.page(tx, self.keyring, reader.id, conversation, limit=10_000)

    async def lines(self, reader: Person, conversation: ConversationId) -> list[Line]:
        return list((await self.page(reader, conversation)).lines)

    async def line(
        self,
        reader: Person,
        conversation: ConversationId,
        holds: Callable[[Line], bool],
        seconds: float = PATIENCE,
    ) -> Line:
        """The first line of the reader's timeline that it holds for, now or later."""

        async def look() -> Line | None:
            return next((line for line in await self.lines(reader, conversation) if holds(line)), None)

        return await until(look, seconds=seconds, what="a line of the timeline")

    def log(self, command: str = "appservice") -> str:
        path = self.logs / f"{command}.log"
        return path.read_text() if path.exists() else ""


def text(line: Line) -> str:
    return line.content.body if isinstance(line.content, Text) else ""


@asynccontextmanager
async def a_world(
    pool: Pool, database_url: str, homeserver: TestHomeserver, logs: Path, *, assistant: str | None = None
) -> AsyncIterator[World]:
    """`assistant`: its user id, for a test that needs the one that the homeserver's module knows."""
    async with Clients(homeserver.url) as clients:
        world = World(pool, database_url, homeserver, clients, logs)
        # The homeserver serves the whole run: each world has an assistant of its own.
        await pool.execute(
            "INSERT INTO puppet (id, user_id, device_id, kind) VALUES ($1, $2, $3, 'assistant')",
            uuid4(), assistant or f"@ruh_a{secrets.token_hex(8)}:{homeserver.server_name}", "RUHASSIST",
        )  # fmt: skip
        try:
            yield world
        finally:
            await world.end()
