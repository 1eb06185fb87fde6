"""Which of a client's events are for the assistant, and what becomes of the room that they made (P6, A7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

import pytest

from appservice import lobby, receive
from appservice.context import Context
from appservice.crypto.megolm_in import Decrypted
from bridge import legs, participants, seats
from bridge.database import Pool, transaction
from policies.vocabulary import Person, Role
from tests.support.people import SERVER_NAME, keyring, make

ASSISTANT, CLIENT, ROOM = f"@ruh_assistant0:{SERVER_NAME}", f"@c1:{SERVER_NAME}", "!lobby"
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
_numbers = count(1)


def member(sender: str, membership: str, of: str = ASSISTANT, **unsigned: Any) -> dict[str, Any]:
    return {
        "type": "m.room.member", "sender": sender, "state_key": of, "event_id": f"${next(_numbers)}",
        "content": {"membership": membership}, "unsigned": unsigned, "origin_server_ts": 0,
    }  # fmt: skip


def sync(**rooms: Any) -> dict[str, Any]:
    return {"rooms": {kind: {ROOM: body} for kind, body in rooms.items()}}


@pytest.mark.parametrize(
    "answer",
    [
        sync(invite={"invite_state": {"events": [member(CLIENT, "invite")]}}),
        sync(join={"timeline": {"events": [member(CLIENT, "invite"), member(ASSISTANT, "join")]}}),
        sync(join={"state": {"events": [
            member(ASSISTANT, "join", prev_content={"membership": "invite"}, prev_sender=CLIENT)]}}),
    ],
    ids=["open", "accepted meanwhile", "accepted long ago"],
)  # fmt: skip
def test_an_invitation_is_seen_in_whatever_form_it_comes(answer: dict[str, Any]) -> None:
    assert lobby.invitations(answer, ASSISTANT) == {ROOM: CLIENT}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        sync(join={"timeline": {"events": [member(ASSISTANT, "join")]}}),
        sync(join={"timeline": {"events": [member(CLIENT, "join", of=CLIENT)]}}),
        sync(join={"timeline": {"events": [member(ASSISTANT, "invite", of=CLIENT)]}}),
        sync(leave={"timeline": {"events": [member(CLIENT, "leave")]}}),
    ],
)
def test_our_own_rooms_are_no_invitations(answer: dict[str, Any]) -> None:
    assert lobby.invitations(answer, ASSISTANT) == {}


class Readable:
    """A machine to which every event is what its test says."""

    async def decrypt_event(self, tx: object, room_id: str, event: Mapping[str, Any]) -> Any:
        return Decrypted("m.room.message", event["content"]["clear"], "PHONE", "session", 0)


@dataclass
class Rooms:
    """A client in their lobby and in their therapist's thread."""

    pool: Pool
    context: Context
    therapist: Person
    user_id: str
    sent: list[str] = field(default_factory=list)

    @classmethod
    async def of(cls, pool: Pool) -> "Rooms":
        nobody = cast(Any, None)
        async with transaction(pool) as tx:
            await seats.ensure_assistant(tx, SERVER_NAME)
            therapist = await make(tx, keyring(), Role.THERAPIST, "Sara", "Khan", email="sara@ruh.test")
            client = await make(tx, keyring())
            await participants.open_direct(tx, keyring(), therapist=therapist.id, client=client.id, at=NOW)
            await tx.execute("UPDATE leg SET room_id = '!thread', state = 'open'")
            user_id = await tx.fetchval("SELECT user_id FROM account WHERE person_id = $1", client.id)
        context = Context(pool, keyring(), nobody, cast(Any, Readable()), nobody, SERVER_NAME)
        rooms = cls(pool, context, therapist, user_id)
        async with transaction(pool) as tx:
            await lobby.invited(tx, context, ROOM, user_id)
        return rooms

    async def take(self, room: str, event: dict[str, Any]) -> None:
        async with transaction(self.pool) as tx:
            found = (await legs.by_rooms(tx, [room])).get(room)
            assert found is not None
            await receive.take(tx, self.context, found, event)

    async def says(self, room: str, body: str, *, event_id: str = "", **more: Any) -> str:
        event_id = event_id or f"${next(_numbers)}"
        clear = {"msgtype": "m.text", "body": body, **more}
        await self.take(room, {
            "type": "m.room.encrypted", "sender": self.user_id, "event_id": event_id, "origin_server_ts": 0,
            "content": {"clear": clear},
        })  # fmt: skip
        return event_id

    async def answers(self) -> int:
        return int(await self.pool.fetchval("SELECT count(*) FROM delivery WHERE state = 'pending'"))

    async def messages(self) -> int:
        return int(await self.pool.fetchval("SELECT count(*) FROM entry WHERE kind = 'message'"))

    async def parked(self) -> list[str]:
        return [row["reason"] for row in await self.pool.fetch("SELECT reason FROM parked_event")]


async def test_in_the_lobby_every_word_is_answered_once_and_none_is_a_message(pool: Pool) -> None:
    rooms = await Rooms.of(pool)
    for n, words in enumerate(("!start", "hello", "1"), start=1):
        event = await rooms.says(ROOM, words)
        await rooms.says(ROOM, words, event_id=event)  # a sync that came twice
        assert await rooms.answers() == n
    await rooms.says(ROOM, "* !help", **{
        "m.new_content": {"msgtype": "m.text", "body": "!help"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    })  # fmt: skip
    assert await rooms.answers() == 4, "what was corrected is said anew"
    await rooms.says(ROOM, "I am a program", msgtype="m.notice")
    assert await rooms.answers() == 4
    assert (await rooms.messages(), await rooms.parked()) == (0, [])


async def test_how_they_made_their_room_is_their_business(pool: Pool) -> None:
    rooms = await Rooms.of(pool)
    for kind in ("m.room.create", "m.room.power_levels", "m.room.encryption"):
        event = member(rooms.user_id, "") | {"type": kind, "state_key": "", "content": {}}
        await rooms.take(ROOM, event)
    await rooms.take(ROOM, member(rooms.user_id, "invite"))
    await rooms.take(ROOM, member(rooms.user_id, "join", of=rooms.user_id))
    assert await rooms.parked() == []
    assert await pool.fetchval("SELECT count(*) FROM lobby WHERE ended_at IS NULL") == 1


@pytest.mark.parametrize("who", ["themselves", "the assistant"])
async def test_a_lobby_with_one_of_the_two_is_over(pool: Pool, who: str) -> None:
    rooms = await Rooms.of(pool)
    await rooms.says(ROOM, "hello")
    out = rooms.user_id if who == "themselves" else ASSISTANT
    await rooms.take(ROOM, member(rooms.user_id, "leave", of=out))
    assert await rooms.answers() == 0
    assert await pool.fetchval("SELECT state FROM leg WHERE room_id = $1", ROOM) == "ended"
    assert await pool.fetchval("SELECT keeps_copy FROM revocation") is True


async def test_in_a_thread_only_the_bare_command_is_the_assistants(pool: Pool) -> None:
    rooms = await Rooms.of(pool)
    command = await rooms.says("!thread", "!help")
    assert (await rooms.messages(), await rooms.answers()) == (0, 1)
    for n, words in enumerate(("!help me", "help", "!stop"), start=1):
        await rooms.says("!thread", words)
        assert (await rooms.messages(), await rooms.answers()) == (n, 1)
    quoted = {"m.relates_to": {"m.in_reply_to": {"event_id": command}}}
    await rooms.says("!thread", "!help", **quoted)
    changed = {"m.new_content": {"msgtype": "m.text", "body": "I meant you"},
               "m.relates_to": {"rel_type": "m.replace", "event_id": command}}  # fmt: skip
    await rooms.says("!thread", "* I meant you", **changed)
    assert (await rooms.messages(), await rooms.answers()) == (5, 1)
    assert await pool.fetchval("SELECT count(target_id) FROM entry") == 0, "nothing quotes a hidden line"
    assert await rooms.parked() == []


async def test_what_cannot_be_made_does_not_end_the_sync(pool: Pool) -> None:
    rooms = await Rooms.of(pool)
    await pool.execute("ALTER TABLE lobby ADD CHECK (asked IS NOT NULL) NOT VALID")
    async with transaction(pool) as tx:
        await lobby.invited(tx, rooms.context, "!other", rooms.user_id)
        await lobby.invited(tx, rooms.context, "!other", "@stranger:ruh.test")
        await lobby.invited(tx, rooms.context, "!other", ASSISTANT)
        assert await tx.fetchval("SELECT count(*) FROM leg WHERE room_id = '!other'") == 0
