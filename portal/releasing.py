"""Releasing what waits for a client whose security details have changed: asked first, by the details shown.

The question carries which details it is about. Should they have changed again meanwhile, nothing is released,
and the question is asked anew with what holds now.
"""

from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, Response, g, request

from bridge import conversations, identities
from bridge.database import transaction
from bridge.errors import Invalid
from bridge.identities import Offered
from policies.vocabulary import ConversationId
from portal.chat import html
from portal.naming import listed
from portal.present import SOMEBODY
from portal.security import signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("releasing", __name__)


@blueprint.get("/chat/<uuid:conversation>/release")
@signed_in
async def ask(conversation: UUID) -> Response:
    return await _question(ConversationId(conversation))


async def _question(conversation: ConversationId, warning: str = "") -> Response:
    wired = services()
    async with transaction(wired.pool) as tx:
        held = await identities.offered(tx, actor=g.me.id, conversation=conversation)
        found = await conversations.one(tx, wired.keyring, g.me.id, conversation)
    names = {person.id: person.name.full for person in found.others}
    whom = listed([names.get(one.person_id, SOMEBODY) for one in held])
    return html(
        render(
            "parts/ask.html",
            action=f"/chat/{conversation}/release",
            title=f"Is this still {whom}?" if len(held) == 1 else "Are these still the same people?",
            said=[
                f"The chat app of {whom} was set up anew, for example on a new phone; or somebody else has "
                "got into the account. Please ask them, best by phone, before you release.",
                "What has been waiting goes out as soon as you release it.",
            ],
            facts=[_fact(one, names.get(one.person_id, SOMEBODY), alone=len(held) == 1) for one in held],
            hidden={"seen": ",".join(one.mark for one in held)},
            warning=warning,
            closes=True,
            says=f"Released. What was waiting for {whom} is on its way.",
            verb="Release",
            warn=True,
        )
    )


def _fact(one: Offered, name: str, *, alone: bool) -> tuple[str, str]:
    """A new code each time that the app is set up anew."""
    return ("Code of the new security details" if alone else name), one.code


@blueprint.post("/chat/<uuid:conversation>/release")
@signed_in
async def release(conversation: UUID) -> Response:
    """Somebody has made sure that it is still the same client: what was held goes out."""
    given, wired = await request.form, services()
    try:
        async with transaction(wired.pool) as tx:
            await identities.release(
                tx,
                wired.keyring,
                actor=g.me.id,
                conversation=ConversationId(conversation),
                seen=given.get("seen", "").split(","),
                at=datetime.now(UTC),
            )
    except Invalid as refused:
        if refused.code != identities.CHANGED_AGAIN:
            raise
        return await _question(ConversationId(conversation), refused.message)
    return Response(status=204)
