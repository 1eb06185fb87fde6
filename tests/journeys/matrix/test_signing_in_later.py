"""Who booked today and signs in next week reads all of it (P2); a changed identity is asked for first."""

from collections.abc import Sequence

import pytest

from bridge import accounts, conversations, identities
from bridge.database import transaction
from bridge.errors import Invalid, NotAllowed, NotFound
from policies.content import Notice
from policies.vocabulary import ConversationId, PersonId, Role
from tests.clients.element import Element
from tests.clients.protocol import RealClient
from tests.journeys.ledger import shown
from tests.journeys.talk import Talk, a_talk, face_of
from tests.journeys.world import PASSWORD, PATIENCE, World, text, until


async def hold(world: World, conversation: ConversationId, expected: str | None) -> None:
    async def look() -> bool:
        found = await world.pool.fetchrow(
            "SELECT state, hold FROM leg WHERE conversation_id = $1", conversation
        )
        return bool(found["state"] == "open" and found["hold"] == expected)

    await until(look, what=f"the hold {expected}")


async def room_of(app: RealClient, face: str) -> str:
    found = await app.room_with(lambda seen: seen.membership == "join" and face in seen.joined(), PATIENCE)
    return found.id


@pytest.mark.parametrize("kind", ["nio", "element"])
async def test_who_signs_in_later_reads_the_welcome_and_all_that_followed(world: World, kind: str) -> None:
    therapist, client = await world.therapist(), await world.client()
    conversation = await world.book(therapist, client)
    for number in range(5):
        await world.say(therapist, conversation, f"note {number}")
    await hold(world, conversation, "no_device")
    lines = await world.lines(therapist, conversation)
    assert all(found.hold == "no_device" for line in lines for found in line.deliveries)
    assert {found.state for line in lines for found in line.deliveries} == {"pending"}
    async with transaction(world.pool) as tx:
        row = await conversations.one(tx, world.keyring, therapist.id, conversation)
    assert row.holds == ((client.id, "no_device"),)

    app = await (world.nio(client) if kind == "nio" else world.element(client))
    face = await face_of(world, therapist)
    assert face
    room = await room_of(app, face)
    expected = [text(line) for line in lines]
    assert "welcome" in expected[0]

    async def all_there() -> bool:
        return await shown(app, room, face) == expected

    await app.wait_until(all_there, PATIENCE, "the welcome and what followed")
    await hold(world, conversation, None)


async def test_who_has_not_even_an_account_yet_waits_the_same(world: World) -> None:
    therapist = await world.therapist()
    client = await world.person(Role.CLIENT, "Bilal", "Aziz")
    conversation = await world.book(therapist, client)
    await world.say(therapist, conversation, "See you on Monday")
    async with transaction(world.pool) as tx:
        await accounts.request_password(tx, world.keyring, client.id, PASSWORD)
    await until(lambda: world.account_ready(client), what="the account")
    app = await world.nio(client)
    face = await face_of(world, therapist)
    assert face
    await app.wait_for(await room_of(app, face), lambda seen: seen.body == "See you on Monday", PATIENCE)


async def test_who_loses_every_device_is_waited_for_again(world: World) -> None:
    talk = await a_talk(world)
    await talk.say("before")
    await talk.reads("before")
    await talk.app.logout()
    await hold(world, talk.conversation, "no_device")
    await talk.say("while away")
    app = await world.nio(talk.client)
    await app.wait_for(talk.room, lambda seen: seen.body == "while away", PATIENCE)
    seen = await shown(app, talk.room, await talk.face())
    assert seen[0].startswith("unreadable"), "a new device gets no old keys from us"


async def test_an_identity_that_comes_later_is_pinned_and_only_its_devices_read(world: World) -> None:
    talk = await a_talk(world, "nio")
    await talk.say("for any device")
    await talk.reads("for any device")
    assert await _pinned(talk) == ("new", None)
    element = await world.element(talk.client)
    await until(lambda: _is_pinned(talk), what="the identity")
    await talk.say("for signed devices")
    await element.wait_for(talk.room, lambda seen: seen.body == "for signed devices", PATIENCE)
    await talk.sees(lambda seen: seen.failure is not None)


async def _pinned(talk: Talk) -> tuple[str, str | None]:
    row = await talk.world.pool.fetchrow(
        "SELECT state, master_key FROM crypto_user WHERE user_id = $1", talk.app.user_id
    )
    return row["state"], row["master_key"]


async def _is_pinned(talk: Talk) -> bool:
    state, key = await _pinned(talk)
    return state == "pinned" and key is not None


async def test_a_changed_identity_is_held_until_the_organiser_confirms_it(world: World) -> None:
    talk = await a_talk(world, "element")
    assert isinstance(talk.app, Element)
    await talk.say("to the one we know")
    await talk.reads("to the one we know")
    sessions = await _sessions(talk)

    await talk.app.reset_identity()
    await hold(world, talk.conversation, "identity_changed")
    posted = await talk.say("only if it is you")
    line = await talk.line(lambda line: line.id == posted.entry_id)
    assert [(found.state, found.hold) for found in line.deliveries] == [("pending", "identity_changed")]
    # What the client writes still arrives: it is their own account.
    await talk.app.send(talk.room, "I have a new phone")
    await talk.hears("I have a new phone")
    assert await _sessions(talk) == sessions, "nothing has been encrypted meanwhile"
    assert (await talk.line(lambda line: line.id == posted.entry_id)).deliveries[0].state == "pending"

    outsider = await world.therapist()
    with pytest.raises(NotFound):
        await world.act(identities.release, actor=outsider.id, conversation=talk.conversation, seen=())
    with pytest.raises(NotAllowed):
        await world.act(identities.release, actor=talk.client.id, conversation=talk.conversation, seen=())
    assert await _release(talk) == [talk.client.id]

    await talk.reads("only if it is you")
    await hold(world, talk.conversation, None)
    notice = await talk.line(lambda line: isinstance(line.content, Notice))
    assert isinstance(notice.content, Notice)
    assert (notice.content.code, notice.author_id) == ("identity_released", talk.therapist.id)
    assert not any("confirmed" in seen.body.lower() for seen in await talk.app.timeline(talk.room))
    with pytest.raises(Invalid):
        await _release(talk)


async def test_an_identity_that_changed_while_we_were_away_is_held_too(world: World) -> None:
    talk = await a_talk(world, "element")
    assert isinstance(talk.app, Element)
    await talk.say("before")
    await talk.reads("before")
    await world.end()
    await talk.app.reset_identity()
    posted = await talk.say("after")
    await world.start()
    await hold(world, talk.conversation, "identity_changed")
    line = await talk.line(lambda line: line.id == posted.entry_id)
    assert line.deliveries[0].state == "pending"
    await _release(talk)
    await talk.reads("after")


async def _release(talk: Talk) -> Sequence[PersonId]:
    """The organiser confirms what they are shown."""
    who = {"actor": talk.therapist.id, "conversation": talk.conversation}
    async with transaction(talk.world.pool) as tx:
        shown = await identities.offered(tx, **who)
    return await talk.world.act(identities.release, seen=[one.mark for one in shown], **who)


async def _sessions(talk: Talk) -> list[tuple[str, int]]:
    rows = await talk.world.pool.fetch(
        "SELECT session_id, next_index FROM megolm_outbound o JOIN leg l ON l.id = o.leg_id"
        " WHERE l.conversation_id = $1 ORDER BY session_id",
        talk.conversation,
    )
    return [tuple(row) for row in rows]


async def test_words_from_an_app_that_is_not_verified_are_told_apart_once(world: World) -> None:
    """Whoever has a client's password, and no more, can write as them: staff hear of it."""
    talk = await a_talk(world, "element")
    await talk.app.send(talk.room, "from my phone")
    await talk.hears("from my phone")
    other = await world.element(talk.client)
    await other.room_with(lambda seen: seen.id == talk.room and seen.membership == "join", PATIENCE)
    for words in ("from somewhere", "and again"):
        await other.send(talk.room, words)
        await talk.hears(words)
    said = [
        line.content.code if isinstance(line.content, Notice) else text(line)
        for line in await world.lines(talk.therapist, talk.conversation)
    ]
    assert said[said.index("from my phone") :] == [
        "from my phone", "from somewhere", "unverified_app", "and again",
    ]  # fmt: skip
