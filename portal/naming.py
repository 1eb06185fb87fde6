"""How people are named on the pages: staff see full names (C8), a disc carries the initials."""

from collections.abc import Sequence

from policies.vocabulary import Name, Person, Role
from portal.views import Disc

ROLES = {
    Role.CLIENT: "Client",
    Role.THERAPIST: "Therapist",
    Role.TEAM_MEMBER: "Team member",
    Role.CLIENT_CARE: "Client Care",
    Role.ADMINISTRATOR: "Administrator",
}
_LISTED = 3


def disc(person: Person) -> Disc:
    return Disc.of(person.id, letters(person.name))


def letters(name: Name) -> str:
    return name.initials.replace(".", "") or "?"


def listed(names: Sequence[str]) -> str:
    """ "Amina Yusuf, Adam Young and 3 more"."""
    if len(names) > _LISTED:
        return f"{', '.join(names[: _LISTED - 1])} and {len(names) - _LISTED + 1} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
