"""What the platform may send and gets back. Every limit that the API has stands here, so OpenAPI tells it.

A field that isn't known is refused: a misspelt one would otherwise be lost in silence.
"""

import re
import unicodedata
from datetime import datetime
from functools import cache
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from policies.vocabulary import ConversationKind, Name, PersonStatus, Role

MAX_PAGE = 200
MAX_GROUP = 1000
"""Members of a client group."""


def _printable(value: str) -> str:
    """Controls, lone surrogates and marks that turn a line around have no place in a name."""
    value = unicodedata.normalize("NFC", value.strip())
    if any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202a\u202b\u202c\u202d\u202e"
        for c in value
    ):
        raise ValueError("must not contain control characters")
    return value


def _not_blank(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s.\x00-\x1f\x7f]+(\.[^@\s.\x00-\x1f\x7f]+)*")


def _email(value: str) -> str:
    value = _printable(value)
    if not _EMAIL.fullmatch(value):
        raise ValueError("must be an e-mail address")
    return value


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _time_zone(value: str) -> str:
    if value not in _time_zones():
        raise ValueError("must be an IANA time zone, for example Europe/Berlin")
    return value


def _plausible(moment: datetime) -> datetime:
    """Beyond these years it is a slip of a keyboard, and the database's calendar ends somewhere too."""
    if not 2000 <= moment.year <= 2200:
        raise ValueError("must be between the years 2000 and 2200")
    return moment


PlatformId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._~@+:-]{0,127}$",
        description="The platform's own id: letters, digits and . _ ~ @ + : -, at most 128.",
        examples=["client-1042"],
    ),
]
_platform_id: TypeAdapter[str] = TypeAdapter(PlatformId)


def is_platform_id(value: str) -> bool:
    """Whether it could be one, for an id that stands in the address."""
    try:
        _platform_id.validate_python(value)
    except ValidationError:
        return False
    return True


FirstName = Annotated[str, Field(max_length=100), AfterValidator(_printable), AfterValidator(_not_blank)]
LastName = Annotated[str, Field(max_length=100), AfterValidator(_printable)]
Title = Annotated[str, Field(max_length=30), AfterValidator(_printable)]
GroupName = Annotated[
    str,
    Field(max_length=100, examples=["Evening group"]),
    AfterValidator(_printable),
    AfterValidator(_not_blank),
]
Email = Annotated[str, Field(max_length=254, examples=["a.yusuf@example.org"]), AfterValidator(_email)]
Instant = Annotated[AwareDatetime, AfterValidator(_plausible), Field(examples=["2026-11-23T09:00:00+01:00"])]
TimeZone = Annotated[str, Field(max_length=64, examples=["Europe/Berlin"]), AfterValidator(_time_zone)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NameGiven(_Given):
    """`title` goes before the name ("Dr."); a person with one name has no `last`."""

    first: FirstName
    last: LastName = ""
    title: Title = ""

    def to_name(self) -> Name:
        return Name(self.first, self.last, self.title)


class PersonGiven(_Given):
    """Staff sign in with `email`, so it is required for them and nobody else's; a client's is optional."""

    role: Role
    name: NameGiven
    email: Email | None = None
    time_zone: TimeZone = "UTC"

    @model_validator(mode="after")
    def _staff_sign_in(self) -> "PersonGiven":
        if self.role.is_staff and self.email is None:
            raise ValueError("email: staff sign in with their e-mail address, so it is required")
        return self


class PersonGivenWithId(PersonGiven):
    platform_id: PlatformId


class PersonChange(_Given):
    """Only what is given changes. `email: null` takes a client's address away."""

    name: NameGiven | None = None
    email: Email | None = None
    time_zone: TimeZone | None = None
    status: PersonStatus | None = None


class BookingGiven(_Given):
    """`client` and `therapist` are platform ids of people that were created before."""

    booking_id: PlatformId
    client: PlatformId
    therapist: PlatformId
    starts_at: Instant | None = None


class GroupGiven(_Given):
    """`members`: platform ids of clients that were created before; exactly these, in any order."""

    name: GroupName
    members: Annotated[list[PlatformId], Field(max_length=MAX_GROUP)]


class GroupSeen(BaseModel):
    """`members`: platform ids, archived clients included."""

    id: UUID
    platform_id: str
    name: str
    members: list[str]


class NameSeen(BaseModel):
    first: str
    last: str
    title: str


class AccountSeen(BaseModel):
    """A client's Matrix account. `state`: wanted (on its way to the homeserver), made, or deactivated."""

    user_id: str
    state: Literal["wanted", "made", "deactivated"]
    password_set: bool


class ActivationSeen(BaseModel):
    """A link for the person alone: used once, until `expires_at`; a newer one replaces it."""

    url: str
    expires_at: datetime


class PersonSeen(BaseModel):
    """`account` for clients only; `activation` only in the answer that made the link."""

    id: UUID
    platform_id: str
    role: Role
    status: PersonStatus
    name: NameSeen
    email: str | None
    time_zone: str
    account: AccountSeen | None = None
    activation: ActivationSeen | None = None


class BookingSeen(BaseModel):
    """What the report did; all three are false when it had been reported before."""

    booking_id: str
    conversation_id: UUID
    new_booking: bool
    conversation_opened: bool
    welcome_sent: bool


class ConversationSeen(BaseModel):
    """A conversation without anything that was said in it; people are platform ids.

    `states`: words from waiting_to_sign_in, on_hold, archived_client, closed, not_delivered.
    `held`: why messages to the client wait, if they do. `unread`: messages that the organiser hasn't read.
    """

    id: UUID
    kind: ConversationKind
    organiser: str | None
    client: str | None
    states: list[str]
    held: Literal["no_device", "identity_changed", "left"] | None
    unread: int
    last_message_at: datetime | None
    created_at: datetime


class ConversationsSeen(BaseModel):
    """One page, newest message first; hand `next` over as `cursor` for the page after it."""

    conversations: list[ConversationSeen]
    next: str | None


class ConversationsWanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    organiser: PlatformId | None = None
    client: PlatformId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, Field(max_length=200)] | None = None


class ErrorDetail(BaseModel):
    """`field` names what was wrong with the request, if one field was (name.first)."""

    code: str
    message: str
    field: str | None = None


class ErrorSeen(BaseModel):
    error: ErrorDetail
