"""nio hands over events one by one; here they become the timeline a person would see.

An edit counts only from the sender of what it edits, the newest wins, and nothing survives a redaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nio
from nio.exceptions import EncryptionError

from tests.clients.protocol import Member, Room, Seen

SHOWN = {"m.room.message", "m.room.encrypted", "m.sticker"}


@dataclass
class RoomLog:
    """What came of one room, in the room's order."""

    membership: str = "join"
    events: list[Any] = field(default_factory=list)
    state: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    start: str | None = None  # where scrolling back goes on

    def joined(self, news: Any, missed: list[Any]) -> None:
        self.membership = "join"
        if not self.events:
            self.start = news.timeline.prev_batch
        known = {event.event_id for event in self.events}
        self.events += [e for e in [*missed, *news.timeline.events] if e.event_id not in known]
        self._remember([*news.state, *missed, *news.timeline.events])

    def invited(self, invitation: Any) -> None:
        self.membership = "invite"
        self._remember(invitation.invite_state)

    def left(self, news: Any) -> None:
        self.membership = "leave"
        self._remember([*news.state, *news.timeline.events])

    def _remember(self, events: list[Any]) -> None:
        for event in events:
            source = event.source
            if "state_key" in source:
                # nio takes the content out of a member event's source.
                content = source.get("content", getattr(event, "content", {}))
                self.state[source["type"], source["state_key"]] = content


def room_of(client: nio.AsyncClient, room_id: str, log: RoomLog) -> Room:
    known = client.rooms.get(room_id) or client.invited_rooms.get(room_id)
    members = {
        user: Member(content.get("displayname") or user, content.get("membership", "leave"))
        for (type, user), content in log.state.items()
        if type == "m.room.member"
    }
    own = log.membership
    if own == "leave":  # "ban" is a kind of having left
        own = members[client.user_id].membership if client.user_id in members else own
    name = known.display_name if known else str(log.state.get(("m.room.name", ""), {}).get("name", ""))
    return Room(room_id, name, own, ("m.room.encryption", "") in log.state, members, dict(log.state))


def items_of(client: nio.AsyncClient, room_id: str, log: RoomLog) -> list[Seen]:
    failures: dict[str, str] = {}
    for index, event in enumerate(log.events):
        if isinstance(event, nio.MegolmEvent):  # the key may have come after the message
            event.room_id = room_id
            try:
                log.events[index] = client.olm.decrypt_megolm_event(event, room_id)
            except EncryptionError as error:
                failures[event.event_id] = str(error)

    gone = {_redacted_by(event.source) for event in log.events} | {
        event.event_id for event in log.events if _came_redacted(event.source)
    }
    edits: dict[tuple[str, str], Any] = {}
    reactions: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    shown = []
    for event in log.events:
        source = event.source
        relation = _relation(source)
        target, kind = str(relation.get("event_id", "")), relation.get("rel_type")
        if event.event_id in gone:
            if source["type"] in SHOWN and kind != "m.replace":
                shown.append(event)
        elif source["type"] == "m.reaction":
            reactions[target][str(relation.get("key", ""))].append(source["sender"])
        elif kind == "m.replace":
            edits[target, source["sender"]] = _mapping(_content(source).get("m.new_content"))
        elif source["type"] in SHOWN and "state_key" not in source:
            shown.append(event)

    names = client.rooms.get(room_id)
    items = []
    for event in shown:
        source, event_id, sender = event.source, event.event_id, event.source["sender"]
        content, redacted = _content(source), event_id in gone
        edit = None if redacted else edits.get((event_id, sender))
        reply = _mapping(_relation(source).get("m.in_reply_to")).get("event_id")
        hidden = redacted or event_id in failures
        items.append(
            Seen(
                event_id=event_id,
                sender=sender,
                sender_name=(names and names.user_name(sender)) or sender,
                at=source["origin_server_ts"],
                content={} if hidden else edit or content,
                type=source["type"],
                encrypted=bool(getattr(event, "decrypted", False)) or source["type"] == "m.room.encrypted",
                edited=edit is not None,
                redacted=redacted,
                reply_to=None if redacted else reply,
                reactions={k: tuple(users) for k, users in reactions[event_id].items() if not redacted},
                failure=None if redacted else failures.get(event_id),
            )
        )
    return items


def _content(source: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(source.get("content"))


def _relation(source: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_content(source).get("m.relates_to"))


def _mapping(value: object) -> Mapping[str, Any]:
    """Tests send anything at all, and this client has to show what came after it."""
    return value if isinstance(value, Mapping) else {}


def _redacted_by(source: Mapping[str, Any]) -> str | None:
    # Since room version 11 the target stands in the content; Synapse still sends both.
    if source["type"] != "m.room.redaction":
        return None
    return source.get("redacts") or _content(source).get("redacts")


def _came_redacted(source: Mapping[str, Any]) -> bool:
    return "redacted_because" in source.get("unsigned", {})
