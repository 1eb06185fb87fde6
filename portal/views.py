"""What a page shows, as values: already decided who may see it, already in the reader's words.

Templates take these and nothing else, so that a page can be looked at with made-up people.
Instants are in UTC; the browser says them in the reader's zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from markupsafe import Markup

HUES = 12
NOTHING = Markup()


@dataclass(frozen=True, slots=True)
class Disc:
    """Initials on a coloured disc. The colour comes from the id, never from what is written."""

    initials: str
    hue: int

    @classmethod
    def of(cls, identity: UUID, initials: str) -> Disc:
        return cls(initials, identity.int % HUES)


@dataclass(frozen=True, slots=True)
class Place:
    """A page of its own, linked from the rail."""

    address: str
    name: str
    icon: str


@dataclass(frozen=True, slots=True)
class Me:
    """The reader: who is signed in."""

    id: UUID
    name: str
    role: str
    disc: Disc
    may_start: bool = True
    """"New" is for the team; whom it offers depends on who asks."""
    meets_clients: bool = True
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the conversation list."""

    id: UUID
    title: str
    disc: Disc
    preview: str
    at: datetime
    unread: bool = False
    state: str = ""
    """In words: "waiting to sign in", "on hold"; empty when there is nothing to say."""
    warn: bool = False
    which: str = ""
    archived: bool = False
    blast: UUID | None = None
    """It stands for the unanswered threads of this blast."""

    @property
    def key(self) -> UUID:
        """What the page knows the row by."""
        return self.blast or self.id

    @property
    def address(self) -> str:
        return f"/blasts/{self.blast}" if self.blast else f"/chat/{self.id}"


class DeliveryState(StrEnum):
    """How far an own message has come since we have it."""

    SENDING = "sending"
    WAITING = "waiting"
    HELD = "held"
    FAILED = "failed"
    SENT = "sent"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Seen:
    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """The small mark at an own message. ``label`` is its text equivalent; ``words`` are shown beside it."""

    state: DeliveryState
    label: str
    words: str = ""
    seen: tuple[Seen, ...] = ()
    named: bool = False
    """Of several recipients: who has seen it stands beside it."""

    @property
    def loud(self) -> bool:
        return self.state in (DeliveryState.HELD, DeliveryState.FAILED)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a message replies to."""

    id: UUID
    author: str
    preview: str


@dataclass(frozen=True, slots=True)
class Reactions:
    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """An attachment. ``state``: wanted (still on its way to us), stored, failed."""

    kind: str
    name: str
    size: str
    state: str
    url: str = ""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    id: UUID
    seq: int
    author_id: str
    author: str
    own: bool
    at: datetime
    words: Markup = NOTHING
    emote: bool = False
    edited: bool = False
    deleted: bool = False
    deleted_by: str = ""
    restored: bool = False
    """Client Care has brought it back."""
    automatic: str = ""
    quote: Quote | None = None
    reactions: tuple[Reactions, ...] = ()
    file: File | None = None
    place: str = ""
    mark: Mark | None = None
    may_edit: bool = False
    may_delete: bool = False
    preview: str = ""
    request_id: str = ""
    """The id under which this reader's page sent it: the page's own copy gives way to it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to the conversation, said in its timeline."""

    id: UUID
    seq: int
    at: datetime
    words: str
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """A page of the timeline, oldest first. ``before``: where the one before it ends, None at the start."""

    items: tuple[Message | Notice, ...]
    before: int | None = None
    fresh_after: int | None = None
    """The reader had read up to here when opening: "new" begins behind it. None: nothing is new."""


@dataclass(frozen=True, slots=True)
class Banner:
    """A line over the timeline that stays until it no longer holds, with what can be done about it."""

    words: str
    warn: bool = False
    release: bool = False
    unarchive: bool = False
    invite: UUID | None = None
    """Who left in their app and can be asked back."""
    invites: str = ""
    """Their name."""


@dataclass(frozen=True, slots=True)
class Participant:
    id: UUID
    name: str
    disc: Disc
    what: str
    may_remove: bool = False
    may_invite: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """Somebody's copy on its way back. ``part``: so much of so much, while it is being taken back."""

    name: str
    disc: Disc
    words: tuple[str, ...]
    at: datetime
    done_at: datetime | None
    part: tuple[int, int] | None = None
    stuck: bool = False
    """It didn't work this time; it is tried again by itself."""
    back: UUID | None = None
    """Whom the reader may add again."""
    left: bool = False
    """By themselves."""


@dataclass(frozen=True, slots=True)
class Talk:
    """The open conversation."""

    id: UUID
    title: str
    own_title: bool
    disc: Disc
    state: str
    may_rename: bool
    silence: str
    """Why nothing can be written now, empty where it can."""
    names: bool
    """Say who wrote each message: only where more than two take part."""
    participants: tuple[Participant, ...]
    timeline: Timeline
    banners: tuple[Banner, ...] = ()
    typing: tuple[str, ...] = ()
    limit: int = 5000
    client: str = ""
    with_clients: bool = True
    removals: tuple[Removal, ...] = ()
    may_add: bool = False
    may_leave: bool = False
    may_close: bool = False
    archived: bool = False
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Somebody whom "New" offers; ``why_not`` says why they can't be chosen, ``why_not_alone`` why only for
    a community chat."""

    id: UUID
    name: str
    disc: Disc
    what: str
    why_not: str = ""
    why_not_alone: str = ""
    is_client: bool = True


@dataclass(frozen=True, slots=True)
class Pack:
    """Several who are chosen with one click: a group of clients, or (no ``members`` listed) all."""

    id: str
    name: str
    count: int
    members: tuple[UUID, ...] = ()
