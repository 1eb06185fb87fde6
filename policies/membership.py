"""Joining, leaving and ending: what each change of a roster causes, as a table.

A change is checked once and gives the list of effects that commit with it; nothing else may touch a roster
or a leg. Legs and masks exist for clients only: staff work in the portal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from policies.vocabulary import ConversationKind, Member, Person, PersonId, PersonStatus, Refusal

MAX_CLIENTS = 200
"""Clients of one community chat."""
MAX_MASKS_AT_ONCE = 25
"""Up to here every mask joins every leg at once; above it, when somebody first speaks."""


class Change(StrEnum):
    STARTED = "started"
    ADDED = "added"
    REMOVED = "removed"
    LEFT = "left"
    CLOSED = "closed"


class Effect(StrEnum):
    JOIN_ROSTER = "join_roster"
    END_MEMBERSHIP = "end_membership"
    OPEN_LEG = "open_leg"
    """Make the person's own room; they get what is said from now on (C12)."""
    SHOW_TO_OTHERS = "show_to_others"
    """Their mask or face joins every other leg."""
    HIDE_FROM_OTHERS = "hide_from_others"
    CANCEL_DELIVERIES = "cancel_deliveries"
    """Nothing more goes to them from this commit on."""
    REVOKE_LEG = "revoke_leg"
    """Redact, put out, wait for devices, delete media, purge (C11)."""
    END_LEG = "end_leg"
    """The room is given up; what the person has stays with them."""
    FREEZE_LEG = "freeze_leg"
    """Can be read, can't be written in (C15)."""
    CLOSE = "close"
    NOTICE = "notice"
    RECORD = "record"
    """Into the audit trail (S3)."""
    RECORD_TOLD = "record_told"
    """The therapist's confirmation that clients know of each other (C6)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One effect, on one person, or on the conversation (None)."""

    effect: Effect
    person: PersonId | None = None


E = Effect
# (what happened, is the person a client) → effects on that person. The order is the order of doing.
TABLE: Mapping[tuple[Change, bool], tuple[Effect, ...]] = {
    (Change.STARTED, True): (E.JOIN_ROSTER, E.OPEN_LEG, E.SHOW_TO_OTHERS),
    (Change.STARTED, False): (E.JOIN_ROSTER, E.SHOW_TO_OTHERS),
    (Change.ADDED, True): (E.JOIN_ROSTER, E.OPEN_LEG, E.SHOW_TO_OTHERS, E.NOTICE, E.RECORD),
    (Change.ADDED, False): (E.JOIN_ROSTER, E.SHOW_TO_OTHERS, E.NOTICE, E.RECORD),
    (Change.REMOVED, True): (
        E.END_MEMBERSHIP,
        E.CANCEL_DELIVERIES,
        E.HIDE_FROM_OTHERS,
        E.REVOKE_LEG,
        E.NOTICE,
        E.RECORD,
    ),
    (Change.REMOVED, False): (E.END_MEMBERSHIP, E.HIDE_FROM_OTHERS, E.NOTICE, E.RECORD),
    # Whoever leaves by themselves keeps what they have; there is nothing to take back.
    (Change.LEFT, True): (
        E.END_MEMBERSHIP,
        E.CANCEL_DELIVERIES,
        E.HIDE_FROM_OTHERS,
        E.END_LEG,
        E.NOTICE,
        E.RECORD,
    ),
    (Change.LEFT, False): (E.END_MEMBERSHIP, E.HIDE_FROM_OTHERS, E.NOTICE, E.RECORD),
    (Change.CLOSED, True): (E.FREEZE_LEG,),
    (Change.CLOSED, False): (),
}


@dataclass(frozen=True, slots=True)
class Group:
    """A conversation as far as its roster goes. ``roster`` has former members too."""

    kind: ConversationKind
    organiser: PersonId
    roster: Sequence[Member]
    closed: bool = False

    @property
    def current(self) -> dict[PersonId, Person]:
        return {member.person.id: member.person for member in self.roster if member.is_current}

    @property
    def clients(self) -> list[Person]:
        return [person for person in self.current.values() if not person.role.is_staff]


Outcome = tuple[Step, ...] | Refusal

_ONE_CLIENT = (ConversationKind.DIRECT, ConversationKind.BLAST)
_STAFF_ONLY = (ConversationKind.STAFF, ConversationKind.CLIENT_CARE)
_FOR_ONE = (ConversationKind.CLIENT_CARE, ConversationKind.LOBBY)
"""A Client Care group waits for its team; a lobby's other side is the assistant."""
CONFIRM_TOLD = Refusal(
    "confirm_told", "Please confirm first that every client has been told that others take part."
)


def _steps(change: Change, people: Sequence[Person]) -> tuple[Step, ...]:
    return tuple(
        Step(effect, person.id) for person in people for effect in TABLE[change, not person.role.is_staff]
    )


def _archived(person: Person) -> Refusal:
    if person.role.is_staff:
        return Refusal("archived", f"{person.name.full} no longer works here and can’t join.")
    return Refusal(
        "archived",
        f"{person.name.full} is archived and can’t join. A new booking makes them active again.",
    )


def _composition(kind: ConversationKind, clients: Sequence[Person], *, told: bool) -> Refusal | None:
    """Whether a conversation of this kind may have these clients."""
    if kind in _STAFF_ONLY and clients:
        return Refusal(
            "staff_only", "This conversation is for the team only, so clients can’t be part of it."
        )
    if kind in _ONE_CLIENT and len(clients) > 1:
        return Refusal(
            "one_client", "This conversation is with one client. For several, start a community chat."
        )
    if kind is ConversationKind.COMMUNITY and len(clients) > MAX_CLIENTS:
        return Refusal("too_many", f"A community chat can have up to {MAX_CLIENTS} clients.")
    if kind is ConversationKind.COMMUNITY and len(clients) > 1 and not told:
        return CONFIRM_TOLD
    return None


def start(
    kind: ConversationKind,
    organiser: Person,
    others: Sequence[Person],
    *,
    told: bool = False,
    barred: Mapping[PersonId, Refusal] | None = None,
) -> Outcome:
    """A new conversation. ``barred``: who can't be reached, and why (``chat_settings.reachable``)."""
    people = list({person.id: person for person in (organiser, *others)}.values())
    clients = [person for person in people if not person.role.is_staff]
    if len(people) < 2 and kind not in _FOR_ONE:
        return Refusal("nobody", "Choose at least one person to write to.")
    if kind in (*_ONE_CLIENT, ConversationKind.COMMUNITY) and not clients:
        return Refusal("no_client", "Choose at least one client, or start a staff chat.")
    for client in clients:
        if barred and client.id in barred:
            return barred[client.id]
        if client.status is PersonStatus.ARCHIVED and kind is not ConversationKind.DIRECT:
            return _archived(client)
    for person in people[1:]:
        if person.role.is_staff and person.status is PersonStatus.ARCHIVED:
            return _archived(person)
    refusal = _composition(kind, clients, told=told)
    if refusal is not None:
        return refusal
    told_step = (Step(E.RECORD_TOLD),) if kind is ConversationKind.COMMUNITY and len(clients) > 1 else ()
    return (*_steps(Change.STARTED, people), Step(E.NOTICE), Step(E.RECORD), *told_step)


def _others_thread(group: Group, person: Person) -> Refusal | None:
    """A thread is its one client's for ever: they may come back to it, nobody else takes their place."""
    was_in = any(member.person.id == person.id for member in group.roster)
    if group.kind in _ONE_CLIENT and not group.clients and not was_in:
        return Refusal(
            "one_client", "This conversation is another client’s. Please start one with this client."
        )
    return None


def add(group: Group, person: Person, *, told: bool = False, barred: Refusal | None = None) -> Outcome:
    """Somebody joins, or comes back: then with a new leg, from then on."""
    if group.closed:
        return Refusal("closed", "This conversation is closed, so nobody can be added.")
    if person.id in group.current:
        return Refusal("already_in", f"{person.name.full} is in this conversation already.")
    clients = group.clients
    if person.role.is_staff and person.status is PersonStatus.ARCHIVED:
        return _archived(person)
    if not person.role.is_staff:
        if barred is not None:
            return barred
        if person.status is PersonStatus.ARCHIVED and group.kind is ConversationKind.COMMUNITY:
            return _archived(person)
        clients = [*clients, person]
        if (others := _others_thread(group, person)) is not None:
            return others
        refusal = _composition(group.kind, clients, told=told)
        if refusal is not None:
            return refusal
    steps = _steps(Change.ADDED, [person])
    several = group.kind is ConversationKind.COMMUNITY and len(clients) > 1 and not person.role.is_staff
    return (*steps, Step(E.RECORD_TOLD)) if several else steps


def _after_leaving(group: Group, person: Person) -> tuple[Step, ...]:
    """A community chat without clients has nobody to talk to: it closes."""
    emptied = (
        group.kind is ConversationKind.COMMUNITY
        and not group.closed
        and [client.id for client in group.clients] == [person.id]
    )
    return (Step(E.CLOSE), Step(E.NOTICE), Step(E.RECORD)) if emptied else ()


def remove(group: Group, person: PersonId) -> Outcome:
    member = group.current.get(person)
    if member is None:
        return Refusal("not_in", "This person is no longer in the conversation.")
    if person == group.organiser:
        return Refusal("organiser", "Whoever started a conversation stays in it. It can be closed instead.")
    return _steps(Change.REMOVED, [member]) + _after_leaving(group, member)


def leave(group: Group, person: PersonId) -> Outcome:
    """By themselves: staff in the portal, a client by leaving the room in their app."""
    member = group.current.get(person)
    if member is None:
        return Refusal("not_in", "You are no longer in this conversation.")
    if person == group.organiser and group.kind is not ConversationKind.LOBBY:
        return Refusal("organiser", "You started this conversation. You can close it, or archive it.")
    return _steps(Change.LEFT, [member]) + _after_leaving(group, member)


def close(group: Group) -> Outcome:
    """For everybody. The notice goes out before the legs are frozen, so that clients are told (C15)."""
    if group.closed:
        return Refusal("already_closed", "This conversation is closed already.")
    frozen = _steps(Change.CLOSED, list(group.current.values()))
    return (Step(E.CLOSE), Step(E.NOTICE), *frozen, Step(E.RECORD))
