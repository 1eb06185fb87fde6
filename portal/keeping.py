"""What a member does with a conversation as a whole: put it away, mute it, leave it; the organiser closes it.

Putting away and muting are one's own and can be undone; leaving and closing are asked first (C13, C15, N2).
"""

from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, Response, g, request

from bridge import archiving, conversations, notifications, roster
from bridge.database import transaction
from bridge.errors import NotAllowed
from bridge.standing import allowed
from policies.access import Action
from policies.vocabulary import ConversationId
from portal.around import clients_of
from portal.chat import html
from portal.security import Answer, signed_in
from portal.services import services
from portal.starting import made
from portal.templating import render

blueprint = Blueprint("keeping", __name__)


@blueprint.post("/chat/<uuid:conversation>/archive")
@signed_in
async def archive(conversation: UUID) -> Response:
    away = (await request.form).get("away", "1") == "1"
    async with transaction(services().pool) as tx:
        await archiving.archive(
            tx, actor=g.me.id, conversation=ConversationId(conversation), at=datetime.now(UTC), away=away
        )
    return Response(status=204)


@blueprint.post("/chat/<uuid:conversation>/notifications")
@signed_in
async def mute(conversation: UUID) -> Response:
    on = (await request.form).get("on") == "1"
    async with transaction(services().pool) as tx:
        await notifications.mute(tx, actor=g.me.id, conversation=ConversationId(conversation), muted=not on)
    return Response(status=204)


@blueprint.get("/chat/<uuid:conversation>/leave")
@signed_in
async def ask_to_leave(conversation: UUID) -> Response:
    async with transaction(services().pool) as tx:
        await allowed(tx, g.me.id, conversation, Action.LEAVE)
    return html(
        render(
            "parts/ask.html",
            action=f"/chat/{conversation}/leave",
            title="Leave this conversation?",
            said=[
                "You can’t open it any more, nor find it. What you wrote stays for the others.",
                "Whoever started it can add you again; you would read what is written from then on.",
            ],
            verb="Leave",
            warn=True,
        )
    )


@blueprint.post("/chat/<uuid:conversation>/leave")
@signed_in
async def leave(conversation: UUID) -> Answer:
    wired = services()
    async with transaction(wired.pool) as tx:
        await roster.leave(
            tx, wired.keyring, person=g.me.id, conversation=ConversationId(conversation), at=datetime.now(UTC)
        )
    return made("/chat")


@blueprint.get("/chat/<uuid:conversation>/close")
@signed_in
async def ask_to_close(conversation: UUID) -> Response:
    wired = services()
    async with transaction(wired.pool) as tx:
        await allowed(tx, g.me.id, conversation, Action.CLOSE)
        found = await conversations.one(tx, wired.keyring, g.me.id, ConversationId(conversation))
    clients = clients_of(found)
    if not clients:
        told = "Everybody can still read it, and nobody can write in it any more."
    elif len(clients) == 1:
        name = clients[0].name.first or clients[0].name.full
        told = f"{name} is told, and can still read it. Nobody can write in it any more."
    else:
        told = f"{len(clients)} clients are told, and can still read it. Nobody can write in it any more."
    return html(
        render(
            "parts/ask.html",
            action=f"/chat/{conversation}/close",
            title="Close this conversation for everybody?",
            said=[told, "A closed conversation can’t be opened again."],
            verb="Close conversation",
            warn=True,
        )
    )


@blueprint.post("/chat/<uuid:conversation>/close")
@signed_in
async def close(conversation: UUID) -> Response:
    """Closed is closed: the same request again has nothing to do."""
    wired = services()
    try:
        async with transaction(wired.pool) as tx:
            await roster.close(
                tx, wired.keyring, actor=g.me.id, conversation=ConversationId(conversation),
                at=datetime.now(UTC),
            )  # fmt: skip
    except NotAllowed as refused:
        if refused.code != "already_closed":
            raise
    return Response(status=204)
