"""What an ordinary account may do on the homeserver: talk, encrypted, where it was put, and leave.

Legs are made by the service and belong to one client each, so a client needs no rooms, invites, aliases,
state, calls or names of its own (P3, P6, P7, C7). Rules take what the homeserver knows about a request and
give None or the refusal; nothing here needs the room's state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from policies.vocabulary import MatrixUserId, Refusal

MAX_REACTION_KEY = 64
"""Characters. The key of a reaction is the one piece of a client's words that Matrix leaves unencrypted:
room for an emoji of many parts, not for a message."""

NO_ROOMS = Refusal("no_rooms", "Chats are opened for you here. Your therapist or the team can start one.")
NO_INVITES = Refusal("no_invites", "Only the team can add people to a chat.")
NO_ALIASES = Refusal("no_aliases", "Chats here have no public address.")
NO_PUBLISHING = Refusal("no_publishing", "Chats here are private and can't be listed.")
NO_JOINING = Refusal("no_joining", "You can only join a chat that you have been added to.")
NO_STATE = Refusal("no_state", "The settings of a chat and the names in it are kept by the team.")
NO_CALLS = Refusal("no_calls", "Calls can't be started from here. Your therapist can send you a video link.")
NO_PLAINTEXT = Refusal(
    "no_plaintext",
    "This was not sent, because it was not encrypted. Please update your chat app, or use another one.",
)
BAD_REACTION = Refusal("bad_reaction", "This reaction can't be used here. Try a simple emoji.")
BAD_ENCRYPTED = Refusal("bad_encrypted", "This message could not be read. Please update your chat app.")

_REACTION_FIELDS = frozenset({"m.relates_to"})
_REACTION_RELATION = frozenset({"rel_type", "event_id", "key"})


def _only(content: Mapping[str, Any], allowed: Collection[str]) -> bool:
    # Not `content.keys() <= allowed`: an event's content is Synapse's own mapping, whose keys are no set.
    return all(key in allowed for key in content)


def _encrypted(content: Mapping[str, Any]) -> Refusal | None:
    # Nothing but Megolm is readable for the other side, and an unknown algorithm may be no encryption at all.
    if content.get("algorithm") == "m.megolm.v1.aes-sha2" and isinstance(content.get("ciphertext"), str):
        return None
    return BAD_ENCRYPTED


def _reaction(content: Mapping[str, Any]) -> Refusal | None:
    relation = content.get("m.relates_to")
    if not _only(content, _REACTION_FIELDS) or not isinstance(relation, Mapping):
        return BAD_REACTION
    key = relation.get("key")
    plain = (
        _only(relation, _REACTION_RELATION)
        and relation.get("rel_type") == "m.annotation"
        and isinstance(relation.get("event_id"), str)
        and isinstance(key, str)
        and 0 < len(key) <= MAX_REACTION_KEY
    )
    return None if plain else BAD_REACTION


def _redaction(content: Mapping[str, Any]) -> Refusal | None:
    # Whose event it may be is the power levels' business; here only: no long plain words as its "reason".
    reason = content.get("reason", "")
    return None if isinstance(reason, str) and len(reason) <= MAX_REACTION_KEY else NO_PLAINTEXT


_CHECKS = {"m.room.encrypted": _encrypted, "m.reaction": _reaction, "m.room.redaction": _redaction}
_CALLS = ("m.call.", "m.rtc.", "org.matrix.msc3401.", "org.matrix.msc4143.", "org.matrix.msc4075.")


def refuse_event(event_type: str, content: Mapping[str, Any], *, is_state: bool) -> Refusal | None:
    """An event that an ordinary account sends into a room, other than a membership."""
    if not is_state:
        check = _CHECKS.get(event_type)
        if check is not None:
            return check(content)
    if event_type.startswith(_CALLS):
        return NO_CALLS
    return NO_STATE if is_state else NO_PLAINTEXT


_LEAVING = frozenset({"membership", "reason"})


def refuse_state(user_id: str, event_type: str, state_key: str, content: Mapping[str, Any]) -> Refusal | None:
    """A state event over ``PUT /state``: a bare membership of one's own, and nothing else.

    A name or picture in it would be a name of one's own in this room (C7).
    """
    if (
        event_type == "m.room.member"
        and state_key == user_id
        and _only(content, _LEAVING)
        and content.get("membership") in ("join", "leave")
    ):
        return None
    return NO_CALLS if event_type.startswith(_CALLS) else NO_STATE


def refuse_invite(invitee: str, assistant: MatrixUserId, *, direct_chats: bool) -> Refusal | None:
    """An invite by an ordinary account: none (P7), but the assistant's into a direct chat with it (P6)."""
    return None if direct_chats and invitee == assistant else NO_INVITES


@dataclass(frozen=True, slots=True)
class Shown:
    """A name and a picture, as a room or a profile has them."""

    name: str | None
    picture: str | None


def refuse_join(*, is_invited: bool, in_room: Shown | None, profile: Shown | None) -> Refusal | None:
    """A join: into what one was added to, or again where one is already, which apps do on a second tap.

    A change of name or picture is such a join too; it is the one where room and profile differ. ``in_room``
    is None for somebody who isn't joined.
    """
    if is_invited:
        return None
    if in_room is None:
        return NO_JOINING
    return None if in_room == profile else NO_STATE


_DIRECT_STATE = frozenset({"m.room.encryption", "m.room.guest_access", "m.room.history_visibility"})
_DIRECT_PRESETS = (None, "private_chat", "trusted_private_chat")
_DIRECT_FIELDS = frozenset(
    {
        "creation_content",
        "initial_state",
        "invite",
        "is_direct",
        "power_level_content_override",
        "preset",
        "room_version",
        "visibility",
    }
)


def _is_megolm(event: Mapping[str, Any]) -> bool:
    content = event.get("content")
    return isinstance(content, Mapping) and content.get("algorithm") == "m.megolm.v1.aes-sha2"


def _shows_itself(event: Mapping[str, Any]) -> bool:
    content = event.get("content")
    return not isinstance(content, Mapping) or content.get("history_visibility") == "world_readable"


def refuse_room(config: Mapping[str, Any], assistant: MatrixUserId, *, direct_chats: bool) -> Refusal | None:
    """A new room by an ordinary account: only an encrypted, private, nameless one with the assistant (P6).

    ``config`` is the body of ``/createRoom``; a room upgrade comes with less of it and is refused.
    """
    if not direct_chats or config.get("invite") != [assistant] or not _only(config, _DIRECT_FIELDS):
        return NO_ROOMS
    state = config.get("initial_state", [])
    creation = config.get("creation_content", {})
    if not isinstance(state, list) or not all(isinstance(event, Mapping) for event in state):
        return NO_ROOMS
    if not isinstance(creation, Mapping) or not _only(creation, ("m.federate",)):
        return NO_ROOMS
    private = (
        config.get("visibility", "private") == "private"
        and config.get("preset") in _DIRECT_PRESETS
        and all(event.get("type") in _DIRECT_STATE and not _shows_itself(event) for event in state)
        and any(event.get("type") == "m.room.encryption" and _is_megolm(event) for event in state)
    )
    return None if private else NO_ROOMS
