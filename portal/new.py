"""New: whom one may write to, and the thread with them. One client has one thread with each of us (C2)."""

from datetime import UTC, datetime

from quart import Blueprint, Response, g, redirect, request

from bridge import participants, people
from bridge.database import transaction
from bridge.errors import NotAllowed, NotFound
from policies import access
from policies.access import Action
from policies.vocabulary import PersonId, Refusal
from portal import present
from portal.chat import html
from portal.security import Answer, identity, signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("new", __name__)

AT_ONCE = 60


@blueprint.post("/people")
@signed_in
async def search() -> Response:
    given, wired = await request.form, services()
    query, offset = given.get("query", "")[:100], given.get("offset", 0, type=int)
    async with transaction(wired.pool) as tx:
        found = await people.search(
            tx, wired.keyring, g.me, query, limit=AT_ONCE + 1, offset=max(offset or 0, 0)
        )
    choices = [present.choice(person) for person in found[:AT_ONCE]]
    more = (offset or 0) + AT_ONCE if len(found) > AT_ONCE else None
    return html(render("parts/people.html", people=choices, query=query, more=more, first=not offset))


@blueprint.post("/chat/new")
@signed_in
async def start() -> Answer:
    """Opens the thread with this client, and makes it the first time."""
    verdict = access.decide(Action.START_DIRECT, g.me.role)
    if isinstance(verdict, Refusal):
        raise NotAllowed(verdict.code, verdict.words)
    person, wired = identity((await request.form).get("person", "")), services()
    if person is None:
        raise NotFound
    async with transaction(wired.pool) as tx:
        if not await people.may_write_to(tx, g.me, PersonId(person)):
            raise NotFound
        conversation, _ = await participants.open_direct(
            tx, wired.keyring, therapist=g.me.id, client=PersonId(person), at=datetime.now(UTC)
        )
    return redirect(f"/chat/{conversation}", 303)
