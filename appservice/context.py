"""What every part of the appservice works with; wired together in one place, `appservice.main`."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from appservice.arrivals import Arrivals
from appservice.crypto.machine import Machine
from appservice.homeserver import Acting, Homeserver
from bridge.database import Pool
from bridge.puppets import Puppet
from bridge.sealing import Keyring
from policies.vocabulary import LegId


@dataclass(frozen=True, slots=True)
class Context:
    pool: Pool
    keyring: Keyring
    homeserver: Homeserver
    machine: Machine
    assistant: Puppet
    server_name: str
    shard: int = 0
    removal_patience: timedelta = timedelta(days=7)
    """How long a removed client's devices are waited for before their room goes."""
    keep_deleted: timedelta = timedelta(days=30)
    """How long a deleted message can be restored."""
    practice: str = "Ruh"
    """What the practice is called in the assistant's answers."""
    arrivals: Arrivals = field(default_factory=Arrivals)
    building: set[LegId] = field(default_factory=set)
    """Legs whose rooms are being made or changed at this moment."""
    locks: "WeakValueDictionary[UUID, asyncio.Lock]" = field(default_factory=WeakValueDictionary)

    def lock_of(self, thing: UUID) -> asyncio.Lock:
        """One at a time in this process, which alone has the shard: a leg's room, a puppet's keys."""
        lock = self.locks.get(thing)
        if lock is None:
            lock = self.locks[thing] = asyncio.Lock()
        return lock

    @property
    def acting(self) -> Acting:
        return Acting(self.assistant.user_id, self.assistant.device_id)

    def is_ours(self, user_id: str) -> bool:
        """One of our own users, whose events we wrote ourselves."""
        return user_id.startswith("@ruh_") and user_id.endswith(":" + self.server_name)
