"""What a client can learn of other clients, tried from where they stand: nothing (C7, P3), and after a
removal nothing of the conversation either (C11). They know HTTP, have their own token, and are patient."""

import json
from dataclasses import asdict, dataclass, field

from bridge import roster
from bridge.database import transaction
from policies.vocabulary import ConversationId, Person
from tests.clients.contents import text as words
from tests.clients.protocol import RealClient
from tests.journeys.leaks.walk import Heard, Listener, Walk, found_in
from tests.journeys.test_groups import a_group
from tests.journeys.world import PATIENCE, World, until

NAMES = [("Aurelianna", "Yttersberg"), ("Ambrosius", "Yellowgate"), ("ليلى", "الحسيني")]
MAILS = ["aurelianna@post.example", "am.yellowgate@mail.example", "layla@anywhere.example"]
TITLE = "Thursdays, after the loss of a child"
SECONDS = {"RUH_REMOVAL_PATIENCE_DAYS": str(5 / 86400)}
PICTURE = b"\x89PNG\r\n\x1a\n" + b"a picture" * 100


@dataclass
class Practice:
    """Three clients with a group of all, a group of two and a thread; everybody does everything."""

    world: World
    therapist: Person
    clients: list[Person]
    apps: list[RealClient]
    conversations: list[ConversationId] = field(default_factory=list)

    @classmethod
    async def of(cls, world: World) -> "Practice":
        therapist = await world.therapist()
        clients = []
        for number, (first, last) in enumerate(NAMES):
            clients.append(
                await world.client(first, last, email=MAILS[number], platform_id=f"platform-{number}")
            )
        return cls(world, therapist, clients, [await world.nio(client) for client in clients])

    async def meet(self) -> ConversationId:
        """The groups and a thread; returns the group of all three."""
        group = await a_group(self.world, self.therapist, self.clients)
        two = await a_group(self.world, self.therapist, self.clients[:2])
        thread = await self.world.open(self.therapist, self.clients[1])
        self.conversations = [group, two, thread]
        async with transaction(self.world.pool) as tx:
            for conversation in self.conversations:
                await roster.entitle(tx, self.world.keyring, conversation, TITLE)
        return group

    async def room(self, conversation: ConversationId, client: Person) -> str:
        async def look() -> str | None:
            return await self.world.pool.fetchval(
                "SELECT l.room_id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.person_id = $2"
                " AND l.conversation_id = $1 AND l.state = 'open' AND l.hold IS NULL",
                conversation, client.id,
            )  # fmt: skip

        return str(await until(look, what="a room"))

    async def talk(self, group: ConversationId) -> None:
        """All that clients and staff do in a chat, and what an old or careless app adds of its own."""
        world, apps = self.world, self.apps
        rooms = [await self.room(group, client) for client in self.clients]
        for conversation in self.conversations:
            await world.say(self.therapist, conversation, "Welcome, all of you")
        for app, room in zip(apps, rooms, strict=True):
            await app.wait_for(room, lambda seen: seen.body == "Welcome, all of you", PATIENCE)
            await app.send(room, "I am here")
            await app.send_file(room, PICTURE, name="me.png", mimetype="image/png", msgtype="m.image")
        first = apps[0]
        heard = [
            await first.wait_for(rooms[0], lambda seen, n=n: seen.body == "I am here" and seen.sender == n)
            for n in await self._others_in(first, rooms[0], 2)
        ]
        await first.reply(rooms[0], heard[0].event_id, "Good to see you")
        await first.react(rooms[0], heard[0].event_id, "👍")
        await first.read(rooms[0], heard[0].event_id)
        await first.typing(rooms[0])
        # An older app quotes what it answers, with the ids that it knows: its own user and room among them.
        own = await first.send(rooms[0], "To be quoted")
        quoted = f"https://matrix.to/#/{rooms[0]}/{own}"
        whom = f"https://matrix.to/#/{first.user_id}"
        html = (
            f'<mx-reply><blockquote><a href="{quoted}">In reply to</a> <a href="{whom}">me</a></blockquote>'
            f'</mx-reply>quoting <a href="{whom}">myself</a>'
        )
        said = words(f"> <{first.user_id}> To be quoted\n\nquoting myself", html)
        replying = {
            "m.relates_to": {"m.in_reply_to": {"event_id": own}},
            "m.mentions": {"user_ids": [first.user_id]},
        }
        event = await first.send_event(rooms[0], "m.room.message", said | replying)
        changed = {"m.new_content": said, "m.relates_to": {"rel_type": "m.replace", "event_id": event}}
        await first.send_event(rooms[0], "m.room.message", said | changed)
        await first.redact(rooms[0], await first.send(rooms[0], "Not this"))
        await first.send(rooms[0], "That was all")
        for app, room in zip(apps[1:], rooms[1:], strict=True):
            await app.wait_for(room, lambda seen: seen.body == "That was all", PATIENCE)

    async def _others_in(self, app: RealClient, room: str, count: int) -> list[str]:
        async def look() -> list[str] | None:
            seen = {s.sender for s in await app.timeline(room) if s.body == "I am here"} - {app.user_id}
            return sorted(seen) if len(seen) == count else None

        return await app.wait_until(look, PATIENCE, "the others")

    async def secrets(self, viewer: Person) -> dict[str, str]:
        """All that is somebody else's, or the practice's own."""
        pool, secrets = self.world.pool, {"the title": TITLE}
        for client in self.clients:
            if client.id == viewer.id:
                continue
            who = client.name.full
            user = await self.world.user_id(client)
            number = self.clients.index(client)
            secrets |= {f"e-mail of {who}": MAILS[number], f"platform's id of {who}": f"platform-{number}"}
            secrets |= {f"first name of {who}": client.name.first, f"last name of {who}": client.name.last}
            secrets |= {f"Matrix id of {who}": user.removeprefix("@"), f"localpart of {who}": user[1:21]}
            for row in await pool.fetch("SELECT * FROM crypto_device WHERE user_id = $1", user):
                secrets |= {f"{n} of {who}": row[n] for n in ("device_id", "curve25519", "ed25519")}
        for row in await pool.fetch("SELECT id FROM conversation UNION ALL SELECT id FROM person"):
            secrets[f"inner id {row['id']}"] = str(row["id"])
        legs = await pool.fetch(
            "SELECT l.id, l.room_id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.person_id <> $1",
            viewer.id,
        )
        for leg in legs:
            secrets[f"another's leg {leg['id']}"] = str(leg["id"])
            if leg["room_id"]:
                secrets[f"another's room {leg['room_id']}"] = leg["room_id"]
        sent = await pool.fetch(
            "SELECT event_id FROM delivery WHERE event_id IS NOT NULL AND leg_id = ANY($1)",
            [leg["id"] for leg in legs],
        )
        secrets |= {f"another's event {row['event_id']}": row["event_id"] for row in sent}
        masks = await pool.fetch(
            "SELECT user_id FROM puppet WHERE kind = 'mask' AND (person_id = $1 OR conversation_id NOT IN"
            " (SELECT conversation_id FROM member WHERE person_id = $1))",
            viewer.id,
        )
        return secrets | {f"a mask of elsewhere {row['user_id']}": row["user_id"] for row in masks}

    async def puppets_of(self, viewer: Person) -> set[str]:
        rows = await self.world.pool.fetch(
            "SELECT p.user_id FROM occupant o JOIN puppet p ON p.id = o.puppet_id"
            " JOIN leg l ON l.id = o.leg_id JOIN member m ON m.id = l.member_id WHERE m.person_id = $1",
            viewer.id,
        )
        return {row["user_id"] for row in rows}

    async def held(self, client: Person, room: str) -> tuple[set[str], set[str]]:
        """The events and the files of a client's room, as they note them down while they are in it."""
        async with self.listener(self.apps[self.clients.index(client)]) as raw:
            chunk = (await raw.call("GET", "rooms", room, "messages", dir="b", limit="1000")).must()["chunk"]
        files = await self.world.pool.fetch(
            "SELECT mxc FROM leg_media f JOIN leg l ON l.id = f.leg_id WHERE l.room_id = $1", room
        )
        assert len(files) == 1
        return {event["event_id"] for event in chunk}, {row["mxc"] for row in files}

    def listener(self, app: RealClient) -> Listener:
        raw = Listener(app.homeserver, app.access_token)
        raw.user_id = app.user_id
        return raw

    async def terms(self) -> list[str]:
        names = [part for client in self.clients for part in (client.name.first, client.name.last)]
        return ["", "a", "@", "ruh", "A.Y.", *names]

    async def walk(self, client: Person, *, knowing: set[str] = frozenset()) -> Walk:  # type: ignore[assignment]
        app = self.apps[self.clients.index(client)]
        async with self.listener(app) as raw:
            walked = await Walk(raw, terms=await self.terms(), knowing=knowing).go()
        assert not {429, *range(500, 600)} & walked.statuses.keys(), walked.statuses
        assert sum(walked.statuses.values()) > 100
        return walked

    async def opened(self, client: Person) -> list[Heard]:
        """What the client's own device makes of what it got: decrypted, as plain as they read it."""
        app = self.apps[self.clients.index(client)]
        seen = {room.id: [asdict(item) for item in await app.timeline(room.id)] for room in await app.rooms()}
        return [
            Heard(f"decrypted in {room}", json.dumps(items, default=dict).encode())
            for room, items in seen.items()
        ]


def marks_of_others(walked: Walk) -> list[str]:
    """Who else is said to be online, to be typing, or to have read: in whatever answer."""
    own, told = walked.raw.user_id, []
    for piece in walked.heard:
        if not piece.data.startswith(b"{"):
            continue
        for kind, found in _events(json.loads(piece.data)):
            users = {
                "m.typing": lambda c: c.get("user_ids", []),
                "m.receipt": lambda c: [u for e in c.values() for users in e.values() for u in users],
            }[kind](found)
            told += [f"{kind} of {user} in {piece.asked}" for user in users if user != own]
        if b'"m.presence"' in piece.data or b'"last_active_ago"' in piece.data:
            told.append(f"presence in {piece.asked}")
    return told


def _events(value: object) -> list[tuple[str, dict]]:  # type: ignore[type-arg]
    if isinstance(value, list):
        return [found for item in value for found in _events(item)]
    if not isinstance(value, dict):
        return []
    own = [(value["type"], value["content"])] if value.get("type") in ("m.typing", "m.receipt") else []
    return own + [found for item in value.values() for found in _events(item)]


async def test_a_client_learns_nothing_of_another_before_during_and_after(world: World) -> None:
    await world.start(**SECONDS)
    practice = await Practice.of(world)
    for client in practice.clients:
        walked = await practice.walk(client)
        assert found_in(walked.heard, await practice.secrets(client)) == []
        assert walked.named("user") == {walked.raw.user_id}
        assert walked.named("room") == set()

    group = await practice.meet()
    await practice.talk(group)
    everything: dict[str, Walk] = {}
    for client in practice.clients:
        walked = everything[str(client.id)] = await practice.walk(client)
        secrets = await practice.secrets(client)
        assert found_in([*walked.heard, *await practice.opened(client)], secrets) == []
        assert walked.named("user") == {walked.raw.user_id, *await practice.puppets_of(client)}
        app = practice.apps[practice.clients.index(client)]
        assert walked.named("room") == {room.id for room in await app.rooms()}
        assert marks_of_others(walked) == []

    gone = practice.clients[1]
    room = await practice.room(group, gone)
    events, files = await practice.held(gone, room)
    await world.act(roster.remove, actor=practice.therapist.id, conversation=group, person=gone.id)
    await world.say(practice.therapist, group, "We go on")
    await until(lambda: world.pool.fetchval("SELECT step = 'done' FROM revocation"), what="the taking back")
    walked = await practice.walk(gone, knowing={room, *events, *files})
    assert found_in(walked.heard, {known: known for known in (room, *events)}) == []
    assert walked.gave({room, *events, *files}) == []
    stayed = practice.clients[0]
    for client, last in ((gone, walked), (stayed, await practice.walk(stayed))):
        assert found_in([*last.heard, *await practice.opened(client)], await practice.secrets(client)) == []


async def test_what_a_client_is_told_who_knows_the_id_of_another(world: World) -> None:
    """As in decision 16: which devices the account has and their public keys; no name, no room."""
    await world.start()
    practice = await Practice.of(world)
    group = await practice.meet()
    await practice.talk(group)
    curious, other = practice.clients[:2]
    their_id, room = await world.user_id(other), await practice.room(group, other)
    events, files = await practice.held(other, room)
    nobody = f"@{'c' * 21}:{world.homeserver.server_name}"
    walked = await practice.walk(curious, knowing={their_id, nobody, room, *events, *files})
    assert walked.gave({room, *events}) == []
    # Asked about presence it says "offline" of everybody, of somebody who doesn't exist too.
    of_them, of_nobody = walked.gave({their_id}), walked.gave({nobody})
    assert (
        of_them
        == [path.replace(nobody, their_id) for path in of_nobody]
        == [f"GET presence/{their_id}/status"]
    )
    # An address of a file is a key to its ciphertext: it has 140 random bits, and stands in their room only.
    assert {path.split("/")[-3] for path in walked.gave(files)} <= {"download"}
    secrets = await practice.secrets(curious)
    told = {find.partition(" of ")[0] for find in found_in(walked.heard, secrets) if "localpart" not in find}
    assert told - {"Matrix id"} == {"device_id", "curve25519", "ed25519"}
