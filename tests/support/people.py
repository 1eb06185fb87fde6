"""Builders of people: say what matters to the test, the rest is made up."""

import itertools

from bridge import people
from bridge.database import Pool, Transaction, transaction
from bridge.sealing import Keyring
from policies.vocabulary import Name, Person, Role

SERVER_NAME = "ruh.test"
_numbers = itertools.count(1)


def keyring() -> Keyring:
    return Keyring(b"m" * 32)


async def make(
    tx: Transaction,
    keys: Keyring,
    role: Role = Role.CLIENT,
    first: str = "Amina",
    last: str = "Yusuf",
    *,
    title: str = "",
    email: str | None = None,
    platform_id: str | None = None,
    time_zone: str = "Europe/Berlin",
) -> Person:
    person_id = await people.create(
        tx,
        keys,
        platform_id=platform_id or f"p-{next(_numbers)}",
        role=role,
        name=Name(first, last, title),
        email=email,
        time_zone=time_zone,
        server_name=SERVER_NAME,
    )
    return await people.get(tx, keys, person_id)


async def pair(pool: Pool, keys: Keyring) -> tuple[Person, Person]:
    """A therapist and a client who know nothing of each other yet."""
    async with transaction(pool) as tx:
        therapist = await make(tx, keys, Role.THERAPIST, "Sara", "Khan", title="Dr.", email="sara@ruh.test")
        return therapist, await make(tx, keys)
