"""The values that the encryption's parts hand to each other and to their callers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from appservice.homeserver import Acting

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"


class Puppet(Protocol):
    """A Matrix user that we act as: a row of `puppet`."""

    @property
    def id(self) -> UUID: ...
    @property
    def user_id(self) -> str: ...
    @property
    def device_id(self) -> str: ...
    @property
    def kind(self) -> str: ...


def acting(puppet: Puppet) -> Acting:
    return Acting(puppet.user_id, puppet.device_id)


@dataclass(frozen=True, slots=True)
class Device:
    """Somebody else's device; its keys were signed by itself."""

    user_id: str
    device_id: str
    curve25519: str
    ed25519: str
    signed: bool = False


HoldReason = Literal["no_device", "identity_changed"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing can be encrypted for this person now. `detail` says more to the operator:
    `none`, `unsigned` (devices, but none signed by the identity), `no_one_time_key`."""

    reason: HoldReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Recipients:
    """The devices that may have keys, or why there are none."""

    devices: tuple[Device, ...] = ()
    hold: Hold | None = None


@dataclass(slots=True)
class Received:
    """What a batch of to-device events brought.

    `sessions`: (room_id, session_id) that can be decrypted now. `refused`: reason code → how many.
    `wedged`: (user_id, device_id) whose Olm session seems broken. `reshare`: legs whose keys somebody lost.
    """

    sessions: list[tuple[str, str]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    wedged: set[tuple[str, str]] = field(default_factory=set)
    reshare: set[UUID] = field(default_factory=set)
