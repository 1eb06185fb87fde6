"""People and rosters in one line each."""

from uuid import UUID, uuid4

from policies.vocabulary import Member, Name, Person, PersonId, PersonStatus, Role


def person(full: str, role: Role = Role.CLIENT, *, archived: bool = False, id: UUID | None = None) -> Person:
    """ "Dr. Sara Khan" has a title, everybody else a first and a last name."""
    words = full.split()
    title = words.pop(0) if words[0].endswith(".") else ""
    name = Name(words[0], " ".join(words[1:]), title)
    status = PersonStatus.ARCHIVED if archived else PersonStatus.ACTIVE
    return Person(PersonId(id or uuid4()), role, name, status)


def therapist(full: str = "Dr. Sara Khan") -> Person:
    return person(full, Role.THERAPIST)


def roster(*people: Person) -> list[Member]:
    return [Member(one, 0) for one in people]
