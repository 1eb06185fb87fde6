"""A therapist and a client in their conversation: what each of them does there, and what each sees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.messages import Posted
from bridge.timeline import Line
from policies.vocabulary import ConversationId, Person
from tests.clients.protocol import RealClient, Seen
from tests.journeys.world import PATIENCE, World, text, until


@dataclass
class Talk:
    world: World
    therapist: Person
    client: Person
    conversation: ConversationId
    app: RealClient
    room: str

    async def say(self, words: str, **more: Any) -> Posted:
        """The therapist writes, as the portal does."""
        return await self.world.say(self.therapist, self.conversation, words, **more)

    async def act(self, use_case: Any, **given: Any) -> Any:
        """The therapist does something to an entry."""
        return await self.world.act(
            use_case, author=self.therapist.id, conversation=self.conversation, **given
        )

    async def sees(self, holds: Callable[[Seen], bool], seconds: float = PATIENCE) -> Seen:
        """What the client's app shows, now or later."""
        return await self.app.wait_for(self.room, holds, seconds)

    async def reads(self, words: str, seconds: float = PATIENCE) -> Seen:
        return await self.sees(lambda seen: seen.body == words, seconds)

    async def line(self, holds: Callable[[Line], bool], seconds: float = PATIENCE) -> Line:
        """What the therapist's page shows, now or later."""
        return await self.world.line(self.therapist, self.conversation, holds, seconds)

    async def hears(self, words: str, seconds: float = PATIENCE) -> Line:
        return await self.line(lambda line: text(line) == words, seconds)

    async def sent_to(self, entry: Any, seconds: float = PATIENCE) -> str:
        """The event that an entry became in the client's room."""

        async def look() -> str | None:
            return await self.world.pool.fetchval(
                "SELECT event_id FROM delivery WHERE entry_id = $1 AND state = 'sent'", entry
            )

        return await until(look, seconds=seconds, what="a delivery")

    async def face(self) -> str:
        """The Matrix user that stands for the therapist."""
        return str(await face_of(self.world, self.therapist))

    async def leg(self, column: str) -> Any:
        return await self.world.pool.fetchval(
            f"SELECT {column} FROM leg WHERE conversation_id = $1", self.conversation
        )


async def face_of(world: World, therapist: Person) -> str | None:
    return await world.pool.fetchval("SELECT user_id FROM puppet WHERE person_id = $1", therapist.id)


async def a_talk(world: World, kind: str = "nio") -> Talk:
    """A client who has signed in (`nio` or `element`) and a therapist who hasn't written yet."""
    therapist, client = await world.therapist(), await world.client()
    conversation = await world.open(therapist, client)
    app = await (world.nio(client) if kind == "nio" else world.element(client))
    face = await face_of(world, therapist)
    room = await app.room_with(lambda seen: seen.membership == "join" and face in seen.joined(), PATIENCE)
    return Talk(world, therapist, client, conversation, app, room.id)
