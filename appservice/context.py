"""What every part of the appservice works with; wired together in one place, `appservice.main`."""

from dataclasses import dataclass

from appservice.crypto.machine import Machine
from appservice.homeserver import Acting, Homeserver
from bridge.database import Pool
from bridge.puppets import Puppet
from bridge.sealing import Keyring


@dataclass(frozen=True, slots=True)
class Context:
    pool: Pool
    keyring: Keyring
    homeserver: Homeserver
    machine: Machine
    assistant: Puppet
    server_name: str
    shard: int = 0

    @property
    def acting(self) -> Acting:
        return Acting(self.assistant.user_id, self.assistant.device_id)

    def is_ours(self, user_id: str) -> bool:
        """One of our own users, whose events we wrote ourselves."""
        return user_id.startswith("@ruh_") and user_id.endswith(":" + self.server_name)
