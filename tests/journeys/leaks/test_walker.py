"""A walk that finds nothing proves something only if it finds what is there: leaks, planted one by one."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from appservice.legs import room as as_made
from tests.clients.contents import text as words
from tests.clients.raw import Raw
from tests.journeys.leaks.walk import Heard, Listener, Walk, found_in, spellings
from tests.support.synapse import TestHomeserver

NAME = "Ambrosius Yellowgate"
SECRETS = {"first name": "Ambrosius", "e-mail": "am.yellowgate@mail.example", "Arabic name": "الحسيني"}


class Leg:
    """A client's room with a mask in it, made by hand; the mask is the hand that leaks."""

    def __init__(self, homeserver: TestHomeserver, mask: Raw, walker: Listener, room: str) -> None:
        self.homeserver, self.mask, self.walker, self.room = homeserver, mask, walker, room

    async def finds(self) -> set[str]:
        self.walker.heard.clear()
        walked = await Walk(self.walker, terms=["Ambrosius"]).go()
        return {find.partition(" in ")[0] for find in found_in(walked.heard, SECRETS)}


@pytest.fixture
async def leg(homeserver: TestHomeserver) -> AsyncIterator[Leg]:
    name = f"ruh_{uuid4().hex[:16]}"
    async with (
        Raw(homeserver.url, homeserver.as_token) as ours,
        Raw(homeserver.url, homeserver.admin_token) as admin,
    ):
        made = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
        (await ours.call("POST", "register", body=made)).must()
        client, password = f"@c{uuid4().hex[:20]}:{homeserver.server_name}", uuid4().hex
        (await admin.call("PUT", f"/_synapse/admin/v2/users/{client}", body={"password": password})).must()
    mask = Raw(homeserver.url, homeserver.as_token, acting_as=f"@{name}:{homeserver.server_name}")
    signed_in = await Raw.sign_in(homeserver.url, client, password)
    await signed_in.close()
    async with mask, Listener(homeserver.url, signed_in.token) as walker:
        walker.user_id = client
        body = {**as_made("Group with Dr. Sara Khan"), "invite": [client]}
        room = (await mask.call("POST", "createRoom", body=body)).must()["room_id"]
        yield Leg(homeserver, mask, walker, room)


async def test_a_planted_leak_is_found_whichever_way_it_goes(leg: Leg) -> None:
    assert await leg.finds() == set()
    (
        await leg.mask.call("PUT", "profile", leg.mask.user_id, "displayname", body={"displayname": NAME})
    ).must()
    assert await leg.finds() == {"first name"}
    (await leg.mask.set_state(leg.room, "m.room.topic", {"topic": "With الحسيني"})).must()
    assert await leg.finds() == {"first name", "Arabic name"}
    (await leg.mask.send(leg.room, "m.room.message", words("write to am.yellowgate@mail.example"))).must()
    assert await leg.finds() == set(SECRETS)


def test_secrets_are_found_in_every_spelling_and_not_in_the_question() -> None:
    for data in (
        b'{"name": "\\u0627\\u0644\\u062d\\u0633\\u064a\\u0646\\u064a"}',
        "الحسيني".encode(),
        *spellings("الحسيني"),
    ):
        assert len(found_in([Heard("GET /sync", data)], SECRETS)) == 1
    assert found_in([Heard("GET /directory/%23ambrosius", b"#Ambrosius not found")], SECRETS) == []
    assert len(found_in([Heard("GET /sync", b"AMBROSIUS")], SECRETS)) == 1
