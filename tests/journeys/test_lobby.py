"""A client opens a chat with the assistant, and is brought to their therapist or told why not (P6, A7)."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.database import Pool
from bridge.seats import ASSISTANT_DEVICE
from policies import commands
from policies.contact import Way, before_contact, brought, whom
from tests.clients.protocol import RealClient, Seen
from tests.clients.raw import Raw
from tests.journeys.world import PATIENCE, World, a_world, text, until
from tests.support.synapse import TestHomeserver

MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2"}


@pytest.fixture
async def world(
    pool: Pool, database_url: str, homeserver: TestHomeserver, tmp_path: Path
) -> AsyncIterator[World]:
    # The one assistant that the homeserver's module knows; its device begins anew with each database.
    async with Raw(homeserver.url, homeserver.as_token) as ours:
        await ours.call("DELETE", "devices", ASSISTANT_DEVICE, user_id=homeserver.assistant)
    async with a_world(pool, database_url, homeserver, tmp_path, assistant=homeserver.assistant) as world:
        yield world


async def make_room(app: RealClient, invitee: str) -> str:
    """As apps make a direct chat."""
    body = {
        "preset": "trusted_private_chat",
        "is_direct": True,
        "invite": [invitee],
        "initial_state": [{"type": "m.room.encryption", "state_key": "", "content": MEGOLM}],
    }
    async with app.raw() as raw:
        return str((await raw.call("POST", "createRoom", body=body)).must()["room_id"])


class Lobby:
    def __init__(self, world: World, app: RealClient, room: str) -> None:
        self.world, self.app, self.room = world, app, room
        self.heard: list[str] = []

    @classmethod
    async def of(cls, world: World, app: RealClient) -> "Lobby":
        assistant = world.homeserver.assistant
        room = await make_room(app, assistant)
        await app.room_with(lambda seen: seen.id == room and assistant in seen.joined(), PATIENCE)
        return cls(world, app, room)

    async def answers(self) -> list[Seen]:
        return [s for s in await self.app.timeline(self.room) if s.sender == self.world.homeserver.assistant]

    async def hears(self, words: str) -> Seen:
        """The next answer, these words."""
        self.heard.append(words)

        async def look() -> list[Seen] | None:
            found = await self.answers()
            return found if len(found) >= len(self.heard) else None

        found = await self.app.wait_until(look, PATIENCE, f"answer {len(self.heard)}")
        assert [item.failure or item.body for item in found] == self.heard
        return found[-1]

    async def says(self, words: str, answer: str) -> Seen:
        await self.app.send(self.room, words)
        return await self.hears(answer)


async def test_a_client_is_refused_before_first_contact_and_brought_to_their_thread_after(
    world: World,
) -> None:
    await world.start()
    therapist, client, other = (
        await world.therapist(),
        await world.client(),
        await world.client("Adam", "Young"),
    )
    app = await world.nio(client)
    lobby = await Lobby.of(world, app)
    await lobby.hears(before_contact("Ruh"))
    await lobby.says("!start", before_contact("Ruh"))
    await lobby.says("hello?", commands.hint())
    async with app.raw() as raw:
        for invitee in (await world.user_id(other), f"@ruh_nobody:{world.homeserver.server_name}"):
            body = {"preset": "trusted_private_chat", "is_direct": True, "invite": [invitee]}
            assert (await raw.call("POST", "createRoom", body=body)).status == 403

    conversation = await world.book(therapist, client)
    thread = await app.room_with(lambda room: room.name == "Dr. Sara Khan", PATIENCE)
    await lobby.says("!start", brought(therapist.name, Way.FOUND))
    await app.leave(thread.id)
    held = "SELECT hold = 'left' FROM leg WHERE conversation_id = $1"
    await until(lambda: world.pool.fetchval(held, conversation), what="the leaving to be known")
    await lobby.says("!start", brought(therapist.name, Way.BACK))
    await app.room_with(lambda room: room.id == thread.id and room.membership == "join", PATIENCE)
    await app.send(thread.id, "I am back")
    await world.line(therapist, conversation, lambda line: text(line) == "I am back")
    await world.say(therapist, conversation, "Good to hear")
    await app.wait_for(thread.id, lambda seen: seen.body == "Good to hear", PATIENCE)

    await app.leave(lobby.room)
    over = "SELECT step = 'done' FROM revocation JOIN lobby USING (conversation_id)"
    await until(lambda: world.pool.fetchval(over), what="the assistant to leave")
    again = await Lobby.of(world, app)
    await again.hears(brought(therapist.name, Way.FOUND))
    assert "unknown_room" not in world.log()


async def test_in_element_a_command_reaches_nobody_else_and_a_number_chooses(world: World) -> None:
    await world.start()
    sara, client = await world.therapist(), await world.client()
    ben = await world.person(sara.role, "Ben", "Ode", title="Dr.", email="ben@ruh.test")
    conversation = await world.open(sara, client)
    await world.open(ben, client)
    app = await world.element(client)
    thread = await app.room_with(lambda room: room.name == "Dr. Sara Khan", PATIENCE)
    await app.send(thread.id, "!start")
    answer = await app.wait_for(thread.id, lambda s: s.body == brought(sara.name, Way.HERE), PATIENCE)
    assert (answer.shield, answer.sender) == (None, world.homeserver.assistant)
    await app.send(thread.id, "a message")
    await world.line(sara, conversation, lambda line: text(line) == "a message")
    shown = [text(line) for line in await world.lines(sara, conversation)]
    assert [words for words in shown if words] == ["a message"]

    lobby = await Lobby.of(world, app)
    first = await lobby.hears(whom([ben.name, sara.name]))
    assert first.shield is None
    await lobby.says("2", brought(sara.name, Way.FOUND))


async def test_every_answer_comes_once_over_crashes(world: World) -> None:
    await world.start()
    app = await world.nio(await world.client())
    await world.end()
    process = await world.start(RUH_FAULT="lobby.opened")
    assistant = world.homeserver.assistant
    lobby = Lobby(world, app, await make_room(app, assistant))
    for fault in ("lobby.joined", "leg.invited", "deliver.prepared", "deliver.sent"):
        await _killed(process)
        process = await world.start(RUH_FAULT=fault)
    await _killed(process)
    process = await world.start(RUH_FAULT="sync.decrypted")
    await app.room_with(lambda room: room.id == lobby.room and assistant in room.joined(), PATIENCE)
    await lobby.hears(before_contact("Ruh"))
    await app.send(lobby.room, "!help")
    for fault in ("sync.committed", "deliver.sent", "deliver.recorded"):
        await _killed(process)
        process = await world.start(RUH_FAULT=fault)
    await _killed(process)
    await world.start()
    await lobby.hears(commands.help_alone("Ruh"))
    await lobby.says("last", commands.hint())
    await _nothing_waits(world)


async def _killed(process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == -signal.SIGKILL


async def _nothing_waits(world: World) -> None:
    waiting = "SELECT count(*) FROM delivery WHERE state IN ('pending', 'prepared')"
    await until(lambda: world.pool.fetchval(f"SELECT ({waiting}) = 0"), what="the last answer to be carried")
    parked = await world.pool.fetch("SELECT reason FROM parked_event")
    assert [row["reason"] for row in parked] == []
    assert await world.pool.fetchval("SELECT count(*) FROM lobby WHERE ended_at IS NULL") == 1
