"""Taking a client's room back on a real Synapse: what they can still fetch, what a crash or refusal does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from appservice import deliver, faults, redaction, revoke
from appservice.homeserver import Acting, Refused, Unavailable
from bridge import audit, messages, revocations, roster
from bridge.database import Pool, transaction
from bridge.errors import NotAllowed, NotFound
from policies.content import Text
from policies.removal import Progress, Step
from policies.vocabulary import ConversationId, LegId, Person
from tests.appservice.rooms import CIPHERTEXT, Stage, a_stage
from tests.clients.raw import Raw
from tests.support.synapse import TestHomeserver

POINTS = [point for point in faults.POINTS if point.startswith("revoke.")]
AGES_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def stage(pool: Pool, homeserver: TestHomeserver) -> AsyncIterator[Stage]:
    async with a_stage(pool, homeserver) as stage:
        yield stage


class Chat:
    """A conversation with a room for each client. Amina is the one who goes; with `adam` it is a group."""

    def __init__(self, stage: Stage, conversation: ConversationId, *people: Person) -> None:
        self.stage, self.conversation = stage, conversation
        self.therapist, self.amina, *self.others = people

    @classmethod
    async def made(cls, stage: Stage, *, adam: bool = False, made: bool = True) -> "Chat":
        people = [await stage.therapist(), await stage.client("Amina")]
        people += [await stage.client("Adam")] if adam else []
        return cls(stage, await stage.talk(*people, made=made), *people)

    @property
    def adam(self) -> Person:
        return self.others[0]

    @property
    async def room(self) -> str:
        return await self.stage.room(self.conversation, self.amina)

    async def remove(self) -> None:
        await self.stage.remove(self.therapist, self.conversation, self.amina)

    async def progress(self) -> Progress:
        """As the members panel has it."""
        return (await self.stage.progress(self.therapist, self.conversation)).progress

    async def counts(self) -> tuple[int, int | None]:
        progress = await self.progress()
        return progress.redacted, progress.events

    async def recorded(self) -> list[dict[str, Any]]:
        async with transaction(self.stage.pool) as tx:
            rows = await audit.page(tx, conversation=self.conversation, action=audit.Did.REVOKED)
        return [row.detail for row in reversed(rows)]


async def react(raw: Raw, room: str, event: str) -> str:
    relation = {"rel_type": "m.annotation", "event_id": event, "key": "👍"}
    return str((await raw.send(room, "m.reaction", {"m.relates_to": relation})).must()["event_id"])


async def contents(raw: Raw, room: str, events: list[str]) -> list[Any]:
    """What each event still says to this client; a status where they get none."""
    answers = [await raw.call("GET", "rooms", room, "event", event) for event in events]
    return [answer.body["content"] if answer.ok else answer.status for answer in answers]


async def test_every_word_in_the_room_is_taken_back_whoever_said_it(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room, amina = await chat.room, await stage.sign_in(chat.amina)
    ours = [*await stage.fill(room, 3), *await stage.fill(room, 2, await stage.face(chat.therapist))]
    theirs = [(await amina.send(room, "m.room.encrypted", CIPHERTEXT)).must()["event_id"]]
    theirs.append(await react(amina, room, ours[0]))
    gone = (await amina.send(room, "m.room.encrypted", CIPHERTEXT)).must()["event_id"]
    taken_back = (
        await amina.call("PUT", "rooms", room, "redact", gone, uuid4().hex, body={"reason": "a typo"})
    ).must()["event_id"]

    await chat.remove()
    await stage.revoke(until=Step.KICK)
    assert await contents(amina, room, [*ours, *theirs]) == [{}] * 7
    assert await contents(amina, room, [taken_back]) == [{"redacts": gone}]
    assert await chat.counts() == (8, 8)


async def test_the_words_go_before_the_client_is_put_out_so_that_their_app_hears_of_it(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room, amina = await chat.room, await stage.sign_in(chat.amina)
    said = await stage.fill(room, 3)
    since = (await amina.call("GET", "sync", timeout="0")).must()["next_batch"]
    await chat.remove()
    await stage.revoke(until=Step.WAIT)
    news = (await amina.call("GET", "sync", since=since, timeout="0")).must()["rooms"]["leave"][room]
    timeline = news["timeline"]["events"]
    assert {event["redacts"] for event in timeline if event["type"] == "m.room.redaction"} == set(said)
    assert timeline[-1]["content"]["membership"] == "leave"


async def test_the_newest_words_go_first(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "PAGE", 4)
    chat = await Chat.made(stage)
    room, amina = await chat.room, await stage.sign_in(chat.amina)
    said = await stage.fill(room, 6)
    await chat.remove()
    await revoke.work_due(stage.context)
    await revoke.work_due(stage.context)
    left = [bool(content) for content in await contents(amina, room, said)]
    assert left == [True, True, False, False, False, False]
    assert await chat.counts() == (4, 6)


async def test_afterwards_the_old_token_gets_nothing(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room, amina = await chat.room, await stage.sign_in(chat.amina)
    said = await stage.fill(room, 3)
    await chat.remove()
    stage.patient_for(timedelta(0))
    await stage.revoke()
    assert set(await contents(amina, room, said)) <= {403, 404}
    for path in ("messages", "state", "members", "context/" + said[0], "relations/" + said[0]):
        answer = await amina.call("GET", "rooms", room, *path.split("/"), dir="b")
        assert answer.status in (403, 404), path
    assert (await amina.call("POST", "join", room)).status == 403
    whole = (await amina.call("GET", "sync", full_state="true", timeout="0")).must()
    assert room not in str(whole.get("rooms"))
    assert not await stage.exists(room)


async def test_nobody_else_loses_anything(stage: Stage) -> None:
    chat = await Chat.made(stage, adam=True)
    room, adam = await stage.room(chat.conversation, chat.adam), await stage.sign_in(chat.adam)
    said = await stage.fill(room, 3)
    await chat.remove()
    stage.patient_for(timedelta(0))
    await stage.revoke()
    assert await contents(adam, room, said) == [CIPHERTEXT] * 3
    await stage.fill(room, 1)
    assert (await adam.send(room, "m.room.encrypted", CIPHERTEXT)).ok


async def test_the_mask_of_who_went_leaves_the_others_rooms(stage: Stage) -> None:
    chat = await Chat.made(stage, adam=True)
    mask = (await stage.face(chat.amina)).user_id
    room = await stage.room(chat.conversation, chat.adam)
    await chat.remove()
    # Adam hears that she went before her mask does: he has no device to hear it with.
    await stage.pool.execute("UPDATE delivery SET state = 'cancelled' WHERE state = 'pending'")
    await stage.make_rooms()
    assert (await stage.memberships(room))[mask] == "leave"


async def test_each_step_is_recorded_with_its_counts(stage: Stage) -> None:
    chat = await Chat.made(stage)
    await stage.fill(await chat.room, 3)
    await stage.phone(chat.amina, seen_at=AGES_AGO)
    await chat.remove()
    stage.patient_for(timedelta(0))
    await stage.revoke()
    recorded = await chat.recorded()
    assert [row["step"] for row in recorded] == ["redact", "kick", "wait", "media", "purge"]
    assert recorded[0] | {"leg": ""} == {"step": "redact", "leg": "", "events": 3, "redacted": 3}
    assert recorded[1]["parting"] == "put_out"
    assert recorded[-1]["devices_waiting"] == 1
    assert (await chat.progress()).step is Step.DONE


async def test_what_the_client_writes_meanwhile_goes_too(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room, amina = await chat.room, await stage.sign_in(chat.amina)
    await stage.fill(room, 2)
    await chat.remove()
    await stage.revoke(until=Step.KICK)
    late = (await amina.send(room, "m.room.encrypted", CIPHERTEXT)).must()["event_id"]
    await stage.revoke(until=Step.WAIT)
    assert await contents(amina, room, [late]) == [{}]
    assert await chat.counts() == (3, 3)
    assert not (await amina.send(room, "m.room.encrypted", CIPHERTEXT)).ok


async def test_the_files_of_the_room_are_gone(stage: Stage) -> None:
    chat = await Chat.made(stage)
    amina, leg = await stage.sign_in(chat.amina), await stage.leg(chat.conversation, chat.amina)
    ours = await stage.context.homeserver.upload_media(b"ours", stage.context.acting)
    theirs = (await amina.call("POST", "/_matrix/media/v3/upload", data=b"theirs")).must()["content_uri"]
    kept = await stage.context.homeserver.upload_media(b"another leg's", stage.context.acting)
    async with transaction(stage.pool) as tx:
        await revocations.remember_media(tx, leg["id"], [ours, theirs])
    await chat.remove()
    stage.patient_for(timedelta(0))
    await stage.revoke()
    status = [
        (await amina.call("GET", f"/_matrix/client/v1/media/download/{mxc.removeprefix('mxc://')}")).status
        for mxc in (ours, theirs, kept)
    ]
    assert status == [404, 404, 200]
    assert (await chat.progress()).media_deleted == 2


async def test_a_file_that_the_journal_still_wants_is_fetched_first(stage: Stage) -> None:
    chat = await Chat.made(stage)
    leg = await stage.leg(chat.conversation, chat.amina)
    posted = await stage.act(
        messages.post, author=chat.amina.id, conversation=chat.conversation, content=Text("a file"),
        origin=messages.Origin(leg["id"], "$file"),
    )  # fmt: skip
    await stage.pool.execute(
        "INSERT INTO attachment (id, conversation_id, entry_id, source_sealed) VALUES ($1, $2, $3, '')",
        uuid4(), chat.conversation, posted.entry_id,
    )  # fmt: skip
    async with transaction(stage.pool) as tx:
        await revocations.remember_media(tx, leg["id"], ["mxc://ruh.test/unknown"])
    await chat.remove()
    stage.patient_for(timedelta(0))
    await stage.revoke(until=Step.MEDIA)
    await stage.pool.execute("UPDATE revocation SET next_attempt_at = now()")
    await revoke.work_due(stage.context)
    assert await stage.pool.fetchval("SELECT step FROM revocation") == "media"
    await stage.pool.execute("UPDATE attachment SET state = 'stored'")
    await stage.revoke()


async def test_the_face_of_staff_who_were_removed_leaves_and_their_page_too(stage: Stage) -> None:
    chat, colleague = await Chat.made(stage), await stage.therapist()
    given = {"actor": chat.therapist.id, "conversation": chat.conversation, "person": colleague.id}
    await stage.act(roster.add, **given)
    await stage.settle()
    face, room = (await stage.face(colleague)).user_id, await chat.room
    assert (await stage.memberships(room))[face] == "join"
    await stage.act(roster.remove, **given)
    await stage.settle()
    assert (await stage.memberships(room))[face] == "leave"
    with pytest.raises(NotFound):
        await stage.progress(colleague, chat.conversation)
    assert await stage.pool.fetchval("SELECT count(*) FROM revocation") == 0


# Devices


async def waiting(chat: Chat) -> tuple[str, int | None]:
    row = await chat.stage.pool.fetchrow("SELECT step, devices_waiting FROM revocation")
    assert row is not None
    return row["step"], row["devices_waiting"]


async def look(chat: Chat) -> None:
    await chat.stage.pool.execute("UPDATE revocation SET next_attempt_at = now()")
    await revoke.work_due(chat.stage.context)


async def test_a_client_without_devices_is_not_waited_for(stage: Stage) -> None:
    chat = await Chat.made(stage)
    await chat.remove()
    await stage.revoke()
    assert (await chat.progress()).devices_waiting == 0


async def test_a_device_that_is_off_is_waited_for_until_it_asks(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room = await chat.room
    await stage.phone(chat.amina, seen_at=AGES_AGO)
    await chat.remove()
    await stage.revoke(until=Step.WAIT)
    await look(chat)
    assert await waiting(chat) == ("wait", 1)
    assert await stage.exists(room)

    await stage.phone(chat.amina, seen_at=datetime.now(UTC) + timedelta(minutes=3))
    await look(chat)
    assert await waiting(chat) == ("media", 0)
    await stage.revoke()
    assert not await stage.exists(room)


async def test_at_the_deadline_the_room_goes_and_it_is_said_who_may_still_hold_something(
    stage: Stage,
) -> None:
    chat = await Chat.made(stage)
    await stage.phone(chat.amina, seen_at=AGES_AGO)
    await chat.remove()
    await stage.revoke(until=Step.WAIT)
    await stage.pool.execute("UPDATE revocation SET wait_until = now()")
    await stage.revoke()
    progress = await chat.progress()
    assert (progress.step, progress.devices_waiting) == (Step.DONE, 1)


async def test_whose_account_is_gone_is_not_waited_for(stage: Stage) -> None:
    chat = await Chat.made(stage)
    await chat.remove()
    await stage.pool.execute("UPDATE revocation SET user_id = '@cnobody:ruh.test'")
    await stage.revoke()
    assert (await chat.recorded())[1]["parting"] == "never_came"


# Trouble


class DiedError(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_between_two_steps_loses_and_doubles_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    chat = await Chat.made(stage)
    leg = await stage.leg(chat.conversation, chat.amina)
    room, amina = leg["room_id"], await stage.sign_in(chat.amina)
    said = await stage.fill(room, 5)
    mxc = await stage.context.homeserver.upload_media(b"ours", stage.context.acting)
    async with transaction(stage.pool) as tx:
        await revocations.remember_media(tx, leg["id"], [mxc])
    keeps = point == "revoke.vacated"
    if keeps:
        await stage.act(roster.leave, person=chat.amina.id, conversation=chat.conversation)
    else:
        await chat.remove()
    stage.patient_for(timedelta(0))

    def die(name: str) -> None:
        if name == point:
            raise DiedError

    with monkeypatch.context() as patch:
        for module in (revoke, redaction):
            patch.setattr(module, "point", die)
        with pytest.raises(DiedError):
            await stage.revoke()
    await stage.revoke()

    steps = [row["step"] for row in await chat.recorded()]
    if keeps:
        assert steps == ["kick"]
        return
    assert steps == ["redact", "kick", "wait", "media", "purge"]
    assert await chat.counts() == (5, 5)
    assert (await chat.recorded())[1]["parting"] == "put_out"
    assert (await chat.progress()).media_deleted == 1
    assert set(await contents(amina, room, said)) <= {403, 404}
    assert not await stage.exists(room)


async def test_a_homeserver_that_is_away_is_asked_again(stage: Stage) -> None:
    chat = await Chat.made(stage)
    await stage.fill(await chat.room, 3)
    whole = stage.context
    await chat.remove()

    async def away(*_: Any) -> str:
        raise Unavailable(0, "RUH_UNREACHABLE")

    stage.breaks(redact=away)
    for _ in range(10):
        await look(chat)
    row = await stage.pool.fetchrow("SELECT step, error, redacted, attempts FROM revocation")
    assert row is not None
    assert (row["step"], row["error"], row["redacted"]) == ("redact", "RUH_UNREACHABLE", 0)
    assert row["attempts"] >= 9
    stage.context = replace(whole, removal_patience=timedelta(0))
    await stage.revoke()
    assert await chat.counts() == (3, 3)


async def test_one_event_that_cannot_be_redacted_does_not_hold_up_the_rest(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room = await chat.room
    said = await stage.fill(room, 3)
    whole = stage.context.homeserver

    async def all_but_one(room_id: str, event_id: str, transaction_id: str, acting: Acting) -> str:
        if event_id == said[1]:
            raise Refused(403, "M_FORBIDDEN")
        return await whole.redact(room_id, event_id, transaction_id, acting)

    stage.breaks(redact=all_but_one)
    await chat.remove()
    stage.patient_for(timedelta(0))
    await stage.revoke()
    assert await chat.counts() == (2, 3)
    assert (await chat.recorded())[0]["refused"] == "M_FORBIDDEN"
    assert not await stage.exists(room)


@pytest.mark.parametrize("status", ["failed", "unknown"])
async def test_a_purge_that_came_to_nothing_is_begun_anew(stage: Stage, status: str) -> None:
    chat = await Chat.made(stage)
    room, whole = await chat.room, stage.context.homeserver
    said = iter([status])

    async def deletion_status(delete_id: str) -> str:
        return next(said, None) or await whole.deletion_status(delete_id)

    stage.breaks(deletion_status=deletion_status)
    await chat.remove()
    stage.patient_for(timedelta(0))
    await stage.revoke()
    assert not await stage.exists(room)


async def test_one_clients_trouble_holds_nobody_else_up(stage: Stage) -> None:
    chat, other = await Chat.made(stage), await Chat.made(stage)
    room, whole = await chat.room, stage.context.homeserver

    async def members(room_id: str, acting: Acting) -> Any:
        if room_id == room:
            raise KeyError("a mistake of ours")
        return await whole.members(room_id, acting)

    stage.breaks(members=members)
    await chat.remove()
    await other.remove()
    for _ in range(20):
        await look(chat)
    assert (await other.progress()).step is Step.DONE
    row = await stage.pool.fetchrow("SELECT step, error FROM revocation WHERE step <> 'done'")
    assert row is not None
    assert (row["step"], row["error"]) == ("kick", "internal_KeyError")


# Rooms that are being made


async def test_who_is_removed_while_their_room_is_made_is_never_invited(stage: Stage) -> None:
    chat = await Chat.made(stage, made=False)
    amina = await stage.sign_in(chat.amina)
    whole = stage.context.homeserver

    async def create_room(body: Any, acting: Acting) -> str:
        await chat.remove()
        return await whole.create_room(body, acting)

    stage.breaks(create_room=create_room)
    await stage.make_rooms()
    room = await chat.room
    assert await stage.user_id(chat.amina) not in await stage.memberships(room)
    await stage.revoke()
    assert not await stage.exists(room)
    seen = (await amina.call("GET", "sync", timeout="0")).must().get("rooms", {})
    assert seen == {}


async def test_who_is_removed_before_their_room_is_made_never_gets_one(stage: Stage) -> None:
    chat = await Chat.made(stage, made=False)
    await chat.remove()
    await stage.make_rooms()
    await stage.revoke()
    assert (await stage.leg(chat.conversation, chat.amina))["room_id"] is None
    progress = await chat.progress()
    assert (progress.step, progress.had_room) == (Step.DONE, False)


# By themselves


async def test_who_leaves_by_themselves_keeps_what_they_had_and_we_go(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room, amina = await chat.room, await stage.sign_in(chat.amina)
    said = await stage.fill(room, 2)
    (await amina.call("POST", "rooms", room, "leave")).must()
    await stage.act(roster.leave, person=chat.amina.id, conversation=chat.conversation)
    await stage.revoke()
    assert await contents(amina, room, said) == [CIPHERTEXT] * 2
    assert not {"join", "invite"} & set((await stage.memberships(room)).values())
    progress = await chat.progress()
    assert (progress.step, progress.keeps_copy, progress.events) == (Step.DONE, True, None)


async def test_who_left_their_room_earlier_and_is_removed_then_is_not_waited_for(stage: Stage) -> None:
    chat = await Chat.made(stage)
    room, amina = await chat.room, await stage.sign_in(chat.amina)
    said = await stage.fill(room, 2)
    await stage.phone(chat.amina, seen_at=AGES_AGO)
    (await amina.call("POST", "rooms", room, "leave")).must()
    await chat.remove()
    await stage.revoke()
    assert (await chat.recorded())[1]["parting"] == "left_before"
    # Neither the phone nor the device that left hears of what is done to the room now.
    assert (await chat.progress()).devices_waiting == 2
    assert set(await contents(amina, room, said)) <= {403, 404}


# What is on its way


async def test_between_two_events_the_carrier_sees_that_somebody_was_removed(stage: Stage) -> None:
    chat = await Chat.made(stage)
    leg = await stage.leg(chat.conversation, chat.amina)
    for words in ("one", "two", "three"):
        await stage.act(
            messages.post, author=chat.therapist.id, conversation=chat.conversation, content=Text(words)
        )
    await stage.pool.execute(
        "UPDATE delivery SET state = 'prepared', payload = '{}', txn_id = id::text, prepared_at = now()"
        " WHERE leg_id = $1 AND state = 'pending'",
        leg["id"],
    )
    await stage.pool.execute("UPDATE leg SET hold = NULL WHERE id = $1", leg["id"])
    sent = []

    async def send_event(room_id: str, kind: str, content: Any, transaction: str, acting: Acting) -> str:
        sent.append(transaction)
        await chat.remove()
        return f"${transaction}"

    stage.breaks(send_event=send_event)
    assert await deliver.carry(stage.context, LegId(leg["id"])) is False
    assert len(sent) == 1


async def test_what_is_on_its_way_when_somebody_is_removed_is_waited_for(stage: Stage) -> None:
    chat = await Chat.made(stage)
    leg = await stage.leg(chat.conversation, chat.amina)
    amina = await stage.sign_in(chat.amina)
    async with stage.context.lock_of(leg["id"]):
        await chat.remove()
        turn = asyncio.create_task(revoke.work_due(stage.context))
        late = await stage.fill(leg["room_id"], 1)
        assert not turn.done()
    await turn
    await stage.revoke(until=Step.KICK)
    assert await contents(amina, leg["room_id"], late) == [{}]


# Several changes at once


async def roster_of(stage: Stage, conversation: ConversationId) -> dict[str, set[str]]:
    """Each current client's room with who should be in it."""
    rows = await stage.pool.fetch(
        "SELECT l.room_id, l.user_id, array_agg(p.user_id) AS puppets FROM leg l"
        " JOIN occupant o ON o.leg_id = l.id JOIN puppet p ON p.id = o.puppet_id"
        " WHERE l.conversation_id = $1 AND l.state <> 'ended' GROUP BY l.id",
        conversation,
    )
    return {row["room_id"]: {row["user_id"], *row["puppets"]} for row in rows}


async def test_whatever_is_changed_at_once_the_rooms_end_as_the_roster_says(stage: Stage) -> None:
    stage.patient_for(timedelta(0))
    chat = await Chat.made(stage, adam=True)
    newcomers = [await stage.client("Karim"), await stage.client("Noor")]
    given = {"actor": chat.therapist.id, "conversation": chat.conversation}

    async def add(client: Person) -> None:
        await stage.act(roster.add, person=client.id, told=True, **given)

    async def remove(client: Person) -> None:
        await stage.act(roster.remove, person=client.id, **given)

    async def rooms() -> None:
        for _ in range(3):
            await stage.make_rooms()
            await revoke.work_due(stage.context)

    changes = (
        add(newcomers[0]), remove(chat.amina), add(newcomers[0]), remove(chat.amina), rooms(),
        add(newcomers[1]), stage.act(roster.leave, person=chat.adam.id, conversation=chat.conversation),
    )  # fmt: skip
    outcomes = await asyncio.gather(*changes, return_exceptions=True)
    assert sorted(e.code for e in outcomes if isinstance(e, NotAllowed)) == ["already_in", "not_in"]
    await asyncio.gather(add(chat.amina), remove(newcomers[0]), rooms())
    await stage.settle()

    expected = await roster_of(stage, chat.conversation)
    people = [chat.amina, newcomers[1]]
    users = {await stage.user_id(person) for person in people}
    assert {user for inside in expected.values() for user in inside if user.startswith("@c")} == users
    for room, inside in expected.items():
        there = {user for user, how in (await stage.memberships(room)).items() if how == "join"}
        assert there == inside
        assert len(there) == 4  # the client, the other's mask, the therapist, the assistant
    old = await stage.pool.fetch("SELECT room_id FROM leg WHERE state = 'ended' AND room_id IS NOT NULL")
    for row in old:
        if await stage.exists(row["room_id"]):  # Adam keeps his
            assert not {"join", "invite"} & set((await stage.memberships(row["room_id"])).values())
