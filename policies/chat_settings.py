"""Whether a client's chat is on: the nearest setting wins, and it is always said which one it was (P5).

Client before group before everyone. Where several groups of a client disagree, *off* wins: switching a
group off must not be undone by another group that the same client happens to be in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from policies.vocabulary import ALLOWED, ConversationKind, Name, Refusal, Verdict


class Switch(StrEnum):
    DIRECT_MESSAGING = "direct_messaging"
    COMMUNITY_CHAT = "community_chat"


class Level(StrEnum):
    CLIENT = "client"
    GROUP = "group"
    EVERYONE = "everyone"


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds for one client, and where it was decided; ``group`` names the group that did."""

    on: bool
    level: Level
    group: str | None = None


_SWITCH_OF = {
    ConversationKind.DIRECT: Switch.DIRECT_MESSAGING,
    ConversationKind.BLAST: Switch.DIRECT_MESSAGING,
    ConversationKind.COMMUNITY: Switch.COMMUNITY_CHAT,
}

_WORDS = {Switch.DIRECT_MESSAGING: "direct messaging", Switch.COMMUNITY_CHAT: "community chat"}


def switch_for(kind: ConversationKind) -> Switch | None:
    """The switch that governs a kind of conversation; None where no client takes part."""
    return _SWITCH_OF.get(kind)


def in_force(*, client: bool | None, groups: Mapping[str, bool | None], everyone: bool) -> InForce:
    """``None`` is "nothing set here". ``groups`` are the client's own, by name."""
    if client is not None:
        return InForce(client, Level.CLIENT)
    decided = {name: on for name, on in sorted(groups.items()) if on is not None}
    for name, on in decided.items():
        if not on:
            return InForce(False, Level.GROUP, name)
    if decided:
        return InForce(True, Level.GROUP, next(iter(decided)))
    return InForce(everyone, Level.EVERYONE)


def why(switch: Switch, setting: InForce) -> str:
    """For the settings page: "On for everyone", "Off for the group “Evening”"."""
    where = {
        Level.CLIENT: "for this client",
        Level.GROUP: f"for the group “{setting.group}”",
        Level.EVERYONE: "for everyone",
    }[setting.level]
    return f"{_WORDS[switch].capitalize()} is {'on' if setting.on else 'off'} {where}."


def reachable(name: Name, switch: Switch, setting: InForce) -> Verdict:
    """Whether staff may write to this client; the words stand beside the greyed name (C4)."""
    if setting.on:
        return ALLOWED
    where = {
        Level.CLIENT: "",
        Level.GROUP: f" for the group “{setting.group}”",
        Level.EVERYONE: " for everyone",
    }[setting.level]
    return Refusal("chat_off", f"{name.first or name.full}’s {_WORDS[switch]} is off{where}.")


def told_when_off(switch: Switch) -> str:
    """What a client reads in their own room when what they wrote reaches nobody."""
    return (
        f"Your {_WORDS[switch]} is switched off at the moment, so this message was not delivered to anybody. "
        "You can still read everything here. Please contact the practice another way; "
        "if it is urgent, call your local emergency services."
    )
