"""Whom one may choose, by name: clients, groups of clients, colleagues (C3, C4).

Who can't be reached at all is shown with the reason and can't be chosen; who can't be reached alone may still
take part in a community chat. What a page chose is asked anew when it is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quart import Blueprint, Response, g, request

from bridge import blasts, chat_settings, client_groups, people
from bridge.communities import EVERYBODY
from bridge.database import Transaction, transaction
from bridge.people import Kind
from bridge.sealing import Keyring
from policies import access
from policies.access import Action
from policies.searching import folded_words, matches
from policies.vocabulary import ConversationKind, Person, PersonId, Role
from portal import present, views
from portal.chat import html
from portal.security import identity, signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("choosing", __name__)

AT_ONCE = 60
ALL = "all"


@dataclass(frozen=True, slots=True)
class Offer:
    """One page of the list. `more`: where the next one begins."""

    packs: tuple[views.Pack, ...] = ()
    clients: tuple[views.Choice, ...] = ()
    staff: tuple[views.Choice, ...] = ()
    more: int | None = None


@blueprint.post("/people")
@signed_in
async def search() -> Response:
    given, wired = await request.form, services()
    query, offset = given.get("query", "")[:100], max(given.get("offset", 0, type=int) or 0, 0)
    async with transaction(wired.pool) as tx:
        offer = await everybody(tx, wired.keyring, g.me, query, offset)
    return shown(offer, query, offset, "/people")


def shown(offer: Offer, query: str, offset: int, address: str) -> Response:
    return html(
        render("parts/people.html", offer=offer, query=query, first=not offset, address=address, all_id=ALL)
    )


async def everybody(tx: Transaction, keyring: Keyring, actor: Person, query: str, offset: int) -> Offer:
    """For "New": groups first, then clients by name, colleagues at the end."""
    may_clients = bool(access.decide(Action.START_DIRECT, actor.role))
    found = (
        await people.search(tx, keyring, actor, query, limit=AT_ONCE + 1, offset=offset)
        if may_clients
        else []
    )
    clients, more = found[:AT_ONCE], len(found) > AT_ONCE
    staff = (
        []
        if more
        else await people.search(tx, keyring, actor, query, kinds=frozenset({Kind.STAFF}), limit=EVERYBODY)
    )
    return Offer(
        await _packs(tx, keyring, actor, query) if may_clients and not offset else (),
        await _clients(tx, keyring, clients),
        tuple(present.choice(person) for person in staff),
        offset + AT_ONCE if more else None,
    )


async def _clients(tx: Transaction, keyring: Keyring, found: Sequence[Person]) -> tuple[views.Choice, ...]:
    ids = [person.id for person in found]
    alone = await chat_settings.barred(tx, keyring, ids, ConversationKind.DIRECT)
    together = await chat_settings.barred(tx, keyring, ids, ConversationKind.COMMUNITY)

    def one(person: Person) -> views.Choice:
        why_alone = alone[person.id].words if person.id in alone else ""
        why_not = why_alone if person.id in alone and person.id in together else ""
        return present.choice(person, why_not, why_alone)

    return tuple(one(person) for person in found)


async def _packs(tx: Transaction, keyring: Keyring, actor: Person, query: str) -> tuple[views.Pack, ...]:
    """Everybody at once, and the groups with their members whom this person may write to.

    Who "everybody" is has to be looked up only where it is shown, or decides which groups are.
    """
    wanted, own_only = folded_words(query), actor.role is Role.THERAPIST
    name = "All my active clients" if own_only else "All active clients"
    shows_all = matches(wanted, folded_words(name))
    candidates = await blasts.candidates(tx, keyring, actor) if shows_all or own_only else []
    open_to = sum(1 for candidate in candidates if candidate.refusal is None)
    found = [views.Pack(ALL, name, open_to)] if shows_all and open_to > 1 else []
    theirs = {candidate.person.id for candidate in candidates} if own_only else None
    for group in await client_groups.offered(tx, keyring, theirs):
        if matches(wanted, folded_words(group.name)):
            found.append(views.Pack(str(group.id), group.name, len(group.members), tuple(group.members)))
    return tuple(found)


async def selected(
    tx: Transaction, keyring: Keyring, actor: Person, given: Mapping[str, str]
) -> list[PersonId]:
    """The people whom a page's form names: `people`, one by one; with `all` every client who can be written
    to, but for `without`."""
    chosen = dict.fromkeys(ids(given.get("people", "")))
    if given.get("all") == "1":
        without = set(ids(given.get("without", "")))
        for candidate in await blasts.candidates(tx, keyring, actor):
            if candidate.refusal is None and candidate.person.id not in without:
                chosen[candidate.person.id] = None
    return list(chosen)


def ids(listed: str) -> list[PersonId]:
    """Of what a page listed, what is an id."""
    found = (identity(part) for part in listed.split(",") if part)
    return [PersonId(one) for one in found if one is not None]
