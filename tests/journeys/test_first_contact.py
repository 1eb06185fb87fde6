"""A booking, a welcome, an answer: the way through all layers, on real parts (P4, M9, M12)."""

from tests.journeys.world import World, text


async def test_a_booked_client_reads_the_welcome_and_answers(world: World) -> None:
    await world.start()
    therapist, client = await world.therapist(), await world.client()
    conversation = await world.book(therapist, client)

    amina = await world.nio(client)
    room = await amina.room_with(lambda seen: seen.name == "Dr. Sara Khan" and seen.membership == "join")
    welcome = await amina.wait_for(room.id, lambda seen: "welcome" in seen.body)
    assert welcome.sender_name == "Dr. Sara Khan"

    await amina.send(room.id, "I slept better")
    line = await world.line(therapist, conversation, lambda line: text(line) == "I slept better")
    assert line.author_id == client.id
