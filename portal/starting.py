"""What follows the choice of people: a thread, a staff chat, a community chat, a message blast (C2, C3).

What concerns several clients is confirmed with the number and every name before it begins (C5, C6); the
page's own id of this act makes a repeated request the same one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, Response, g, redirect, request

from bridge import blasts, chat_settings, communities, participants, people
from bridge.database import transaction
from bridge.errors import Invalid, NotFound
from policies.access import Action
from policies.content import MAX_TEXT, MAX_TITLE, check_title
from policies.vocabulary import ConversationKind, Person, PersonId, Refusal
from portal import choosing, present
from portal.bodies import words
from portal.chat import html
from portal.security import Answer, identity, is_fragment, require, signed_in
from portal.services import services
from portal.templating import render
from portal.writing import composed

blueprint = Blueprint("starting", __name__)


def made(address: str) -> Answer:
    """The page goes there; a browser without our script is sent there."""
    if is_fragment():
        return Response("", 201, headers={"Location": address})
    return redirect(address, 303)


def act_of(given: Mapping[str, str]) -> UUID | None:
    """The page's id of one act: the same act again has the same outcome."""
    return identity(given.get("request_id", ""))


@blueprint.post("/chat/new")
@signed_in
async def direct() -> Answer:
    """The thread with this client, made the first time: one client has one thread with each of us."""
    require(Action.START_DIRECT)
    client, wired = identity((await request.form).get("person", "")), services()
    if client is None:
        raise NotFound
    async with transaction(wired.pool) as tx:
        if not await people.may_write_to(tx, g.me, PersonId(client)):
            raise NotFound
        conversation, _ = await participants.open_direct(
            tx, wired.keyring, therapist=g.me.id, client=PersonId(client), at=datetime.now(UTC)
        )
    return made(f"/chat/{conversation}")


@blueprint.post("/new/staff")
@signed_in
async def staff_chat() -> Answer:
    """The one chat of two colleagues; a new one for several (C1)."""
    given, wired = await request.form, services()
    async with transaction(wired.pool) as tx:
        chosen = await communities.chosen(tx, wired.keyring, g.me, choosing.ids(given.get("people", "")))
        conversation, _ = await participants.open_staff(
            tx, wired.keyring, actor=g.me.id, others=[one.id for one in chosen], at=datetime.now(UTC),
            request_id=act_of(given),
        )  # fmt: skip
    return made(f"/chat/{conversation}")


@blueprint.post("/new/community/preview")
@signed_in
async def community_preview() -> Response:
    """Who would be in it, and the question whether they know of each other."""
    given, wired = await request.form, services()
    async with transaction(wired.pool) as tx:
        chosen = await choosing.selected(tx, wired.keyring, g.me, given)
        preview = await communities.preview(tx, wired.keyring, g.me, chosen)
    return html(
        render(
            "parts/new_community.html",
            members=[present.choice(one) for one in preview.members],
            left_out=preview.left_out,
            refusal=preview.refusal,
            clients=preview.clients,
            must_be_told=preview.must_be_told,
            title_limit=MAX_TITLE,
        )
    )


@blueprint.post("/new/community")
@signed_in
async def community() -> Answer:
    given, wired = await request.form, services()
    async with transaction(wired.pool) as tx:
        conversation = await communities.start(
            tx,
            wired.keyring,
            actor=g.me,
            others=choosing.ids(given.get("people", "")),
            told=given.get("told") == "1",
            title=given.get("title", ""),
            at=datetime.now(UTC),
            request_id=act_of(given),
        )
    return made(f"/chat/{conversation}")


@blueprint.post("/new/blast")
@signed_in
async def compose_blast() -> Response:
    """Its words, and who gets it: each can be taken out again."""
    given, wired = await request.form, services()
    async with transaction(wired.pool) as tx:
        chosen = await choosing.selected(tx, wired.keyring, g.me, given)
        found = await communities.chosen(tx, wired.keyring, g.me, chosen)
        clients = [one for one in found if not one.role.is_staff]
        barred = await chat_settings.barred(
            tx, wired.keyring, [one.id for one in clients], ConversationKind.BLAST
        )
    recipients = [present.choice(one) for one in clients if one.id not in barred]
    return html(
        render(
            "parts/new_blast.html",
            recipients=recipients,
            skipped=[skipped_words(one, barred[one.id]) for one in clients if one.id in barred],
            title_limit=MAX_TITLE,
            limit=MAX_TEXT,
        )
    )


def skipped_words(client: Person, why: Refusal) -> str:
    return f"{why.words.removesuffix('.')}, so this blast will skip {client.name.first or 'them'}."


@blueprint.post("/new/blast/preview")
@signed_in
async def blast_preview() -> Response:
    """The number, every name and the message as it will look, before anything goes out."""
    given, wired = await request.form, services()
    content, title = composed(given.get("text", "")), check_title(given.get("title", ""))
    if isinstance(title, Refusal):
        raise Invalid(title.code, title.words)
    async with transaction(wired.pool) as tx:
        found = await communities.chosen(tx, wired.keyring, g.me, choosing.ids(given.get("people", "")))
    if not found:
        raise Invalid("recipients", "Nobody is left to write to. Please choose at least one client.")
    return html(
        render(
            "parts/new_blast_preview.html",
            recipients=[present.choice(one) for one in found],
            title=title,
            text=content.body,
            typed=given.get("text", ""),
            words=words(content),
        )
    )


@blueprint.post("/blasts")
@signed_in
async def send_blast() -> Answer:
    given, wired = await request.form, services()
    recipients: list[PersonId] = choosing.ids(given.get("people", ""))
    async with transaction(wired.pool) as tx:
        blast = await blasts.send(
            tx,
            wired.keyring,
            actor=g.me.id,
            clients=recipients,
            content=composed(given.get("text", "")),
            title=given.get("title", ""),
            at=datetime.now(UTC),
            request_id=act_of(given),
        )
    return made(f"/blasts/{blast}")
