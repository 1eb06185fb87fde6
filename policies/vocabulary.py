"""The words of the domain, as frozen types: whoever holds one of them holds something well-formed.

Ids are typed so that a person can't be handed in where a member is meant; mypy keeps it so.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType
from uuid import UUID

PersonId = NewType("PersonId", UUID)
ConversationId = NewType("ConversationId", UUID)
MemberId = NewType("MemberId", UUID)
EntryId = NewType("EntryId", UUID)
LegId = NewType("LegId", UUID)
PuppetId = NewType("PuppetId", UUID)
DeliveryId = NewType("DeliveryId", UUID)

MatrixUserId = NewType("MatrixUserId", str)
"""``@localpart:server``."""
RoomId = NewType("RoomId", str)
"""``!opaque``, with or without a server (room version 12 has none)."""
EventId = NewType("EventId", str)
"""``$opaque``."""
DeviceId = NewType("DeviceId", str)


class Role(StrEnum):
    """What a person is here; one person has one role (P1)."""

    CLIENT = "client"
    THERAPIST = "therapist"
    TEAM_MEMBER = "team_member"
    CLIENT_CARE = "client_care"
    ADMINISTRATOR = "administrator"

    @property
    def is_staff(self) -> bool:
        """Everybody who isn't a client: they see full names (C8) and work in the portal."""
        return self is not Role.CLIENT


class ConversationKind(StrEnum):
    """The kinds of C1. A blast thread is one client's own conversation that a blast opened; a lobby is a
    client alone with the assistant, in a room of their own making (P6)."""

    DIRECT = "direct"
    COMMUNITY = "community"
    BLAST = "blast"
    STAFF = "staff"
    CLIENT_CARE = "client_care"
    LOBBY = "lobby"


class EntryKind(StrEnum):
    """What a line of the journal is."""

    MESSAGE = "message"
    EDIT = "edit"
    DELETION = "deletion"
    RESTORATION = "restoration"
    REACTION = "reaction"
    REACTION_REMOVED = "reaction_removed"
    NOTICE = "notice"


class PersonStatus(StrEnum):
    """Archived clients are left out of what is new, and can still write where they are (P8)."""

    ACTIVE = "active"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no, with a code for programs and the words that the user reads."""

    code: str
    words: str

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Allowed:
    """A yes."""

    def __bool__(self) -> bool:
        return True


ALLOWED = Allowed()
Verdict = Allowed | Refusal

_VIRAMA = 9  # canonical combining class: joins two consonants, so it means nothing after the only one
_MARKS_KEPT = 2  # enough for every real script; a tower of accents is somebody's joke
_ISOLATE, _END_ISOLATE = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def _initial(word: str) -> str:
    """The first letter or digit as a reader sees it (with its accents), in upper case, or ""."""
    letters = unicodedata.normalize("NFC", word)
    start = next((i for i, c in enumerate(letters) if unicodedata.category(c)[0] in "LN"), None)
    if start is None:
        return ""
    marks = ""
    for mark in letters[start + 1 :]:
        if unicodedata.category(mark)[0] != "M" or len(marks) == _MARKS_KEPT:
            break
        if unicodedata.combining(mark) != _VIRAMA:
            marks += mark
    return letters[start].upper()[0] + marks


@dataclass(frozen=True, slots=True)
class Name:
    """A person's name; ``title`` is what goes before it ("Dr.")."""

    first: str
    last: str
    title: str = ""

    @property
    def full(self) -> str:
        """ "Dr. Sara Khan"."""
        return " ".join(part for part in (self.title.strip(), self.first.strip(), self.last.strip()) if part)

    @property
    def initials(self) -> str:
        """ "S.K."; all that another client ever sees (C7).

        Letters of a right-to-left script are isolated, so that their dots stay with them inside a
        left-to-right line and they can't reorder what stands beside them.
        """
        letters = [letter for letter in (_initial(self.first), _initial(self.last)) if letter]
        dotted = "".join(f"{letter}." for letter in letters) or "?"
        if any(unicodedata.bidirectional(c) in ("R", "AL") for c in dotted):
            return f"{_ISOLATE}{dotted}{_END_ISOLATE}"
        return dotted


@dataclass(frozen=True, slots=True)
class Person:
    id: PersonId
    role: Role
    name: Name
    status: PersonStatus = PersonStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a conversation, from one place of its journal to another.

    They may have the entries with ``joined_seq < seq <= removed_seq`` (C12); ``removed_seq`` is None
    while they are in. Rosters are handed over in the order of joining, former members included.
    """

    person: Person
    joined_seq: int
    removed_seq: int | None = None

    @property
    def is_current(self) -> bool:
        return self.removed_seq is None

    def may_have(self, seq: int) -> bool:
        return self.joined_seq < seq and (self.removed_seq is None or seq <= self.removed_seq)
