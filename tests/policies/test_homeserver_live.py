"""The homeserver module, as an ordinary account meets it over plain HTTP, in a leg made as we make them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.clients.raw import Raw
from tests.support.synapse import TestHomeserver

MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "session_id": "s", "device_id": "D"}


class Ours(Raw):
    """The appservice: any call as any user of the namespace."""

    async def call(self, method: str, *path: str, **more: Any) -> Any:
        return await super().call(method, *path, **{"user_id": self.user_id, **more})

    async def make(self, localpart: str) -> None:
        given = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
        await Raw.call(self, "POST", "register", body=given)


@pytest.fixture
async def ours(homeserver: TestHomeserver) -> AsyncIterator[Ours]:
    async with Ours(homeserver.url, homeserver.as_token) as service:
        service.user_id = homeserver.assistant
        await service.make("ruh_assistant0")
        yield service


async def client(homeserver: TestHomeserver) -> Raw:
    user = f"@c{uuid4().hex[:20]}:{homeserver.server_name}"
    async with Raw(homeserver.url, homeserver.admin_token) as admin:
        body = {"password": "correct horse", "displayname": "Client"}
        (await admin.call("PUT", f"/_synapse/admin/v2/users/{user}", body=body)).must()
    return await Raw.sign_in(homeserver.url, user, "correct horse")


@pytest.fixture
async def alice(homeserver: TestHomeserver) -> AsyncIterator[Raw]:
    async with await client(homeserver) as raw:
        yield raw


@pytest.fixture
async def charlie(homeserver: TestHomeserver) -> AsyncIterator[Raw]:
    """Another client, in no conversation with Alice."""
    async with await client(homeserver) as raw:
        yield raw


async def joined(raw: Raw, room: str) -> bool:
    """Not by a sync: the homeserver keeps the answer of a first one for two minutes."""
    return room in (await raw.call("GET", "joined_rooms")).must()["joined_rooms"]


@pytest.fixture
async def leg(ours: Ours, alice: Raw) -> str:
    levels = {"state_default": 100, "invite": 100, "users_default": 0, "events": {"m.reaction": 0}}
    room = await ours.create_room(invite=[alice.user_id], power_level_content_override=levels)
    since = (await alice.call("GET", "sync", timeout="0")).must()
    while room not in since.get("rooms", {}).get("join", {}):  # the homeserver accepts for her
        since = (await alice.call("GET", "sync", timeout="5000", since=since["next_batch"])).must()
    return room


def refused(answer: Any, words: str = "") -> bool:
    return answer.status == 403 and answer.errcode == "M_FORBIDDEN" and words in answer.body["error"]


async def test_what_a_client_may_do_works(leg: str, alice: Raw) -> None:
    sent = (await alice.send(leg, "m.room.encrypted", MEGOLM)).must()["event_id"]
    relation = {"rel_type": "m.annotation", "event_id": sent, "key": "👍"}
    reaction = (await alice.send(leg, "m.reaction", {"m.relates_to": relation})).must()["event_id"]
    for event in (reaction, sent):
        assert (await alice.call("PUT", "rooms", leg, "redact", event, uuid4().hex, body={})).ok
    assert (await alice.call("POST", "rooms", leg, "receipt", "m.read", sent, body={})).ok
    assert (await alice.call("PUT", "rooms", leg, "typing", alice.user_id, body={"typing": True})).ok
    assert (await alice.call("POST", "join", leg, body={})).ok, "joining what one is in changes nothing"
    assert (await alice.call("POST", "rooms", leg, "leave", body={})).ok


PLAIN: list[tuple[str, dict[str, Any], str]] = [
    ("m.room.message", {"msgtype": "m.text", "body": "plain"}, "not encrypted"),
    ("m.sticker", {"body": "hi", "url": "mxc://a/b", "info": {}}, "not encrypted"),
    ("m.call.invite", {"call_id": "1", "version": 1, "lifetime": 9, "offer": {}}, "Calls"),
    ("m.room.encrypted", {"algorithm": "none", "ciphertext": "hello"}, "could not be read"),
    ("org.example.anything", {"body": "plain"}, "not encrypted"),
]
STATE: dict[str, dict[str, Any]] = {
    "m.room.name": {"name": "Mine"},
    "m.room.topic": {"topic": "Mine"},
    "m.room.avatar": {"url": "mxc://a/b"},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1},
    "m.room.join_rules": {"join_rule": "public"},
    "m.room.history_visibility": {"history_visibility": "world_readable"},
    "m.room.power_levels": {"users_default": 100},
    "m.room.encrypted": MEGOLM,
    "org.matrix.msc3401.call.member": {"memberships": []},
    "org.example.anything": {},
}


async def test_anything_unencrypted_is_refused(leg: str, alice: Raw) -> None:
    for type, content, words in PLAIN:
        assert refused(await alice.send(leg, type, content), words), type


async def test_a_reaction_carries_no_message(leg: str, alice: Raw) -> None:
    sent = (await alice.send(leg, "m.room.encrypted", MEGOLM)).must()["event_id"]
    for more in ({"key": "x" * 65}, {"key": ""}, {"note": "plain"}, {"rel_type": "m.thread"}):
        relation = {"rel_type": "m.annotation", "event_id": sent, "key": "x", **more}
        assert refused(await alice.send(leg, "m.reaction", {"m.relates_to": relation}), "emoji"), more


async def test_a_client_changes_no_state(leg: str, alice: Raw) -> None:
    for type, content in STATE.items():
        assert refused(await alice.set_state(leg, type, content)), type


@pytest.mark.parametrize("change", [{"displayname": "Eve"}, {"avatar_url": "mxc://a/b"}])
async def test_nobody_gives_themselves_a_name_in_a_room(leg: str, alice: Raw, change: dict[str, str]) -> None:
    content = {"membership": "join", **change}
    assert refused(await alice.set_state(leg, "m.room.member", content, alice.user_id))
    await alice.call("POST", "join", leg, body=change)  # goes through, without what it brings along
    shown = await alice.call("GET", "rooms", leg, "state", "m.room.member", alice.user_id)
    assert not change.items() & shown.must().items()


async def profile_was_told(homeserver: TestHomeserver, user: str) -> None:
    """The homeserver carries a changed profile to rooms in a task; wait until it is through."""
    query = f"?action_name=update_join_states&resource_id={user}&job_status="
    async with Raw(homeserver.url, homeserver.admin_token) as admin:
        while True:
            answers = [
                (await admin.call("GET", "/_synapse/admin/v1/scheduled_tasks" + query + status)).must()
                for status in ("scheduled", "active", "complete")
            ]
            waiting, running, done = (answer["scheduled_tasks"] for answer in answers)
            if done and not waiting and not running:
                return
            await asyncio.sleep(0.05)


async def test_a_changed_profile_never_reaches_a_room(
    leg: str, alice: Raw, homeserver: TestHomeserver
) -> None:
    where = ("rooms", leg, "state", "m.room.member", alice.user_id)
    before = (await alice.call("GET", *where)).must()
    await alice.call("PUT", "profile", alice.user_id, "avatar_url", body={"avatar_url": "mxc://ruh.test/b"})
    async with asyncio.timeout(20):
        await profile_was_told(homeserver, alice.user_id)
    assert (await alice.call("GET", *where)).must() == before


async def test_clients_make_no_rooms(alice: Raw, charlie: Raw, homeserver: TestHomeserver) -> None:
    for invite in ([], [charlie.user_id], [homeserver.assistant]):
        assert refused(await alice.call("POST", "createRoom", body={"invite": invite}), "opened for you")
    space = {"creation_content": {"type": "m.space"}, "preset": "public_chat", "name": "Club"}
    assert refused(await alice.call("POST", "createRoom", body=space))


def direct_chat(with_whom: str, **more: Any) -> dict[str, Any]:
    """As Element asks for it."""
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    return {
        "preset": "trusted_private_chat",
        "visibility": "private",
        "is_direct": True,
        "invite": [with_whom],
        "initial_state": [
            {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}},
            {"type": "m.room.encryption", "state_key": "", "content": encryption},
        ],
        **more,
    }


async def test_a_client_makes_a_direct_chat_with_the_assistant_and_nothing_of_it_can_be_changed(
    ours: Ours, alice: Raw, charlie: Raw, homeserver: TestHomeserver
) -> None:
    body = direct_chat(homeserver.assistant)
    room = (await alice.call("POST", "createRoom", body=body)).must()["room_id"]
    while not await joined(ours, room):  # the homeserver accepts for it
        await asyncio.sleep(0.05)
    assert (await alice.send(room, "m.room.encrypted", MEGOLM)).ok
    assert refused(await alice.send(room, "m.room.message", {"msgtype": "m.text", "body": "plain"}))
    answer = await alice.call("POST", "rooms", room, "invite", body={"user_id": charlie.user_id})
    assert refused(answer, "Only the team")
    for type, content in STATE.items():
        assert refused(await alice.set_state(room, type, content)), type
    for change in ({"name": "Mine"}, {"visibility": "public"}, {"invite": [charlie.user_id]}, {"topic": "x"}):
        body = direct_chat(homeserver.assistant, **change)
        assert refused(await alice.call("POST", "createRoom", body=body), "opened for you"), change
    assert refused(await alice.call("POST", "createRoom", body=direct_chat(charlie.user_id)))


async def test_an_upgrade_is_a_new_room_too(leg: str, alice: Raw) -> None:
    assert refused(await alice.call("POST", "rooms", leg, "upgrade", body={"new_version": "11"}))


async def test_clients_invite_nobody(leg: str, alice: Raw, charlie: Raw) -> None:
    answer = await alice.call("POST", "rooms", leg, "invite", body={"user_id": charlie.user_id})
    assert refused(answer, "Only the team")
    content = {"membership": "invite"}
    assert refused(await alice.set_state(leg, "m.room.member", content, charlie.user_id))
    assert not await joined(charlie, leg)


async def test_clients_name_and_publish_nothing(leg: str, alice: Raw) -> None:
    alias = f"#{uuid4().hex}:ruh.test"
    assert refused(
        await alice.call("PUT", "directory", "room", alias, body={"room_id": leg}), "public address"
    )
    publish = {"visibility": "public"}
    assert refused(await alice.call("PUT", "directory", "list", "room", leg, body=publish), "can't be listed")


async def test_nobody_comes_in_uninvited(ours: Ours, leg: str, charlie: Raw) -> None:
    open_room = await ours.create_room(preset="public_chat")
    for room in (leg, open_room):
        assert refused(await charlie.call("POST", "join", room, body={}))
        assert refused(await charlie.call("POST", "rooms", room, "join", body={}))
        assert refused(await charlie.send(room, "m.room.encrypted", MEGOLM))
    assert refused(await charlie.call("POST", "knock", leg, body={}))


async def test_who_left_says_nothing_more(leg: str, alice: Raw) -> None:
    assert (await alice.call("POST", "rooms", leg, "leave", body={})).ok
    assert refused(await alice.send(leg, "m.room.encrypted", MEGOLM))
    assert refused(await alice.call("POST", "join", leg, body={}))


async def test_a_huge_event_is_refused(leg: str, alice: Raw) -> None:
    answer = await alice.send(leg, "m.room.encrypted", {**MEGOLM, "ciphertext": "x" * 70_000})
    assert (answer.status, answer.errcode) == (413, "M_TOO_LARGE")


async def test_our_own_users_and_administrators_are_not_hindered(
    ours: Ours, homeserver: TestHomeserver, leg: str
) -> None:
    assert (await ours.send(leg, "m.room.message", {"msgtype": "m.notice", "body": "hello"})).ok
    assert (await ours.set_state(leg, "m.room.name", {"name": "Dr. Sara Khan"})).ok
    async with Raw(homeserver.url, homeserver.admin_token) as admin:
        room = (await admin.call("POST", "createRoom", body={})).must()["room_id"]
        assert (await admin.send(room, "m.room.message", {"msgtype": "m.text", "body": "hello"})).ok
        assert (await admin.set_state(room, "m.room.name", {"name": "Operators"})).ok
