"""Removal and leaving, from where clients stand: their apps, and what their old token still gets (C11)."""

import asyncio
import signal
from dataclasses import dataclass
from typing import Any

from bridge import participants, revocations, roster
from bridge.database import transaction
from policies.vocabulary import ConversationId, Person
from tests.clients.protocol import RealClient, Room
from tests.clients.raw import Raw
from tests.journeys.test_groups import a_group
from tests.journeys.world import PATIENCE, World, text, until

SECONDS = {"RUH_REMOVAL_PATIENCE_DAYS": str(5 / 86400)}
"""Long enough for an app that is on to hear of it, and no longer."""
PICTURE = b"\x89PNG\r\n\x1a\n" + b"a picture" * 100


@dataclass
class Group:
    """A community chat with a therapist; each client sees it in a room of their own."""

    world: World
    therapist: Person
    clients: list[Person]
    id: ConversationId

    @classmethod
    async def of(cls, world: World, *names: tuple[str, str]) -> "Group":
        therapist = await world.therapist()
        clients = [await world.client(*name) for name in names]
        return cls(world, therapist, clients, await a_group(world, therapist, clients))

    async def room(self, client: Person) -> str:
        """The latest that was made for them."""

        async def look() -> str | None:
            return await self.world.pool.fetchval(
                "SELECT l.room_id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.person_id = $2"
                " AND l.conversation_id = $1 AND l.state <> 'wanted' ORDER BY m.joined_seq DESC LIMIT 1",
                self.id, client.id,
            )  # fmt: skip

        return str(await until(look, what="a room"))

    async def say(self, words: str) -> None:
        await self.world.say(self.therapist, self.id, words)

    async def change(self, use_case: Any, person: Person, **more: Any) -> None:
        """The therapist adds or removes somebody, in the portal."""
        await self.world.act(
            use_case, actor=self.therapist.id, conversation=self.id, person=person.id, **more
        )

    async def taken_back(self, *, seconds: float = PATIENCE) -> tuple[str, ...]:
        """The members panel's words, once all is done."""
        left = "SELECT count(*) FROM revocation WHERE step <> 'done'"

        async def look() -> bool:
            return await self.world.pool.fetchval(left) == 0

        await until(look, seconds=seconds, what="the room to be taken back")
        async with transaction(self.world.pool) as tx:
            return (await revocations.of_conversation(tx, self.therapist.id, self.id))[0].words


async def events_of(raw: Raw, room: str) -> list[str]:
    chunk = (await raw.call("GET", "rooms", room, "messages", dir="b", limit="1000")).must()["chunk"]
    return [event["event_id"] for event in chunk]


async def still_gets(raw: Raw, room: str, events: list[str], files: list[str]) -> list[str]:
    """Everything that the client-server API may give of a room, tried with this token; what it does give."""
    under = [
        ("messages",), ("state",), ("members",), ("joined_members",), ("aliases",), ("threads",),
        ("event", events[0]), ("initialSync",), ("timestamp_to_event",),
    ]  # fmt: skip
    asked = [("GET", ("rooms", room, *path)) for path in under]
    for event in events:
        asked += [("GET", ("rooms", room, "event", event)), ("GET", ("rooms", room, "context", event))]
        asked += [("GET", (f"/_matrix/client/v1/rooms/{room}/relations/{event}",))]
    asked += [("GET", (f"/_matrix/client/v1/rooms/{room}/hierarchy",)), ("POST", ("join", room))]
    asked += [("POST", ("rooms", room, "join")), ("PUT", ("rooms", room, "send", "m.room.encrypted", "1"))]
    for file in files:
        where = file.removeprefix("mxc://")
        asked += [("GET", (f"/_matrix/client/v1/media/download/{where}",))]
        asked += [("GET", (f"/_matrix/client/v1/media/thumbnail/{where}?width=32&height=32",))]
    given = ["/".join(path) for method, path in asked if (await raw.call(method, *path, dir="b", ts="0")).ok]
    for more in ({}, {"full_state": "true"}):
        sync = (await raw.call("GET", "sync", timeout="0", **more)).must()
        given += ["sync"] if room in str(sync.get("rooms")) else []
    found = await raw.call(
        "POST", "search", body={"search_categories": {"room_events": {"search_term": "a"}}}
    )
    given += ["search"] if found.ok and found.body["search_categories"]["room_events"]["results"] else []
    return given


async def bodies(app: RealClient, room: str) -> list[str]:
    return [seen.body for seen in await app.timeline(room) if not seen.redacted]


async def put_out(app: RealClient, room: str) -> Room:
    return await app.room_with(lambda seen: seen.id == room and seen.membership == "leave", PATIENCE)


async def test_who_is_removed_has_nothing_left_and_the_others_have_everything(world: World) -> None:
    await world.start(**SECONDS)
    group = await Group.of(world, ("Amina", "Yusuf"), ("Adam", "Young"), ("Jane", "Doe"))
    amina_, adam_, _ = group.clients
    amina, adam = await world.element(amina_), await world.nio(adam_)
    hers, his = await group.room(amina_), await group.room(adam_)
    await group.say("Welcome, all of you")
    for app, room in ((amina, hers), (adam, his)):
        await app.wait_for(room, lambda seen: seen.body == "Welcome, all of you", PATIENCE)
    await amina.send_file(hers, PICTURE, name="me.png", mimetype="image/png", msgtype="m.image")
    await amina.send(hers, "That was me")
    heard = await adam.wait_for(his, lambda seen: seen.body == "That was me", PATIENCE)
    await adam.react(his, heard.event_id, "👍")
    await adam.send(his, "Good to see you")
    await amina.wait_for(hers, lambda seen: seen.body == "Good to see you", PATIENCE)
    before = await bodies(adam, his)
    file = await until(lambda: world.pool.fetchval("SELECT mxc FROM leg_media"), what="the file")
    async with amina.raw() as raw:
        events = await events_of(raw, hers)

        await group.change(roster.remove, amina_)
        await put_out(amina, hers)
        assert await bodies(amina, hers) == []
        told = await group.taken_back()
        assert told[0] == "Removed"
        assert told[-1] == "deleted for good"
        assert await still_gets(raw, hers, events, [file]) == []

    await group.say("We go on")
    await adam.wait_for(his, lambda seen: seen.body == "We go on", PATIENCE)
    assert await bodies(adam, his) == [*before, f"{heard.sender_name} left", "We go on"]
    async with adam.raw() as raw:
        assert len(await still_gets(raw, his, [heard.event_id], [])) > 3

    # Back again: a room of its own, and what is said from now on.
    await group.change(roster.add, amina_, told=True)
    again = await amina.room_with(lambda seen: seen.membership == "join", PATIENCE)
    assert again.id != hers
    await group.say("Hello again")
    await amina.wait_for(again.id, lambda seen: seen.body == "Hello again", PATIENCE)
    assert not set(before) & set(await bodies(amina, again.id))


async def test_somebody_is_removed_while_messages_flow(world: World) -> None:
    await world.start(**SECONDS)
    group = await Group.of(world, ("Amina", "Yusuf"), ("Adam", "Young"))
    amina_, adam_ = group.clients
    amina, adam = await world.nio(amina_), await world.nio(adam_)
    hers, his = await group.room(amina_), await group.room(adam_)
    said = [f"message {n}" for n in range(40)]
    await group.say("first")
    for app, room in ((amina, hers), (adam, his)):
        await app.wait_for(room, lambda seen: seen.body == "first", PATIENCE)

    async def talk() -> None:
        for words in said:
            await group.say(words)

    async def write() -> None:
        for n in range(40):
            await amina.send(hers, f"hers {n}")

    writing = asyncio.gather(talk(), write(), return_exceptions=True)
    await amina.wait_for(hers, lambda seen: seen.body.startswith("message"), PATIENCE)
    await group.change(roster.remove, amina_)
    removed_at = await world.pool.fetchval("SELECT clock_timestamp()")
    await put_out(amina, hers)
    await writing
    late = await world.pool.fetchval(
        "SELECT count(*) FROM delivery d JOIN leg l ON l.id = d.leg_id"
        " WHERE l.room_id = $1 AND d.state = 'sent' AND d.sent_at > $2",
        hers, removed_at,
    )  # fmt: skip
    assert late <= 1, "only what was on its way at that instant"
    assert [body for body in await bodies(amina, hers) if not body.startswith("hers")] == []
    assert (await group.taken_back())[-1] == "deleted for good"
    await adam.wait_for(his, lambda seen: seen.body == said[-1], PATIENCE)
    got = await bodies(adam, his)
    assert [body for body in got if body.startswith("message")] == said
    journal = [text(line) for line in await world.lines(group.therapist, group.id)]
    assert sorted(body for body in journal if body.startswith("hers")) == sorted(
        body for body in got if body.startswith("hers")
    )


async def test_killed_on_the_way_it_is_taken_back_all_the_same(world: World) -> None:
    # Every point is tried in tests/appservice/test_revoke, with less of a process around it.
    points = ["revoke.redacted", "revoke.kicked", "revoke.purging"]
    await world.start()
    group = await Group.of(world, *[(f"Client{n}", "Doe") for n in range(len(points) + 1)])
    rooms = {client.id: await group.room(client) for client in group.clients}
    for point, client in zip(points, group.clients, strict=False):
        raw = await world.clients.raw(await world.user_id(client), "a long enough password")
        room = rooms[client.id]
        file = (await raw.call("POST", "/_matrix/media/v3/upload", data=PICTURE)).must()["content_uri"]
        async with transaction(world.pool) as tx:
            leg = await tx.fetchval("SELECT id FROM leg WHERE room_id = $1", room)
            await revocations.remember_media(tx, leg, [file])
        sent = await raw.send(
            room, "m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"}
        )
        doomed = await world.restart(RUH_FAULT=point, RUH_REMOVAL_PATIENCE_DAYS="0")
        await group.change(roster.remove, client)
        async with asyncio.timeout(PATIENCE):
            assert await doomed.wait() == -signal.SIGKILL, point
        await world.restart(RUH_REMOVAL_PATIENCE_DAYS="0")
        told = await group.taken_back()
        assert (told[1], told[-2], told[-1]) == (
            "1 of 1 message taken back",
            "1 file deleted",
            "deleted for good",
        ), point
        assert await still_gets(raw, room, [sent.must()["event_id"]], [file]) == [], point
    steps = await world.pool.fetch(
        "SELECT subject_id, count(*) AS n FROM audit WHERE action = 'revoked' GROUP BY subject_id"
    )
    assert {row["n"] for row in steps} == {5}


async def test_leaving_a_community_chat_in_the_app_is_leaving_the_conversation(world: World) -> None:
    await world.start(**SECONDS)
    group = await Group.of(world, ("Amina", "Yusuf"), ("Adam", "Young"))
    amina_, adam_ = group.clients
    amina, adam = await world.element(amina_), await world.nio(adam_)
    hers, his = await group.room(amina_), await group.room(adam_)
    await group.say("Welcome")
    await amina.wait_for(hers, lambda seen: seen.body == "Welcome", PATIENCE)
    async with amina.raw() as raw:
        event = (await events_of(raw, hers))[0]
        await amina.leave(hers)
        await adam.wait_for(his, lambda seen: seen.body in ("A.Y. left", "A.Y. (2) left"), PATIENCE)
        assert await group.taken_back() == ("Left by themselves", "what they had stays with them")
        assert (await raw.call("GET", "rooms", hers, "event", event)).ok

    async def alone() -> bool:
        joined = [member for member in (await adam.room(his)).members.values() if member.membership == "join"]
        return len(joined) == 3  # himself, the therapist, the assistant

    await adam.wait_until(alone, PATIENCE, "her mask to leave")
    await group.change(roster.add, amina_, told=True)
    again = await amina.room_with(lambda seen: seen.membership == "join" and seen.id != hers, PATIENCE)
    await group.say("Hello again")
    await amina.wait_for(again.id, lambda seen: seen.body == "Hello again", PATIENCE)

    # The last ones leave: with nobody to talk to, it closes.
    await amina.leave(again.id)
    await adam.leave(his)
    closed = "SELECT closed_at FROM conversation WHERE id = $1"
    await until(lambda: world.pool.fetchval(closed, group.id), what="the chat to close")


async def test_who_leaves_their_own_thread_can_be_asked_back(world: World) -> None:
    await world.start()
    therapist, client = await world.therapist(), await world.client()
    app = await world.nio(client)
    thread = await world.open(therapist, client)
    room = (await app.room_with(lambda seen: seen.membership == "join", PATIENCE)).id
    await world.say(therapist, thread, "Hello")
    await app.wait_for(room, lambda seen: seen.body == "Hello", PATIENCE)
    await app.leave(room)
    hold = "SELECT hold = 'left' FROM leg WHERE conversation_id = $1"
    await until(lambda: world.pool.fetchval(hold, thread), what="the hold")
    await world.say(therapist, thread, "Are you there?")
    await world.act(participants.invite_again, actor=therapist.id, conversation=thread, person=client.id)
    await app.wait_for(room, lambda seen: seen.body == "Are you there?", PATIENCE)
    await app.send(room, "Yes, by mistake")
    await world.line(therapist, thread, lambda line: text(line) == "Yes, by mistake")
    assert await world.pool.fetchval("SELECT count(*) FROM leg WHERE conversation_id = $1", thread) == 1
