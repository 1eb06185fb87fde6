"""Who may do what with which conversation: one table, and the words that a refusal is read in.

Every page, every API call and every event from a room asks ``decide``. To somebody outside a conversation
each answer is the same "not found" that a conversation which doesn't exist gets (S4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from policies.vocabulary import ALLOWED, ConversationKind, Member, PersonId, Refusal, Role, Verdict


class Action(StrEnum):
    READ = "read"
    POST = "post"
    REACT = "react"
    EDIT_OWN = "edit_own"
    DELETE_OWN = "delete_own"
    ARCHIVE = "archive"
    SEE_RECEIPTS = "see_receipts"
    SEE_MEMBERS = "see_members"
    RENAME = "rename"
    ADD_MEMBER = "add_member"
    REMOVE_MEMBER = "remove_member"
    LEAVE = "leave"
    CLOSE = "close"
    RELEASE_IDENTITY = "release_identity"
    RETRY_DELIVERY = "retry_delivery"
    SEE_DELETED = "see_deleted"
    RESTORE = "restore"
    # Without a conversation:
    SIGN_IN = "sign_in"
    LIST_PEOPLE = "list_people"
    START_DIRECT = "start_direct"
    START_COMMUNITY = "start_community"
    START_BLAST = "start_blast"
    START_STAFF = "start_staff"
    VIEW_SETTINGS = "view_settings"
    CHANGE_SETTINGS = "change_settings"
    MANAGE_PEOPLE = "manage_people"
    VIEW_AUDIT = "view_audit"


class Relation(StrEnum):
    """Where a person stands to a conversation."""

    ORGANISER = "organiser"
    MEMBER = "member"
    FORMER = "former"
    OUTSIDER = "outsider"


def relation_of(person: PersonId, organiser: PersonId, roster: Sequence[Member]) -> Relation:
    """An organiser is one only while in the roster: whoever was removed has no say."""
    own = [member for member in roster if member.person.id == person]
    if any(member.is_current for member in own):
        return Relation.ORGANISER if person == organiser else Relation.MEMBER
    return Relation.FORMER if own else Relation.OUTSIDER


NOT_FOUND = Refusal(
    "not_found", "We can’t find this conversation. It may have been moved, or the link is old."
)
CLOSED = Refusal(
    "closed", "This conversation is closed. It can still be read, but nothing new can be written."
)
NOT_YOURS = Refusal("not_yours", "Only the person who wrote a message can change it.")
ALREADY_CLOSED = Refusal("already_closed", "This conversation is closed already.")
_KEPT_BY_ITSELF = "Its members follow the Client Care team by themselves, so there is nothing to change here."

_CLIENT = frozenset({Role.CLIENT})
_CARE = frozenset({Role.CLIENT_CARE})
_CAREGIVERS = frozenset({Role.THERAPIST, Role.TEAM_MEMBER, Role.CLIENT_CARE})
_STAFF = frozenset(role for role in Role if role.is_staff)
_EVERYBODY = frozenset(Role)
_INSIDE = frozenset({Relation.ORGANISER, Relation.MEMBER})
_ORGANISER = frozenset({Relation.ORGANISER})
_ANYBODY = frozenset(Relation)
_KINDS = frozenset(ConversationKind)
_MADE_BY_PEOPLE = _KINDS - {ConversationKind.CLIENT_CARE, ConversationKind.LOBBY}


@dataclass(frozen=True, slots=True)
class Rule:
    """Who passes. The words are for somebody who may know of the conversation and still may not do this."""

    roles: frozenset[Role]
    relations: frozenset[Relation]
    words: str
    kinds: frozenset[ConversationKind] = _KINDS
    kind_words: str = ""
    when_closed: Refusal | None = None
    own_only: bool = False


_ASK_ORGANISER = "Only the person who started this conversation can {}. Please ask them."
_IN_THE_CHAT_APP = "Please use your chat app for this."

TABLE: dict[Action, Rule] = {
    Action.READ: Rule(_EVERYBODY, _INSIDE, ""),
    Action.POST: Rule(_EVERYBODY, _INSIDE, "", when_closed=CLOSED),
    Action.REACT: Rule(_EVERYBODY, _INSIDE, "", when_closed=CLOSED),
    Action.EDIT_OWN: Rule(_EVERYBODY, _INSIDE, "", when_closed=CLOSED, own_only=True),
    # Taking one's words back stays possible after the end.
    Action.DELETE_OWN: Rule(_EVERYBODY, _INSIDE, "", own_only=True),
    Action.ARCHIVE: Rule(_STAFF, _INSIDE, _IN_THE_CHAT_APP),
    Action.SEE_RECEIPTS: Rule(_STAFF, _INSIDE, "Who has read what is shown to the team only."),
    Action.SEE_MEMBERS: Rule(_STAFF, _INSIDE, _IN_THE_CHAT_APP),
    Action.RENAME: Rule(_STAFF, _ORGANISER, _ASK_ORGANISER.format("change its title")),
    Action.ADD_MEMBER: Rule(
        _STAFF,
        _ORGANISER,
        _ASK_ORGANISER.format("add somebody"),
        kinds=_MADE_BY_PEOPLE,
        kind_words=_KEPT_BY_ITSELF,
        when_closed=CLOSED,
    ),
    # After closing too: a client's copy may have to be taken back then (C11).
    Action.REMOVE_MEMBER: Rule(
        _STAFF,
        _ORGANISER,
        _ASK_ORGANISER.format("remove somebody"),
        kinds=_MADE_BY_PEOPLE,
        kind_words=_KEPT_BY_ITSELF,
    ),
    Action.LEAVE: Rule(
        _EVERYBODY,
        frozenset({Relation.MEMBER}),
        "You started this conversation, so you can’t leave it. You can close it, or archive it for yourself.",
        kinds=_MADE_BY_PEOPLE,
        kind_words=_KEPT_BY_ITSELF,
    ),
    Action.CLOSE: Rule(
        _STAFF,
        _ORGANISER,
        _ASK_ORGANISER.format("close it"),
        kinds=_MADE_BY_PEOPLE,
        kind_words="The Client Care conversation is always open.",
        when_closed=ALREADY_CLOSED,
    ),
    Action.RELEASE_IDENTITY: Rule(
        _STAFF, _ORGANISER, _ASK_ORGANISER.format("confirm that this is still the same client")
    ),
    Action.RETRY_DELIVERY: Rule(_STAFF, _INSIDE, _IN_THE_CHAT_APP, when_closed=CLOSED),
    # Client Care looks after deleted messages of conversations that they aren't in (M8).
    Action.SEE_DELETED: Rule(_CARE, _ANYBODY, "Deleted messages are looked after by Client Care."),
    Action.RESTORE: Rule(
        _CARE, _ANYBODY, "Only Client Care can restore a deleted message. Please ask them soon."
    ),
    Action.SIGN_IN: Rule(
        _STAFF, _ANYBODY, "This page is for the practice’s team. Please use your chat app to read and write."
    ),
    Action.LIST_PEOPLE: Rule(_STAFF, _ANYBODY, "The list of people is for the team only."),
    Action.START_DIRECT: Rule(
        _CAREGIVERS, _ANYBODY, "Conversations with clients are started by therapists and the team."
    ),
    Action.START_COMMUNITY: Rule(
        _CAREGIVERS, _ANYBODY, "Community chats are started by therapists and the team."
    ),
    Action.START_BLAST: Rule(_CAREGIVERS, _ANYBODY, "Message blasts are started by therapists and the team."),
    Action.START_STAFF: Rule(_STAFF, _ANYBODY, "Staff chats are for the team only."),
    Action.VIEW_SETTINGS: Rule(_STAFF, _ANYBODY, "The chat settings are for the team only."),
    Action.CHANGE_SETTINGS: Rule(
        frozenset({Role.CLIENT_CARE, Role.ADMINISTRATOR}),
        _ANYBODY,
        "The chat settings are changed by Client Care or an administrator. Please ask them.",
    ),
    Action.MANAGE_PEOPLE: Rule(
        frozenset({Role.CLIENT_CARE, Role.ADMINISTRATOR}),
        _ANYBODY,
        "Accounts are looked after by Client Care or an administrator. Please ask them.",
    ),
    Action.VIEW_AUDIT: Rule(
        frozenset({Role.ADMINISTRATOR}), _ANYBODY, "The audit trail is for administrators only."
    ),
}


@dataclass(frozen=True, slots=True)
class ConversationState:
    kind: ConversationKind
    closed: bool = False


def decide(
    action: Action,
    role: Role,
    relation: Relation = Relation.OUTSIDER,
    state: ConversationState | None = None,
    *,
    own: bool = True,
) -> Verdict:
    """``state`` None: no conversation is meant. ``own`` False: the entry at hand is somebody else's."""
    rule = TABLE[action]
    if relation not in rule.relations and relation not in _INSIDE:
        return NOT_FOUND
    if role not in rule.roles or relation not in rule.relations:
        return Refusal("forbidden", rule.words)
    if rule.own_only and not own:
        return NOT_YOURS
    if state is None:
        return ALLOWED
    if state.kind not in rule.kinds:
        return Refusal("wrong_kind", rule.kind_words)
    if state.closed and rule.when_closed is not None:
        return rule.when_closed
    return ALLOWED
