"""Random sequences of all that changes a roster, with our process killed among them: the rooms are then, by
the homeserver's own word, what the roster says, and every client's app holds exactly what they may have."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from appservice.legs import NOBODY
from bridge import client_groups
from bridge.database import transaction
from policies.vocabulary import Role
from tests.bridge.roster_checks import agree
from tests.bridge.roster_driver import Both
from tests.bridge.roster_model import COMMUNITY, Conversation, Entry, Stint, shown
from tests.clients.protocol import RealClient
from tests.clients.raw import Raw
from tests.journeys.world import PATIENCE, World, until

SECONDS = {"RUH_REMOVAL_PATIENCE_DAYS": str(5 / 86400)}
CLIENTS = [("Amina", "Yusuf"), ("Adam", "Young"), ("Jane", "Doe")]
client, anybody = st.integers(3, 5), st.integers(0, 5)
latest, organiser = st.just(0), st.none()
nth = st.integers(0, 3)
often = st.one_of(
    st.tuples(st.just("post"), latest, anybody),
    st.tuples(st.just("post"), latest, client),
    st.tuples(st.just("edit"), latest, anybody, nth),
    st.tuples(st.just("delete"), latest, anybody, nth),
)
roster = st.one_of(
    st.tuples(st.just("add"), latest, organiser, st.integers(1, 5)),
    st.tuples(st.just("add"), latest, organiser, client),
    st.tuples(st.just("remove"), latest, organiser, st.integers(1, 5)),
    st.tuples(st.just("leave"), latest, client),
    st.tuples(st.just("set"), st.just(COMMUNITY), client, st.sampled_from([False, None])),
)
kill = st.tuples(st.just("kill"))
begin = ("start", COMMUNITY, 0, [1, 3, 4, 5])
sequences = st.tuples(
    st.lists(st.one_of(often, often, roster), min_size=6, max_size=10),
    kill,
    st.lists(st.one_of(often, roster), min_size=4, max_size=8),
    st.sampled_from([(), (("close", 0, None),)]),
).map(lambda parts: [begin, ("post", 0, 0), *parts[0], parts[1], *parts[2], *parts[3]])


class Real(Both):
    """As `Both`, with staff at the portal and clients in their apps."""

    world: World
    apps: list[RealClient]

    @classmethod
    async def of(cls, world: World) -> "Real":
        await world.pool.execute("DELETE FROM chat_setting")
        roles = [Role.THERAPIST, Role.THERAPIST, Role.TEAM_MEMBER]
        people = [await world.person(role, f"Staff{n}", "Khan") for n, role in enumerate(roles)]
        people += [await world.client(*name) for name in CLIENTS]
        async with transaction(world.pool) as tx:
            group, _ = await client_groups.put(tx, world.keyring, platform_id=uuid4().hex, name="Evening")
        real = cls(world.pool, world.keyring, people, group)
        real.world, real.apps = world, [await world.nio(person) for person in people[3:]]
        return real

    def app(self, person: int) -> RealClient:
        return self.apps[person - 3]

    async def step(self, op: tuple[Any, ...]) -> None:
        if op == ("kill",):
            await self.world.restart(**SECONDS)
        else:
            await super().step(op)

    async def room(self, c: Conversation, person: int) -> str:
        """Where they are in it now, once their app is there."""

        async def look() -> str | None:
            return await self.pool.fetchval(
                "SELECT l.room_id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.conversation_id = $1"
                " AND m.person_id = $2 AND m.removed_at IS NULL AND l.state = 'open'",
                c.id, self.people[person].id,
            )  # fmt: skip

        room = str(await until(look, what="a room"))
        await self.app(person).room_with(lambda seen: seen.id == room and seen.membership == "join", PATIENCE)
        return room

    async def leave(self, c: Conversation, person: int) -> None:
        if not await self._is_open(c, person):
            return
        room = await self.room(c, person)
        assert self.model.leave(c, person)
        await self.app(person).leave(room)
        await self._committed(c, c.entries[-1])

    async def _is_open(self, c: Conversation, person: int) -> bool:
        """Whether there is a room to leave, or will be; whoever is silenced from the start has none."""
        if c.of(person) is None or not self.model.silenced(c, person):
            return c.of(person) is not None
        query = (
            "SELECT l.state = 'open' FROM leg l JOIN member m ON m.id = l.member_id"
            " WHERE m.conversation_id = $1 AND m.person_id = $2 AND m.removed_at IS NULL"
        )
        return bool(await self.pool.fetchval(query, c.id, self.people[person].id))

    async def _say(
        self,
        use_case: Callable[..., Awaitable[Any]],
        c: Conversation,
        author: int,
        expected: Entry | None,
        **what: Any,
    ) -> None:
        if author < 3:
            await super()._say(use_case, c, author, expected, **what)
        elif expected is not None:
            app, room = self.app(author), await self.room(c, author)
            match expected.kind:
                case "message":
                    await _once_shared(lambda: app.send(room, expected.words))
                case "edit":
                    event = await self._event(room, what["entry"])
                    await _once_shared(lambda: app.edit(room, event, expected.words))
                case "deletion":
                    await app.redact(room, await self._event(room, what["entry"]))
            expected.id = await self._committed(c, expected)

    async def _event(self, room: str, entry: Any) -> str:
        query = (
            "SELECT event_id FROM delivery d JOIN leg l ON l.id = d.leg_id"
            " WHERE l.room_id = $1 AND d.entry_id = $2 AND d.state = 'origin'"
        )
        return str(await self.pool.fetchval(query, room, entry))

    async def _committed(self, c: Conversation, entry: Entry) -> Any:
        found = "SELECT id FROM entry WHERE conversation_id = $1 AND seq = $2 AND kind = $3"
        return await until(lambda: self.pool.fetchval(found, c.id, entry.seq, entry.kind), what="an entry")

    async def settled(self) -> None:
        """Nothing is left to do, by the tables."""

        async def look() -> bool:
            return not await self.pool.fetchval(_LEFT)

        await until(look, what="all to be carried")

    async def close_apps(self) -> None:
        for app in self.apps:
            await app.close()


async def _once_shared(send: Callable[[], Awaitable[str]]) -> str:
    """nio forgets the session that it shares when somebody leaves meanwhile; nothing has gone out then."""
    while True:
        try:
            return await send()
        except KeyError:
            continue


_LEFT = """
SELECT EXISTS (SELECT FROM delivery d JOIN leg l ON l.id = d.leg_id
               WHERE l.state = 'open' AND d.state IN ('pending', 'prepared'))
    OR EXISTS (SELECT FROM leg WHERE state = 'wanted' AND NOT silenced OR state = 'open' AND seats_due)
    OR EXISTS (SELECT FROM revocation WHERE step <> 'done')
    OR EXISTS (SELECT FROM occupant o JOIN leg l ON l.id = o.leg_id
               WHERE l.state = 'open' AND (o.leaving OR o.joined_at IS NULL))
"""


async def rooms_are_what_the_roster_says(real: Real) -> None:
    names: dict[str, set[str]] = {}
    async with Raw(real.world.homeserver.url, real.world.homeserver.admin_token) as admin:
        for c in real.model.conversations:
            for stint in [stint for stint in c.stints if real.model.is_client(stint.person)]:
                leg = await _leg(real, c, stint)
                if leg["room_id"] is None:
                    assert stint.ended is not None or real.model.silenced(c, stint.person)
                    continue
                answer = await admin.call("GET", f"/_synapse/admin/v1/rooms/{leg['room_id']}/state")
                if stint.ended == "removed":
                    assert answer.status == 404, "purged"
                    continue
                state = {(e["type"], e["state_key"]): e["content"] for e in answer.must()["state"]}
                inside = {key: v for (kind, key), v in state.items() if kind == "m.room.member"}
                inside = {user: v for user, v in inside.items() if v["membership"] == "join"}
                if stint.ended is not None:
                    assert inside == {}
                    continue
                await _people_agree(
                    real, c, stint, {u: v.get("displayname") for u, v in inside.items()}, names
                )
                _rules_agree(c, state)
    for user, called in names.items():
        assert len(called) == 1, f"{user} is called {called}"


async def _leg(real: Real, c: Conversation, stint: Stint) -> Any:
    rows = await real.pool.fetch(
        "SELECT l.room_id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.conversation_id = $1"
        " AND m.person_id = $2 AND m.joined_seq = $3 AND m.removed_seq IS NOT DISTINCT FROM $4",
        c.id, real.people[stint.person].id, stint.since, stint.until,
    )  # fmt: skip
    assert len(rows) == 1
    return rows[0]


async def _people_agree(
    real: Real, c: Conversation, stint: Stint, inside: dict[str, str], names: dict[str, set[str]]
) -> None:
    rows = await real.pool.fetch(
        "SELECT user_id, person_id FROM puppet WHERE kind <> 'mask' OR conversation_id = $1", c.id
    )
    stand_for = {row["user_id"]: row["person_id"] for row in rows}
    own = await real.world.user_id(real.people[stint.person])
    assert own in inside
    others = {user: name for user, name in inside.items() if user != own}
    present = {real.people[s.person].id: real.people[s.person] for s in c.current if s is not stint}
    assert sorted(str(stand_for[user]) for user in others) == sorted([str(None), *map(str, present)])
    for user, name in others.items():
        person = present.get(stand_for[user])
        if person is None:
            assert name == "Ruh"
        elif person.role.is_staff:
            assert name == person.name.full
        else:
            initials = f"{person.name.first[0]}.{person.name.last[0]}."
            assert name in (initials, f"{initials} (2)")
            names.setdefault(user, set()).add(name)


def _rules_agree(c: Conversation, state: dict[tuple[str, str], Any]) -> None:
    levels = state["m.room.power_levels", ""]
    written = {levels["events"][kind] for kind in ("m.room.message", "m.room.encrypted", "m.reaction")}
    assert written == ({NOBODY} if c.closed else {0})
    assert {levels[what] for what in ("state_default", "invite", "kick", "ban", "redact")} == {NOBODY}
    assert (levels["users"], levels["users_default"]) == ({}, 0)
    assert state["m.room.encryption", ""]["algorithm"] == "m.megolm.v1.aes-sha2"
    assert state["m.room.join_rules", ""] == {"join_rule": "invite"}
    assert state["m.room.history_visibility", ""] == {"history_visibility": "joined"}


async def apps_hold_what_they_may(real: Real) -> None:
    for c in real.model.conversations:
        for stint in [stint for stint in c.stints if real.model.is_client(stint.person)]:
            room = (await _leg(real, c, stint))["room_id"]
            if room is None or stint.ended == "left":
                continue
            expected = [] if stint.ended else sorted(shown(stint.entries))
            await _holds(real.app(stint.person), room, expected)


async def _holds(app: RealClient, room: str, expected: list[str]) -> None:
    seen: list[str] = []

    async def look() -> bool:
        items = [item for item in await app.timeline(room) if not item.redacted]
        seen[:] = sorted(i.failure or i.body for i in items if i.failure or i.body.startswith("w"))
        return seen == expected

    try:
        await app.wait_until(look, PATIENCE, "what they may have")
    except AssertionError:
        raise AssertionError(f"{app.user_id} has {seen} and may have {expected}") from None


@settings(
    max_examples=2, deadline=None, report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
@given(sequence=sequences)
async def test_rooms_and_apps_are_what_the_roster_says(world: World, sequence: list[tuple[Any, ...]]) -> None:
    await world.restart(**SECONDS)
    real = await Real.of(world)
    try:
        for op in sequence:
            note(str(op))
            await real.step(op)
        await real.settled()
        await agree(real)
        await rooms_are_what_the_roster_says(real)
        await apps_hold_what_they_may(real)
    finally:
        await real.close_apps()
