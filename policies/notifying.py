"""Who is told of a message that came, and how: by their own switches, never by what was said (N1, N2).

Clients have no page to set anything on: their app tells them, and an e-mail does when they don't look.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from policies.vocabulary import ConversationKind, Role


@dataclass(frozen=True, slots=True)
class Settings:
    """What a member of staff wants to hear of; everything, until they say otherwise."""

    direct: bool = True
    """One-to-one threads with clients, those of blasts too."""
    community: bool = True
    email: bool = True
    browser: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    email: bool
    browser: bool


NOTHING = Wanted(email=False, browser=False)
_ONE_TO_ONE = (ConversationKind.DIRECT, ConversationKind.BLAST)


def wanted(role: Role, kind: ConversationKind, settings: Settings, *, muted: bool) -> Wanted:
    """``muted``: the switch of this one conversation. Colleagues' messages have no other one."""
    if role is Role.CLIENT:
        return Wanted(email=True, browser=False)
    off = (kind in _ONE_TO_ONE and not settings.direct) or (
        kind is ConversationKind.COMMUNITY and not settings.community
    )
    return NOTHING if muted or off else Wanted(settings.email, settings.browser)


TOO_OLD = timedelta(days=1)
"""What has stayed unread for so long without an e-mail gets none any more: the mail server was away, or was
set up since."""

_STEPS = (0.5, 1, 2, 5, 10, 20, 30, 60, 60)  # minutes; after them about three hours have passed


def again_in(attempts: int) -> timedelta | None:
    """After so many failures to send one mail; None: it has failed."""
    return timedelta(minutes=_STEPS[attempts - 1]) if attempts <= len(_STEPS) else None
