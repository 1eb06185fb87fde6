"""A community chat from the clients' side: a room for each, the others by their initials (C7)."""

from datetime import UTC, datetime

from bridge import roster
from bridge.database import transaction
from policies.content import Notice
from policies.vocabulary import ConversationId, ConversationKind, Person
from tests.journeys.world import World, text, until

PICTURE = b"\x89PNG\r\n\x1a\n" + b"a picture" * 100


async def a_group(world: World, organiser: Person, clients: list[Person]) -> ConversationId:
    async with transaction(world.pool) as tx:
        return await roster.start(
            tx, world.keyring, actor=organiser.id, kind=ConversationKind.COMMUNITY,
            others=[client.id for client in clients], told=True, at=datetime.now(UTC),
        )  # fmt: skip


async def test_what_one_client_says_reaches_the_others_under_their_initials(world: World) -> None:
    await world.start()
    therapist = await world.therapist()
    names = [("Amina", "Yusuf"), ("Adam", "Young"), ("Jane", "Doe")]
    clients = [await world.client(*name) for name in names]
    group = await a_group(world, therapist, clients)
    amina, adam, jane = [await world.nio(client) for client in clients]
    rooms = [
        await who.room_with(lambda r: r.name == "Group with Dr. Sara Khan") for who in (amina, adam, jane)
    ]
    assert len({room.id for room in rooms}) == 3

    await world.say(therapist, group, "Welcome, all of you")
    for who, room in zip((amina, adam, jane), rooms, strict=True):
        assert (
            await who.wait_for(room.id, lambda s: s.body == "Welcome, all of you")
        ).sender_name == "Dr. Sara Khan"

    await amina.send(rooms[0].id, "Hello from me")
    await world.line(therapist, group, lambda line: text(line) == "Hello from me")
    seen = [
        await who.wait_for(room.id, lambda s: s.body == "Hello from me")
        for who, room in ((adam, rooms[1]), (jane, rooms[2]))
    ]
    assert [item.sender_name for item in seen] == ["A.Y.", "A.Y."]
    assert len({item.sender for item in seen}) == 1
    assert seen[0].sender != amina.user_id
    in_janes_room = await jane.room(rooms[2].id)
    assert {m.name for m in in_janes_room.members.values()} >= {"A.Y.", "A.Y. (2)", "Ruh", "Dr. Sara Khan"}


async def test_a_clients_file_reaches_the_team_and_is_named_to_the_others(world: World) -> None:
    await world.start()
    therapist = await world.therapist()
    clients = [await world.client("Amina", "Yusuf"), await world.client("Jane", "Doe")]
    group = await a_group(world, therapist, clients)
    amina, jane = [await world.nio(client) for client in clients]
    hers, janes = [
        await who.room_with(lambda r: r.name == "Group with Dr. Sara Khan" and r.membership == "join")
        for who in (amina, jane)
    ]
    source = await amina.upload(PICTURE, mimetype="image/png", encrypted=True)
    content = {"msgtype": "m.image", "filename": "amina-yusuf.png", "body": "My garden"}
    await amina.send_event(
        hers.id, "m.room.message", {**content, "info": {"mimetype": "image/png"}, **source}
    )

    shown = await jane.wait_for(janes.id, lambda seen: "sent a picture" in seen.body)
    assert (shown.sender_name, shown.body) == (
        "A.Y.",
        "(sent a picture, which only the team can open)\nMy garden",
    )
    told = await amina.wait_for(hers.id, lambda seen: "has reached the team" in seen.body)
    assert told.sender_name == "Ruh"
    await world.line(
        therapist, group, lambda line: isinstance(line.content, Notice) and line.content.code == "file_stays"
    )
    stored = "SELECT state = 'stored' FROM attachment"
    await until(lambda: world.pool.fetchval(stored), what="the picture")
    await world.say(therapist, group, "Lovely")
    await jane.wait_for(janes.id, lambda seen: seen.body == "Lovely")
    assert not [seen for seen in await jane.timeline(janes.id) if "reached the team" in seen.body]
