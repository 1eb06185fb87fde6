"""Carries out random changes of rosters in the database and in the model; their refusals must agree."""

import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from bridge import archiving, chat_settings, client_groups, legs, messages, outbox, restore, roster
from bridge.database import Pool, transaction
from bridge.errors import Invalid, NotAllowed, NotFound
from bridge.journal import Origin
from bridge.sealing import Keyring
from policies.chat_settings import Level, Switch
from policies.content import Text
from policies.vocabulary import ConversationKind, EventId, LegId, Person, Role
from tests.bridge.roster_model import COMMUNITY, DIRECT, STAFF, Conversation, Entry, Model
from tests.support.people import make

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
STAFF_COUNT, CLIENT_COUNT = 3, 4
PEOPLE = STAFF_COUNT + CLIENT_COUNT
SWITCHES = {COMMUNITY: Switch.COMMUNITY_CHAT, DIRECT: Switch.DIRECT_MESSAGING}
AUTHOR = -1
"""In the place of a person: whose message it is."""
REFUSED = (NotAllowed, NotFound, Invalid)
_numbers = itertools.count(1)

someone = st.integers(0, PEOPLE - 1)
fitting = st.integers(PEOPLE, 3 * PEOPLE - 1)
"""Somebody for whom it makes sense: who is in the conversation, or, to be added, who isn't."""
anybody = st.one_of(fitting, fitting, fitting, someone)
actor = st.one_of(st.none(), st.none(), st.none(), anybody)  # None: the organiser
which = st.integers(0, 7)
latest = st.one_of(st.just(0), st.just(0), which)
subject = st.one_of(
    st.sampled_from(["everyone", "group"]), *[st.integers(STAFF_COUNT, PEOPLE - 1) for _ in range(4)]
)
start = st.tuples(
    st.just("start"), st.sampled_from([COMMUNITY, COMMUNITY, COMMUNITY, DIRECT, STAFF]),
    st.integers(0, STAFF_COUNT - 1), st.lists(someone, min_size=1, max_size=5),
)  # fmt: skip
first = st.tuples(
    st.just("start"), st.just(COMMUNITY), st.just(0), st.permutations(range(1, PEOPLE)).map(lambda p: p[:4])
)
talk = st.one_of(
    st.tuples(st.just("post"), latest, anybody),
    st.tuples(st.just("edit"), latest, st.just(AUTHOR), which),
    st.tuples(st.just("delete"), latest, st.just(AUTHOR), which),
    st.tuples(st.just("edit"), latest, anybody, which),
    st.tuples(st.just("delete"), latest, anybody, which),
    st.tuples(st.just("restore"), latest, which),
    st.tuples(st.just("carry"), latest),
)
people = st.one_of(
    st.tuples(st.just("add"), latest, actor, anybody),
    st.tuples(st.just("remove"), latest, actor, anybody),
    st.tuples(st.just("leave"), latest, anybody),
    st.tuples(
        st.just("set"),
        st.sampled_from([COMMUNITY, COMMUNITY, DIRECT]),
        subject,
        st.sampled_from([True, False, None]),
    ),
    st.tuples(st.just("archive"), latest, actor, st.booleans()),
)
change = st.one_of(talk, people)
close = st.tuples(st.just("close"), latest, actor)
step = st.one_of(talk, talk, talk, people, people, people, start, close)
sequences = st.tuples(first, st.lists(step, min_size=8, max_size=25)).map(lambda s: [s[0], *s[1]])


class Both:
    """The database and the model, side by side."""

    care: Person
    """Who restores: somebody of Client Care, in none of the conversations."""
    touched: list[Conversation]
    """What the last step may have changed."""

    def __init__(self, pool: Pool, keys: Keyring, people: list[Person], group: UUID) -> None:
        self.pool, self.keys, self.people, self.group = pool, keys, people, group
        numbers = range(len(people))
        self.model = Model(
            numbers[:STAFF_COUNT], numbers[STAFF_COUNT:], frozenset({STAFF_COUNT, STAFF_COUNT + 1})
        )

    @classmethod
    async def fresh(cls, pool: Pool, keys: Keyring) -> "Both":
        async with transaction(pool) as tx:
            await tx.execute("DELETE FROM chat_setting")
            roles = [Role.THERAPIST, Role.THERAPIST, Role.TEAM_MEMBER] + [Role.CLIENT] * CLIENT_COUNT
            people = [await make(tx, keys, role, f"P{n}", "Doe") for n, role in enumerate(roles)]
            group, _ = await client_groups.put(tx, keys, platform_id=f"g{next(_numbers)}", name="Evening")
            both = cls(pool, keys, people, group)
            both.care = await make(tx, keys, Role.CLIENT_CARE, "Maya", "Doe")
            await client_groups.set_members(tx, group, [people[n].id for n in both.model.group])
        return both

    def pick(self, which: int) -> Conversation | None:
        """The latest ones are picked most: most has happened in them lately."""
        made = self.model.conversations
        return made[-1 - which % len(made)] if made else None

    async def do(self, use_case: Callable[..., Awaitable[Any]], *args: Any, **given: Any) -> Any:
        """What came of it, or None where it was refused."""
        async with transaction(self.pool) as tx:
            try:
                return True, await use_case(tx, *args, **given)
            except REFUSED:
                return False, None  # committed: a use case decides before it writes

    async def step(self, op: tuple[Any, ...]) -> None:
        name, *given = op
        self.touched = self.model.conversations
        if name in ("start", "set"):
            await getattr(self, name)(*given)
            return
        conversation = self.pick(given[0])
        if conversation is not None:
            self.touched = [conversation]
            rest = [self._fitting(name, conversation, n, value, given) for n, value in enumerate(given[1:])]
            await getattr(self, name)(conversation, *rest)

    def _fitting(self, name: str, c: Conversation, n: int, value: Any, given: list[Any]) -> Any:
        """The number of the person that is meant, where one is."""
        if (
            name == "restore"
            or n > 1
            or isinstance(value, bool)
            or (n == 1 and name not in ("add", "remove"))
        ):
            return value
        if value == AUTHOR:
            said = nth_message(c, given[2])
            value = None if said is None else said.author
        if value is None:
            return c.organiser
        inside = {stint.person for stint in c.current}
        meant = sorted(set(range(PEOPLE)) - inside if (name, n) == ("add", 1) else inside)
        return value if value < PEOPLE else meant[value % len(meant)] if meant else 0

    async def start(self, kind: str, organiser: int, others: list[int]) -> None:
        if kind == DIRECT:
            pair = (organiser, others[0])
            if any((c.kind, c.organiser, c.client) == (DIRECT, *pair) for c in self.model.conversations):
                return
            others = others[:1]
        expected = self.model.start(kind, organiser, others)
        done, made = await self.do(
            roster.start, self.keys, actor=self.people[organiser].id, kind=ConversationKind(kind), told=True,
            at=NOW, others=[self.people[n].id for n in others],
        )  # fmt: skip
        assert done == expected
        if done:
            self.model.conversations[-1].id = made

    async def set(self, kind: str, subject: str | int, on: bool | None) -> None:
        level = Level.CLIENT if isinstance(subject, int) else Level(subject)
        who = {Level.CLIENT: lambda: self.people[subject].id, Level.GROUP: lambda: self.group}  # type: ignore[index]
        given = {"level": level, "subject": who[level]() if level in who else None, "on": on}
        done, _ = await self.do(chat_settings.change, actor=self.people[0].id, switch=SWITCHES[kind], **given)
        assert done
        self.model.settings.pop((kind, subject), None)
        if on is not None:
            self.model.settings[kind, subject] = on

    async def add(self, c: Conversation, actor: int, person: int) -> None:
        expected = self.model.add(c, actor, person)
        assert expected == (await self._change(roster.add, c, actor=actor, person=person, told=True))

    async def remove(self, c: Conversation, actor: int, person: int) -> None:
        expected = self.model.remove(c, actor, person)
        assert expected == (await self._change(roster.remove, c, actor=actor, person=person))

    async def leave(self, c: Conversation, person: int) -> None:
        assert self.model.leave(c, person) == (await self._change(roster.leave, c, person=person))

    async def close(self, c: Conversation, actor: int) -> None:
        assert self.model.close(c, actor) == (await self._change(roster.close, c, actor=actor))

    async def archive(self, c: Conversation, person: int, away: bool) -> None:
        expected = self.model.archive(c, person, away)
        given = {"actor": self.people[person].id, "conversation": c.id, "away": away}
        assert expected == (await self.do(archiving.archive, at=NOW, **given))[0]

    async def _change(self, use_case: Callable[..., Awaitable[Any]], c: Conversation, **given: Any) -> bool:
        for who in ("actor", "person"):
            if who in given:
                given[who] = self.people[given[who]].id
        return bool((await self.do(use_case, self.keys, conversation=c.id, at=NOW, **given))[0])

    async def post(self, c: Conversation, author: int) -> None:
        words = f"w{next(_numbers)}"
        await self._say(messages.post, c, author, self.model.post(c, author, words), content=Text(words))

    async def edit(self, c: Conversation, author: int, nth: int) -> None:
        if entry := nth_message(c, nth):
            words = f"w{next(_numbers)}"
            expected = self.model.edit(c, author, entry, words)
            await self._say(messages.edit, c, author, expected, entry=entry.id, content=Text(words))

    async def delete(self, c: Conversation, author: int, nth: int) -> None:
        entry = nth_message(c, nth)
        if entry is not None and not entry.deleted:
            await self._say(messages.delete, c, author, self.model.delete(c, author, entry), entry=entry.id)

    async def restore(self, c: Conversation, nth: int) -> None:
        if entry := nth_message(c, nth):
            expected = self.model.restore(c, entry)
            done, _ = await self.do(restore.restore, self.keys, actor=self.care.id, entry=entry.id, at=NOW)
            assert done == (expected is not None)
            if expected is not None:
                query = "SELECT id FROM entry WHERE conversation_id = $1 AND seq = $2"
                expected.id = await self.pool.fetchval(query, c.id, expected.seq)

    async def _say(
        self,
        use_case: Callable[..., Awaitable[Any]],
        c: Conversation,
        author: int,
        expected: Entry | None,
        **what: Any,
    ) -> None:
        origin = await self._origin(c, author)
        done, posted = await self.do(
            use_case,
            self.keys,
            author=self.people[author].id,
            conversation=c.id,
            at=NOW,
            origin=origin,
            **what,
        )
        assert done == (expected is not None)
        if expected is not None:
            expected.id = posted.entry_id
            assert posted.seq == expected.seq

    async def _origin(self, c: Conversation, author: int) -> Origin | None:
        """A client's words come out of their own room."""
        leg = await self.pool.fetchval(
            "SELECT l.id FROM leg l JOIN member m ON m.id = l.member_id WHERE m.conversation_id = $1"
            " AND m.person_id = $2 AND m.removed_at IS NULL",
            c.id, self.people[author].id,
        )  # fmt: skip
        return leg and Origin(LegId(leg), EventId(f"${next(_numbers)}"))

    async def carry(self, c: Conversation) -> None:
        """What the appservice does, a leg at a time: make rooms, seat puppets, send what is due, see off
        those who are to leave."""
        rows = await self.pool.fetch(
            "SELECT id FROM leg WHERE conversation_id = $1 AND state <> 'ended'", c.id
        )
        for leg in [LegId(row["id"]) for row in rows]:
            if await self.pool.fetchval(_OPENED, leg) is None:
                continue
            for seat in await self._inside(legs.seats, leg):
                if not seat.leaving and seat.joined_at is None:
                    await self._inside(legs.set_joined, leg, [seat.puppet.id])
            await self.pool.execute(_SENT, leg)
            for seat in await self._inside(legs.seats, leg):
                if seat.leaving and not await self._inside(outbox.has_waiting, leg, seat.puppet.id):
                    await self._inside(legs.unseat, leg, seat.puppet.id)

    async def _inside(self, act: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        async with transaction(self.pool) as tx:
            return await act(tx, *args)


_OPENED = (
    "UPDATE leg SET room_id = coalesce(room_id, '!' || id), state = 'open', hold = NULL, seats_due = false"
    " WHERE id = $1 AND (state = 'open' OR state = 'wanted' AND NOT silenced) RETURNING id"
)
_SENT = (
    "UPDATE delivery d SET state = 'sent', event_id = '$d' || d.id FROM leg l"
    " WHERE l.id = d.leg_id AND l.id = $1 AND d.state = 'pending' AND l.state = 'open'"
)


def nth_message(c: Conversation, nth: int) -> Entry | None:
    said = [entry for entry in c.entries if entry.kind == "message"]
    return said[-1 - nth % len(said)] if said else None
