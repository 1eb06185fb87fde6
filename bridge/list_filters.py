"""What of one's conversations a list shows (C14)."""

from dataclasses import dataclass
from enum import StrEnum

from policies.vocabulary import ConversationKind


class Visibility(StrEnum):
    """Archived is what this person put away for themselves (C13, C14)."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    ALL = "all"


class Which(StrEnum):
    """The kinds, as the list's filter names them (C14)."""

    ALL = "all"
    ONE_TO_ONE = "one_to_one"
    COMMUNITY = "community"
    TEAM = "team"

    @classmethod
    def of(cls, kind: ConversationKind) -> "Which":
        return next((which for which, kinds in KINDS.items() if kind in kinds), cls.TEAM)


KINDS = {
    Which.ONE_TO_ONE: (ConversationKind.DIRECT, ConversationKind.BLAST),
    Which.COMMUNITY: (ConversationKind.COMMUNITY,),
    Which.TEAM: (ConversationKind.STAFF, ConversationKind.CLIENT_CARE),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of one's conversations a list shows. `search` finds words that begin a word of the title or of
    a member's name."""

    visibility: Visibility = Visibility.ACTIVE
    which: Which = Which.ALL
    search: str = ""


EVERYTHING_ACTIVE = Filter()
