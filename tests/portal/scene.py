"""One conversation, who is in it, and somebody who isn't: what tests of single requests stand on."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quart import Quart
from quart.typing import TestClientProtocol

from bridge.database import Pool
from policies.vocabulary import ConversationId, EntryId, Person
from portal.app import create_app
from tests.portal.stage import COOKIE, Cast, settings


@dataclass
class Visit:
    """Somebody's browser, without the browser."""

    client: TestClientProtocol
    csrf: str

    async def get(self, path: str, fragment: bool = False) -> tuple[int, str]:
        answer = await self.client.get(path, headers={"HX-Request": "true"} if fragment else {})
        return answer.status_code, await answer.get_data(as_text=True)

    async def post(self, path: str, **form: str) -> tuple[int, str]:
        headers = {"X-CSRF-Token": self.csrf, "HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
        answer = await self.client.post(path, form=form, headers=headers)
        return answer.status_code, await answer.get_data(as_text=True)


@dataclass
class Scene:
    app: Quart
    cast: Cast
    sara: Person
    amina: Person
    charlie: Person
    thread: ConversationId
    entry: EntryId

    async def visit(self, person: Person) -> Visit:
        client = self.app.test_client()
        client.set_cookie("localhost", COOKIE, await self.cast.session(person))
        page = await (await client.get("/chat?list")).get_data(as_text=True)
        found = re.search(r'data-csrf="([^"]+)"', page)
        assert found
        return Visit(client, found[1])


@asynccontextmanager
async def running_scene(pool: Pool, database_url: str) -> AsyncIterator[Scene]:
    """Sara's conversation with Amina; Charlie is another therapist."""
    cast = Cast(pool)
    sara, charlie = await cast.therapist(), await cast.therapist("Charlie", "Brown")
    amina = await cast.client(of=sara)
    thread = await cast.thread(sara, amina)
    entry = await cast.say(sara, thread, "For nobody else")
    app = create_app(settings(database_url), pool)
    async with app.test_app():
        yield Scene(app, cast, sara, amina, charlie, thread, entry)
