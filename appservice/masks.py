"""Brings a puppet to the homeserver: registered, with its device, its name and its cross-signed keys.

Every step may be done again; `ready` is written after the last.
"""

import hashlib

from appservice.crypto.machine import Machine
from appservice.homeserver import Acting, Homeserver
from bridge import puppets
from bridge.database import Pool, transaction
from bridge.puppets import Puppet


def acting(puppet: Puppet) -> Acting:
    return Acting(puppet.user_id, puppet.device_id)


async def bring(pool: Pool, homeserver: Homeserver, machine: Machine, puppet: Puppet, name: str) -> None:
    """After this the puppet can join rooms and send, under `name`."""
    if not puppet.ready:
        await machine.provision(pool, puppet)
    await _name(pool, homeserver, puppet, name)
    if not puppet.ready:
        async with transaction(pool) as tx:
            await puppets.set_ready(tx, puppet.id)


def digest_of(puppet: Puppet, name: str) -> bytes:
    """What is kept of the name that the homeserver has: enough to see that another is due."""
    return hashlib.sha256(f"{puppet.id} {name}".encode()).digest()


async def _name(pool: Pool, homeserver: Homeserver, puppet: Puppet, name: str) -> None:
    async with transaction(pool) as tx:
        if await puppets.named(tx, puppet.id, digest_of(puppet, name)):
            return
    await rename(pool, homeserver, puppet, name)


async def rename(pool: Pool, homeserver: Homeserver, puppet: Puppet, name: str) -> None:
    """Under which name everybody in the puppet's rooms sees it."""
    await homeserver.set_display_name(acting(puppet), name)
    async with transaction(pool) as tx:
        await puppets.set_named(tx, puppet.id, digest_of(puppet, name))
