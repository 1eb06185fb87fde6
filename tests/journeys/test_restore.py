"""A deleted message comes back where it was, in the client's own app (M7, M8)."""

from bridge import messages, restore
from policies.content import Text
from policies.vocabulary import Role
from tests.journeys.talk import a_talk
from tests.journeys.world import World, text


async def test_a_restored_message_is_there_again_and_can_be_edited_answered_and_deleted(world: World) -> None:
    await world.start()
    talk = await a_talk(world)
    care = await world.person(Role.CLIENT_CARE, "Maya", "Lind", email="maya@ruh.test")
    posted = await talk.say("See you on Monday")
    first = await talk.reads("See you on Monday")

    await talk.act(messages.delete, entry=posted.entry_id)
    await talk.sees(lambda seen: seen.event_id == first.event_id and seen.redacted)
    await world.act(restore.restore, actor=care.id, entry=posted.entry_id)
    again = await talk.sees(lambda seen: seen.body == "See you on Monday" and not seen.redacted)
    assert (again.sender, again.sender_name) == (first.sender, "Dr. Sara Khan")
    assert again.event_id != first.event_id
    assert text(await talk.line(lambda line: line.id == posted.entry_id)) == "See you on Monday"

    await talk.act(messages.edit, entry=posted.entry_id, content=Text("See you on Tuesday"))
    await talk.sees(lambda seen: seen.event_id == again.event_id and seen.body == "See you on Tuesday")
    await talk.app.reply(talk.room, again.event_id, "Tuesday is fine")
    answer = await talk.hears("Tuesday is fine")
    assert answer.reply_to is not None
    assert answer.reply_to.id == posted.entry_id

    await talk.act(messages.delete, entry=posted.entry_id)
    gone = await talk.sees(lambda seen: seen.event_id == again.event_id and seen.redacted)
    assert gone.body == ""


async def test_what_a_client_took_back_is_told_in_their_room_by_the_assistant(world: World) -> None:
    await world.start()
    talk = await a_talk(world)
    care = await world.person(Role.CLIENT_CARE, "Maya", "Lind", email="maya@ruh.test")
    event = await talk.app.send(talk.room, "I want to stop")
    line = await talk.hears("I want to stop")
    await talk.app.redact(talk.room, event)
    await talk.line(lambda seen: seen.id == line.id and seen.deleted_at is not None)

    await world.act(restore.restore, actor=care.id, entry=line.id)
    told = await talk.sees(lambda seen: "I want to stop" in seen.body)
    assert (told.sender_name, told.body) == ("Ruh", "Your message has been restored:\nI want to stop")
    assert (await talk.hears("I want to stop")).id == line.id
