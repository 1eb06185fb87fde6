"""The members panel: who is added, who is removed, after a question that says what will happen (C10, C11).

Only the organiser changes a roster; what `bridge.roster` refuses comes back in its words.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, Response, g, request

from bridge import chat_settings, communities, conversations, copies, participants, people, roster
from bridge.conversations import Row
from bridge.database import Transaction, transaction
from bridge.errors import Invalid, NotAllowed, NotFound
from bridge.people import Kind
from bridge.sealing import Keyring
from bridge.standing import allowed
from policies.access import Action
from policies.vocabulary import ConversationId, ConversationKind, Person, PersonId
from portal import choosing, present
from portal.around import clients_of
from portal.chat import html
from portal.choosing import Offer
from portal.naming import listed
from portal.security import signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("members", __name__)

DONE = 204


@blueprint.get("/chat/<uuid:conversation>/members/add")
@signed_in
async def choose(conversation: UUID) -> Response:
    async with transaction(services().pool) as tx:
        await allowed(tx, g.me.id, conversation, Action.ADD_MEMBER)
    return html(render("parts/add_members.html", talk_id=conversation))


@blueprint.post("/chat/<uuid:conversation>/members/offered")
@signed_in
async def offered(conversation: UUID) -> Response:
    given, wired = await request.form, services()
    query, offset = given.get("query", "")[:100], max(given.get("offset", 0, type=int) or 0, 0)
    async with transaction(wired.pool) as tx:
        await allowed(tx, g.me.id, conversation, Action.ADD_MEMBER)
        found = await conversations.one(tx, wired.keyring, g.me.id, ConversationId(conversation))
        offer = await _offer(tx, wired.keyring, found, query, offset)
    return choosing.shown(offer, query, offset, f"/chat/{conversation}/members/offered")


async def _offer(tx: Transaction, keyring: Keyring, found: Row, query: str, offset: int) -> Offer:
    """Whom this kind of conversation has room for, and who isn't in it."""
    search = people.search
    inside = {person.id for person in found.others}
    staff = await search(tx, keyring, g.me, query, kinds=frozenset({Kind.STAFF}), limit=communities.EVERYBODY)
    clients: Sequence[Person] = ()
    if _takes_clients(found):
        clients = await search(tx, keyring, g.me, query, limit=communities.EVERYBODY)
        # The one client of a thread may come back to it; nobody else may.
        if found.kind is not ConversationKind.COMMUNITY:
            clients = [person for person in clients if person in found.former]
    outside = [person for person in clients if person.id not in inside]
    page = outside[offset : offset + choosing.AT_ONCE]
    more = offset + choosing.AT_ONCE < len(outside)
    barred = await chat_settings.barred(tx, keyring, [person.id for person in page], found.kind)
    return Offer(
        clients=tuple(
            present.choice(person, barred[person.id].words if person.id in barred else "") for person in page
        ),
        staff=() if more else tuple(present.choice(p) for p in staff if p.id not in inside),
        more=offset + choosing.AT_ONCE if more else None,
    )


def _takes_clients(found: Row) -> bool:
    if found.kind is ConversationKind.COMMUNITY:
        return True
    return found.kind in (ConversationKind.DIRECT, ConversationKind.BLAST) and not clients_of(found)


@blueprint.post("/chat/<uuid:conversation>/members/preview")
@signed_in
async def preview(conversation: UUID) -> Response:
    """Who would come, and from when on they read."""
    people = choosing.ids((await request.form).get("people", ""))
    return await _ask_to_add(ConversationId(conversation), people, back="Back")


@blueprint.get("/chat/<uuid:conversation>/members/<uuid:person>/add")
@signed_in
async def ask_to_add_again(conversation: UUID, person: UUID) -> Response:
    """Somebody who was in it before; what they had before stays away from them."""
    return await _ask_to_add(ConversationId(conversation), [PersonId(person)], back="Cancel")


async def _ask_to_add(conversation: ConversationId, people: Sequence[PersonId], *, back: str) -> Response:
    wired = services()
    async with transaction(wired.pool) as tx:
        await allowed(tx, g.me.id, conversation, Action.ADD_MEMBER)
        found = await conversations.one(tx, wired.keyring, g.me.id, conversation)
        chosen = await communities.chosen(tx, wired.keyring, g.me, people)
    if not chosen:
        raise Invalid("nobody", "Choose at least one person to add.")
    names = [person.name.full for person in chosen]
    clients = [person for person in chosen if not person.role.is_staff]
    together = len(clients_of(found)) + len(clients)
    said = [f"{listed(names)} can read what is written from now on, and nothing from before."]
    if clients and found.kind is ConversationKind.COMMUNITY:
        said.append("Clients see each other’s initials only.")
    return html(
        render(
            "parts/ask.html",
            action=f"/chat/{conversation}/members",
            title=f"Add {names[0]}?" if len(names) == 1 else f"Add {len(names)} people?",
            said=said,
            people=[present.choice(person) for person in chosen],
            tick=_tick(clients) if clients and together > 1 else "",
            verb="Add" if len(names) == 1 else f"Add {len(names)} people",
            back=back,
            says=f"{listed(names)} {'has' if len(names) == 1 else 'have'} been added.",
            warn=False,
        )
    )


def _tick(clients: Sequence[Person]) -> str:
    if len(clients) == 1:
        return f"I have told {clients[0].name.full}, and the clients who are in it, that others take part."
    return (
        f"I have told each of these {len(clients)} clients, and those who are in it, that others take part."
    )


@blueprint.post("/chat/<uuid:conversation>/members")
@signed_in
async def add(conversation: UUID) -> Response:
    """All of them or none; who is in it already stays."""
    given, wired = await request.form, services()
    where, now = ConversationId(conversation), datetime.now(UTC)
    async with transaction(wired.pool) as tx:
        await allowed(tx, g.me.id, conversation, Action.ADD_MEMBER)
        found = await conversations.one(tx, wired.keyring, g.me.id, where)
        inside = {person.id for person in found.others}
        chosen = await communities.chosen(tx, wired.keyring, g.me, choosing.ids(given.get("people", "")))
        for person in chosen:
            if person.id not in inside:
                await roster.add(
                    tx, wired.keyring, actor=g.me.id, conversation=where, person=person.id, at=now,
                    told=given.get("told") == "1",
                )  # fmt: skip
    return Response(status=DONE)


@blueprint.get("/chat/<uuid:conversation>/members/<uuid:person>/remove")
@signed_in
async def ask_to_remove(conversation: UUID, person: UUID) -> Response:
    wired = services()
    async with transaction(wired.pool) as tx:
        count = await copies.held_by(tx, g.me.id, ConversationId(conversation), PersonId(person))
        found = await conversations.one(tx, wired.keyring, g.me.id, ConversationId(conversation))
    member = next((one for one in found.others if one.id == person), None)
    if member is None:
        raise NotFound
    return html(
        render(
            "parts/ask.html",
            action=f"/chat/{conversation}/members/{person}/remove",
            title=f"Remove {member.name.full}?",
            said=_what_removal_does(found, member, count),
            says=f"{member.name.full} has been removed."
            if member.role.is_staff
            else f"{member.name.full} has been removed. Details show how far their copy has been taken back.",
            verb=f"Remove {member.name.first or member.name.full}",
            warn=True,
        )
    )


def _what_removal_does(found: Row, member: Person, count: int) -> list[str]:
    name = member.name.first or member.name.full
    if member.role.is_staff:
        return [
            f"{name} can’t open this conversation any more, nor find it. What {name} wrote stays.",
            f"If you add {name} back, {name} reads what is written from then on.",
        ]
    messages = "1 message" if count == 1 else f"{count} messages"
    said = [
        f"This removes {messages} from {name}’s chat app, and nothing new reaches {name} from this moment on."
        if count
        else f"{name} has received nothing yet, and nothing new reaches {name} from this moment on.",
    ]
    if count:
        said.append(
            f"A phone or computer of {name}’s that is offline may still show what it loaded before, until it "
            "is online again. Under Details you see how far this has come."
        )
    if found.kind is ConversationKind.COMMUNITY and len(clients_of(found)) == 1:
        said.append(f"{name} is the last client in it, so the community chat closes for everybody.")
    return said


@blueprint.post("/chat/<uuid:conversation>/members/<uuid:person>/remove")
@signed_in
async def remove(conversation: UUID, person: UUID) -> Response:
    """Whoever is out already is out: the same request again has nothing to do."""
    wired = services()
    try:
        async with transaction(wired.pool) as tx:
            await roster.remove(
                tx, wired.keyring, actor=g.me.id, conversation=ConversationId(conversation),
                person=PersonId(person), at=datetime.now(UTC),
            )  # fmt: skip
    except NotAllowed as refused:
        if refused.code != "not_in":
            raise
    return Response(status=DONE)


@blueprint.post("/chat/<uuid:conversation>/members/<uuid:person>/invite")
@signed_in
async def invite_again(conversation: UUID, person: UUID) -> Response:
    """Back into the chat that they left in their app."""
    wired = services()
    async with transaction(wired.pool) as tx:
        await participants.invite_again(
            tx, wired.keyring, actor=g.me.id, conversation=ConversationId(conversation),
            person=PersonId(person), at=datetime.now(UTC),
        )  # fmt: skip
    return Response(status=DONE)
