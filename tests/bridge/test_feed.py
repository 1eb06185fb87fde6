"""The feed is a hint that must not fall silent unnoticed: who listens is told that some may be missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest

from bridge import feed
from bridge.database import Pool, transaction
from bridge.feed import Change, Notification


class Wire:
    """Between the listener and PostgreSQL. What runs over it can be lost without a word to either end."""

    def __init__(self, database_url: str) -> None:
        self._parts = urlsplit(database_url)
        (directory,) = parse_qs(self._parts.query)["host"]
        self._socket = f"{directory}/.s.PGSQL.5432"
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead = asyncio.Event()
        self.connections = 0

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        port = self._server.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{port}", query=""))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_unix_connection(self._socket)
        for source, sink in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._carry(source, sink, self._dead)))

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, dead: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if not dead.is_set():
                    sink.write(data)
                    await sink.drain()

    def lose(self) -> None:
        """All connections up to now; new ones work."""
        self._dead.set()
        self._dead = asyncio.Event()


async def heard(listening: AsyncIterator[Notification]) -> Change:
    async with asyncio.timeout(10):
        return (await anext(listening)).change


async def tell(pool: Pool) -> None:
    async with transaction(pool) as tx:
        await feed.notify(tx, Notification(Change.ACCOUNT))


async def test_a_connection_that_died_without_a_word_is_found_out(
    pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LOOK_EVERY", 0.3)
    monkeypatch.setattr(feed, "ANSWER_WITHIN", 0.5)
    async with Wire(database_url) as wire:
        listening = feed.listen(wire.url)
        assert await heard(listening) is Change.REWAKE
        await tell(pool)
        assert await heard(listening) is Change.ACCOUNT
        wire.lose()
        await tell(pool)
        assert await heard(listening) is Change.REWAKE, "anything may have changed meanwhile"
        await tell(pool)
        assert await heard(listening) is Change.ACCOUNT
        assert wire.connections >= 2
        await listening.aclose()  # type: ignore[attr-defined]  # a generator


async def test_silence_alone_is_no_trouble(
    database_url: str, monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    monkeypatch.setattr(feed, "LOOK_EVERY", 0.05)
    listening = feed.listen(database_url)
    assert await heard(listening) is Change.REWAKE
    waiting = asyncio.ensure_future(heard(listening))
    await asyncio.sleep(0.3)
    await tell(pool)
    assert await waiting is Change.ACCOUNT, "and not the start of another connection"
    await listening.aclose()  # type: ignore[attr-defined]  # a generator
