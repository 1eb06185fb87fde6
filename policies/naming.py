"""Who is called what by whom: staff see full names (C8), clients see other clients' initials only (C7).

Everything that shows a name, in the portal or on the homeserver, asks here. Numbers behind equal initials
follow the order of joining and never move: whoever leaves keeps theirs, and whoever comes back gets it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from policies.vocabulary import ConversationKind, Member, Person, PersonId, Role

ASSISTANT_NAME = "Ruh"
CLIENT_CARE_TITLE = "Client Care"

_NAMES_IN_TITLE = 3


class Audience(StrEnum):
    """Who looks: it decides how much of a name they get."""

    STAFF = "staff"
    CLIENT = "client"


def audience_of(role: Role) -> Audience:
    return Audience.STAFF if role.is_staff else Audience.CLIENT


def _people(roster: Sequence[Member]) -> dict[PersonId, Person]:
    """Everybody once, in the order of first joining; a roster with equal places keeps its own order."""
    ordered = sorted(roster, key=lambda member: member.joined_seq)
    return {member.person.id: member.person for member in ordered}


def shown_names(roster: Sequence[Member], audience: Audience) -> Mapping[PersonId, str]:
    """What each person of a conversation is called before this audience.

    ``roster`` has former members too: their messages and their number are still there. The numbers are the
    same in every client's view, the two with equal initials included.
    """
    names: dict[PersonId, str] = {}
    seen: dict[str, int] = {}
    for person_id, person in _people(roster).items():
        if audience is Audience.STAFF or person.role.is_staff:
            names[person_id] = person.name.full
            continue
        initials = person.name.initials
        seen[initials] = seen.get(initials, 0) + 1
        names[person_id] = initials if seen[initials] == 1 else f"{initials} ({seen[initials]})"
    return names


def shown_name(person_id: PersonId, roster: Sequence[Member], audience: Audience) -> str:
    """Raises ``KeyError`` for somebody who was never in the roster."""
    return shown_names(roster, audience)[person_id]


def listed(names: Sequence[str]) -> str:
    if len(names) > 1:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return names[0] if names else ""


def _in_title(names: Sequence[str]) -> str:
    if len(names) > _NAMES_IN_TITLE:
        return listed([*names[:_NAMES_IN_TITLE], f"{len(names) - _NAMES_IN_TITLE} more"])
    return listed(names)


def title(
    given: str | None, kind: ConversationKind, roster: Sequence[Member], reader: PersonId, organiser: PersonId
) -> str:
    """What a member of staff calls a conversation: the title that was given, or the default (C9).

    Never for a client's eyes: it may hold anything, and clients' full names by default.
    """
    if given and given.strip():
        return given.strip()
    current = [member for member in roster if member.is_current] or list(roster)
    people = _people(current)
    clients = [person.name.full for person in people.values() if not person.role.is_staff]
    if kind is ConversationKind.CLIENT_CARE:
        owner = people.get(organiser)
        if reader == organiser or owner is None:
            return CLIENT_CARE_TITLE
        return f"{CLIENT_CARE_TITLE}: {owner.name.full}"
    if kind is ConversationKind.STAFF or not clients:
        others = [person.name.full for person_id, person in people.items() if person_id != reader]
        return _in_title(others) or "Only you"
    return _in_title(clients)


def room_name(kind: ConversationKind, organiser: Person) -> str:
    """The name of a client's room, readable by the homeserver: never a client's name, never a title (C9)."""
    if kind is ConversationKind.COMMUNITY:
        return f"Group with {organiser.name.full}"
    return organiser.name.full
