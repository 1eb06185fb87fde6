"""The chat's two switches at their three levels, and what is in force for one client and why (P5).

Everybody of the team sees it; Client Care and administrators change it. Switching off is asked first, with
the number of clients whom it reaches.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from quart import Blueprint, Response, abort, g, request

from bridge import chat_settings, client_groups, people
from bridge.chat_settings import Setting
from bridge.communities import EVERYBODY
from bridge.database import Transaction, transaction
from bridge.errors import NotFound
from bridge.sealing import Keyring
from policies import access
from policies import chat_settings as rules
from policies.access import Action
from policies.chat_settings import InForce, Level, Switch
from policies.vocabulary import Person, PersonId
from portal import present
from portal.chat import html
from portal.naming import disc
from portal.security import Answer, identity, require, signed_in
from portal.services import services
from portal.starting import made
from portal.templating import render
from portal.views import Disc

blueprint = Blueprint("switches", __name__)

FOUND = 8
NAMES = {Switch.DIRECT_MESSAGING: "Direct messaging", Switch.COMMUNITY_CHAT: "Community chat"}


@dataclass(frozen=True, slots=True)
class SwitchName:
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One switch of one subject. `set`: what is set there itself, None for nothing; `on`: what holds."""

    switch: SwitchName
    set: bool | None
    on: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    id: UUID
    name: str
    settings: tuple[Shown, ...]
    disc: Disc
    count: int = 0
    what: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    may_change: bool
    everyone: tuple[Shown, ...]
    groups: tuple[Subject, ...]
    exceptions: tuple[Subject, ...]
    client: Subject | None


@blueprint.get("/settings/chat")
@signed_in
async def chat() -> Response:
    require(Action.VIEW_SETTINGS)
    wired, client = services(), identity(request.args.get("client", ""))
    async with transaction(wired.pool) as tx:
        page = await _page(tx, wired.keyring, client)
    return html(
        render("chat_settings.html", me=present.me(g.me), csrf=g.session.csrf, page=page, place="/settings")
    )


@blueprint.post("/settings/chat/clients")
@signed_in
async def clients() -> Response:
    require(Action.VIEW_SETTINGS)
    query, wired = (await request.form).get("query", "")[:100], services()
    async with transaction(wired.pool) as tx:
        found = await people.search(tx, wired.keyring, g.me, query, limit=FOUND) if query.strip() else []
    shown = [present.choice(person) for person in found]
    return html(render("parts/setting_clients.html", clients=shown, query=query))


@blueprint.get("/settings/chat/off")
@signed_in
async def ask_to_switch_off() -> Response:
    """How many it reaches, and what it means for them."""
    require(Action.CHANGE_SETTINGS)
    wired, (switch, level, subject) = services(), _meant(request.args)
    async with transaction(wired.pool) as tx:
        name, concerned = await _concerned(tx, wired.keyring, level, subject)
        holding = await chat_settings.in_force(tx, wired.keyring, concerned, switch)
    nearer = {Level.EVERYONE: (Level.GROUP, Level.CLIENT), Level.GROUP: (Level.CLIENT,), Level.CLIENT: ()}
    kept = sum(1 for one in holding.values() if one.on and one.level in nearer[level])
    off = sum(1 for one in holding.values() if one.on) - kept
    return html(
        render(
            "parts/ask.html",
            action="/settings/chat",
            title=f"Switch {NAMES[switch].lower()} off for {name}?",
            said=_what_off_means(switch, level, off, kept),
            hidden={"switch": switch, "level": level, "subject": subject or "", "on": "0"},
            verb="Switch off",
            warn=True,
        )
    )


def _what_off_means(switch: Switch, level: Level, off: int, kept: int) -> list[str]:
    if level is not Level.CLIENT and not off:
        return ["No client is reached by this now. It will hold for those who come later."]
    who = "They keep" if level is Level.CLIENT else f"{_clients(off)} {'keeps' if off == 1 else 'keep'}"
    said = [
        f"{who} what they could read, and nothing new reaches them from now on. What they write reaches "
        "nobody, and they are told so kindly."
    ]
    if kept:
        said.append(f"{_clients(kept)} {'keeps' if kept == 1 else 'keep'} it on, by a nearer setting.")
    return said


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


@blueprint.post("/settings/chat")
@signed_in
async def change() -> Answer:
    """Set, or (`on` empty) take the setting away again. The same once more changes nothing."""
    require(Action.CHANGE_SETTINGS)
    given, wired = await request.form, services()
    switch, level, subject = _meant(given)
    if given.get("on", "") not in ("", "0", "1") or (level is Level.EVERYONE and not given.get("on")):
        abort(400)
    on = given["on"] == "1" if given.get("on") else None
    async with transaction(wired.pool) as tx:
        await _concerned(tx, wired.keyring, level, subject)
        await chat_settings.change(tx, actor=g.me.id, switch=switch, level=level, subject=subject, on=on)
    return made(f"/settings/chat?client={subject}#client" if level is Level.CLIENT else "/settings/chat")


def _meant(given: Mapping[str, str]) -> tuple[Switch, Level, UUID | None]:
    """What no page of ours asked for is a bad request."""
    try:
        switch, level = Switch(given.get("switch", "")), Level(given.get("level", ""))
    except ValueError:
        abort(400)
    subject = identity(given.get("subject", ""))
    if (subject is None) is not (level is Level.EVERYONE):
        abort(400)
    return switch, level, subject


async def _concerned(
    tx: Transaction, keyring: Keyring, level: Level, subject: UUID | None
) -> tuple[str, list[PersonId]]:
    """Whom a setting is for, by name, and the clients in it. Raises NotFound."""
    if level is Level.EVERYONE or subject is None:
        found = await people.search(tx, keyring, g.me, "", limit=EVERYBODY)
        return "everyone", [person.id for person in found]
    if level is Level.GROUP:
        names = await client_groups.names(tx, keyring)
        if subject not in names:
            raise NotFound
        return f"“{names[subject]}”", await client_groups.members(tx, subject)
    if not await people.may_write_to(tx, g.me, PersonId(subject)):
        raise NotFound
    person = await people.get(tx, keyring, PersonId(subject))
    return person.name.full, [person.id]


async def _page(tx: Transaction, keyring: Keyring, client: UUID | None) -> Page:
    """What this reader may see: a therapist their own clients' part of it."""
    own = {person.id: person for person in await people.search(tx, keyring, g.me, "", limit=EVERYBODY)}
    found = await chat_settings.all_set(tx)
    everyone = {one.switch: one.on for one in found if one.level is Level.EVERYONE}
    groups = await client_groups.offered(tx, keyring, own)
    return Page(
        bool(access.decide(Action.CHANGE_SETTINGS, g.me.role)),
        tuple(
            Shown(_name(switch), everyone.get(switch, True), everyone.get(switch, True)) for switch in Switch
        ),
        tuple(
            Subject(
                group.id,
                group.name,
                tuple(_shown(found, Level.GROUP, group.id, switch, everyone) for switch in Switch),
                Disc.of(group.id, ""),
                len(group.members),
            )
            for group in groups
        ),
        tuple(_exceptions(found, own)),
        await _client(tx, keyring, found, own.get(PersonId(client))) if client else None,
    )


def _name(switch: Switch) -> SwitchName:
    return SwitchName(switch.value, NAMES[switch])


def _set(found: Iterable[Setting], level: Level, subject: UUID, switch: Switch) -> bool | None:
    return next(
        (one.on for one in found if (one.level, one.subject_id, one.switch) == (level, subject, switch)),
        None,
    )


def _shown(
    found: Iterable[Setting], level: Level, subject: UUID, switch: Switch, everyone: Mapping[Switch, bool]
) -> Shown:
    here = _set(found, level, subject, switch)
    return Shown(_name(switch), here, everyone.get(switch, True) if here is None else here)


def _exceptions(found: Sequence[Setting], own: Mapping[PersonId, Person]) -> list[Subject]:
    by_client: dict[PersonId, list[Setting]] = {}
    for one in found:
        if one.level is Level.CLIENT and one.subject_id is not None and one.subject_id in own:
            by_client.setdefault(PersonId(one.subject_id), []).append(one)
    shown = [
        Subject(
            client,
            own[client].name.full,
            (),
            disc(own[client]),
            what=", ".join(f"{NAMES[one.switch]} {'on' if one.on else 'off'}" for one in ones),
        )
        for client, ones in by_client.items()
    ]
    return sorted(shown, key=lambda subject: subject.name.casefold())


async def _client(
    tx: Transaction, keyring: Keyring, found: Sequence[Setting], client: Person | None
) -> Subject | None:
    if client is None:
        return None
    shown = []
    for switch in Switch:
        holds: InForce = (await chat_settings.in_force(tx, keyring, [client.id], switch))[client.id]
        here = _set(found, Level.CLIENT, client.id, switch)
        shown.append(Shown(_name(switch), here, holds.on, rules.why(switch, holds)))
    return Subject(client.id, client.name.full, tuple(shown), disc(client))
