"""Who people are: the one place that seals and opens their names and addresses (S2).

A dump of the table tells roles and time zones, not who anybody is.
"""

import json
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from asyncpg import Record

from bridge.database import Transaction
from bridge.errors import PersonUnknown
from bridge.sealing import DataKey, Keyring
from policies.searching import folded_words
from policies.vocabulary import Name, Person, PersonId, PersonStatus, Role

COLUMNS = """p.id, p.platform_id, p.role, p.status, p.name_sealed, p.email_sealed, p.time_zone,
    (SELECT wrapped FROM sealing_key WHERE name = 'directory') AS directory"""
"""The directory's key comes along, so that a page's names cost one query."""

PEOPLE = """ROW(p.id, p.role, p.status, p.name_sealed,
    (SELECT wrapped FROM sealing_key WHERE name = 'directory'))"""
"""The same as one value, for an array of people beside what they are part of: see `to_people`."""


@dataclass(frozen=True, slots=True)
class Details:
    """A person with what only their own pages and the platform need."""

    person: Person
    platform_id: str | None
    email: str | None
    time_zone: str


async def get(tx: Transaction, keyring: Keyring, person_id: PersonId) -> Person:
    """Raises PersonUnknown."""
    found = await get_many(tx, keyring, [person_id])
    if person_id not in found:
        raise PersonUnknown
    return found[person_id]


async def get_many(tx: Transaction, keyring: Keyring, ids: Collection[PersonId]) -> dict[PersonId, Person]:
    """The people among `ids` that exist, in one query; names that were opened before cost nothing."""
    if not ids:
        return {}
    rows = await tx.fetch(f"SELECT {COLUMNS} FROM person p WHERE p.id = ANY($1)", list(set(ids)))
    people = (to_person(keyring, row) for row in rows)
    return {person.id: person for person in people}


def normalised(email: str) -> str:
    """One spelling of an address: people type capitals and spaces, mailboxes don't care."""
    return unicodedata.normalize("NFKC", email).strip().casefold()


def to_person(keyring: Keyring, row: Record) -> Person:
    """From a row that has `COLUMNS`."""
    name = opened(keyring, row).name
    return Person(PersonId(row["id"]), Role(row["role"]), name, PersonStatus(row["status"]))


def to_people(keyring: Keyring, found: Iterable[Any]) -> dict[PersonId, Person]:
    """From an array of `PEOPLE`."""
    people: dict[PersonId, Person] = {}
    for person_id, role, status, sealed, wrapped in found:
        name = open_name(keyring.unwrap(wrapped, "standing directory"), sealed, person_id).name
        people[PersonId(person_id)] = Person(PersonId(person_id), Role(role), name, PersonStatus(status))
    return people


def to_details(keyring: Keyring, row: Record) -> Details:
    email = None
    if row["email_sealed"] is not None:
        email = key_of(keyring, row).open(row["email_sealed"], f"person {row['id']} email").decode()
    return Details(to_person(keyring, row), row["platform_id"], email, row["time_zone"])


@dataclass(frozen=True, slots=True)
class Opened:
    name: Name
    words: tuple[str, ...]


def key_of(keyring: Keyring, row: Record) -> DataKey:
    return keyring.unwrap(row["directory"], "standing directory")


def opened(keyring: Keyring, row: Record) -> Opened:
    return open_name(key_of(keyring, row), row["name_sealed"], row["id"])


# Keyed by the sealed bytes: a changed name is another key, so nothing here can be stale.
@lru_cache(maxsize=20_000)
def open_name(key: DataKey, sealed: bytes, person_id: UUID) -> Opened:
    name = Name(**json.loads(key.open(sealed, f"person {person_id} name")))
    return Opened(name, folded_words(f"{name.first} {name.last}"))


def seal_name(key: DataKey, person_id: PersonId, name: Name) -> bytes:
    fields = {"first": name.first, "last": name.last, "title": name.title}
    return key.seal(json.dumps(fields, ensure_ascii=False).encode(), f"person {person_id} name")


def seal_email(key: DataKey, person_id: PersonId, email: str | None) -> bytes | None:
    return None if email is None else key.seal(email.strip().encode(), f"person {person_id} email")


def lookup(key: DataKey, role: Role, email: str | None) -> bytes | None:
    """Only staff sign in with their address; two clients may share one (a couple, a parent)."""
    return key.lookup("email", normalised(email)) if email and role.is_staff else None
