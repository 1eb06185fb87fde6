"""People are known to us by what the platform says; names and addresses stand sealed in the table.

`create`, `update` and the `get` family are the only code that seals or opens them (S2): a dump of the
table tells roles and time zones, not who anybody is.
"""

import json
import secrets
import unicodedata
from base64 import b32encode
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from asyncpg import Record, UniqueViolationError

from bridge.database import Transaction
from bridge.errors import AddressTaken, PersonUnknown, PlatformIdTaken
from bridge.feed import Change, Notification, notify
from bridge.sealing import DataKey, Keyring, standing_key
from policies.searching import folded_words, matches
from policies.vocabulary import Name, Person, PersonId, PersonStatus, Role

_COLUMNS = """p.id, p.platform_id, p.role, p.status, p.name_sealed, p.email_sealed, p.time_zone,
    (SELECT wrapped FROM sealing_key WHERE name = 'directory') AS directory"""
"""The directory's key comes along, so that a page's names cost one query."""


@dataclass(frozen=True, slots=True)
class Details:
    """A person with what only their own pages and the platform need."""

    person: Person
    platform_id: str | None
    email: str | None
    time_zone: str


async def create(
    tx: Transaction,
    keyring: Keyring,
    *,
    platform_id: str | None,
    role: Role,
    name: Name,
    email: str | None,
    time_zone: str,
    server_name: str,
) -> PersonId:
    """A new active person. A client also gets a Matrix account to be made on `server_name`, under an
    id that says nothing (P2). Raises PlatformIdTaken or AddressTaken."""
    key = await standing_key(tx, keyring, "directory")
    person_id = PersonId(uuid4())
    try:
        async with tx.transaction():
            await tx.execute(
                """INSERT INTO person
                       (id, platform_id, role, name_sealed, email_sealed, email_lookup, time_zone)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)""",
                person_id, platform_id, role.value, _seal_name(key, person_id, name),
                _seal_email(key, person_id, email), _lookup(key, role, email), time_zone,
            )  # fmt: skip
    except UniqueViolationError as error:
        raise _taken(error) from None
    if role is Role.CLIENT:
        await tx.execute(
            "INSERT INTO account (person_id, user_id) VALUES ($1, $2)",
            person_id, f"@{_opaque_localpart()}:{server_name}",
        )  # fmt: skip
    await notify(tx, Notification(Change.ACCOUNT, person=person_id))
    return person_id


async def update(
    tx: Transaction,
    keyring: Keyring,
    person_id: PersonId,
    *,
    name: Name | None = None,
    email: str | None = None,
    time_zone: str | None = None,
    status: PersonStatus | None = None,
) -> None:
    """Change what is given; None leaves as it is, an empty `email` takes the address away.

    Raises PersonUnknown or AddressTaken.
    """
    role = await tx.fetchval("SELECT role FROM person WHERE id = $1 FOR NO KEY UPDATE", person_id)
    if role is None:
        raise PersonUnknown
    key = await standing_key(tx, keyring, "directory")
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name_sealed"] = _seal_name(key, person_id, name)
    if email is not None:
        changes["email_sealed"] = _seal_email(key, person_id, email or None)
        changes["email_lookup"] = _lookup(key, Role(role), email or None)
    if time_zone is not None:
        changes["time_zone"] = time_zone
    if status is not None:
        changes["status"] = status.value
    assignments = "".join(f", {column} = ${n}" for n, column in enumerate(changes, start=2))
    try:
        async with tx.transaction():
            await tx.execute(
                f"UPDATE person SET updated_at = now(){assignments} WHERE id = $1",
                person_id,
                *changes.values(),
            )
    except UniqueViolationError as error:
        raise _taken(error) from None
    await notify(tx, Notification(Change.ACCOUNT, person=person_id))


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
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM person p WHERE p.id = ANY($1)", list(set(ids)))
    people = (to_person(keyring, row) for row in rows)
    return {person.id: person for person in people}


async def details(tx: Transaction, keyring: Keyring, person_id: PersonId) -> Details:
    """Raises PersonUnknown."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM person p WHERE p.id = $1", person_id)
    if row is None:
        raise PersonUnknown
    return _to_details(keyring, row)


async def find_by_platform_id(tx: Transaction, keyring: Keyring, platform_id: str) -> Details | None:
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM person p WHERE p.platform_id = $1", platform_id)
    return None if row is None else _to_details(keyring, row)


async def find_staff_by_email(
    tx: Transaction, keyring: Keyring, email: str
) -> tuple[Person, str | None] | None:
    """Who signs in with this address, and their password's argon2 hash (None: not activated yet).

    Archived staff and clients are nobody here.
    """
    key = await standing_key(tx, keyring, "directory")
    row = await tx.fetchrow(
        f"""SELECT {_COLUMNS}, p.password_hash FROM person p
            WHERE p.email_lookup = $1 AND p.role <> 'client' AND p.status = 'active'""",
        key.lookup("email", normalised(email)),
    )
    return None if row is None else (to_person(keyring, row), row["password_hash"])


async def set_password_hash(tx: Transaction, person_id: PersonId, password_hash: str) -> None:
    """Give a staff member the argon2 hash that the portal's sign-in checks.

    For a client's password see `bridge.accounts.request_password`. Raises PersonUnknown.
    """
    done = await tx.execute(
        "UPDATE person SET password_hash = $2, updated_at = now() WHERE id = $1 AND role <> 'client'",
        person_id, password_hash,
    )  # fmt: skip
    if done == "UPDATE 0":
        raise PersonUnknown


async def set_welcome(tx: Transaction, keyring: Keyring, person_id: PersonId, text: str | None) -> None:
    """A therapist's own welcome message, None for the practice's (A8)."""
    key = await standing_key(tx, keyring, "directory")
    sealed = None if text is None else key.seal(text.encode(), f"person {person_id} welcome")
    await tx.execute("UPDATE person SET welcome_sealed = $2 WHERE id = $1", person_id, sealed)


async def welcome_text(tx: Transaction, keyring: Keyring, person_id: PersonId) -> str | None:
    sealed = await tx.fetchval("SELECT welcome_sealed FROM person WHERE id = $1", person_id)
    if sealed is None:
        return None
    key = await standing_key(tx, keyring, "directory")
    return key.open(sealed, f"person {person_id} welcome").decode()


async def search(
    tx: Transaction, keyring: Keyring, actor: Person, text: str, *, limit: int = 50, offset: int = 0
) -> list[Person]:
    """Active clients whom `actor` may write to and whose name has a word that begins like each word of
    `text`, whatever its case or accents; by name (C3).

    A therapist's are those with a booking with them; everybody's for other staff; a client finds nobody (P3).
    """
    if not actor.role.is_staff:
        return []
    rows = await tx.fetch(
        f"""SELECT {_COLUMNS} FROM person p
            WHERE p.role = 'client' AND p.status = 'active'
              AND ($1::uuid IS NULL OR EXISTS (
                    SELECT FROM booking b WHERE b.client_id = p.id AND b.therapist_id = $1))""",
        actor.id if actor.role is Role.THERAPIST else None,
    )
    wanted = folded_words(text)
    if not rows:
        return []
    key = _directory(keyring, rows[0])
    found = [(_open_name(key, row["name_sealed"], row["id"]), row) for row in rows]
    found = [(opened, row) for opened, row in found if matches(wanted, opened.words)]
    found.sort(key=lambda pair: (pair[0].words, pair[1]["id"]))
    return [to_person(keyring, row) for _, row in found[offset : offset + limit]]


async def may_write_to(tx: Transaction, actor: Person, client: PersonId) -> bool:
    """Whether `search` would offer this client to `actor`."""
    if not actor.role.is_staff:
        return False
    found = await tx.fetchval(
        """SELECT true FROM person p WHERE p.id = $1 AND p.role = 'client' AND p.status = 'active'
             AND ($2::uuid IS NULL OR EXISTS (
                   SELECT FROM booking b WHERE b.client_id = p.id AND b.therapist_id = $2))""",
        client,
        actor.id if actor.role is Role.THERAPIST else None,
    )
    return found is not None


def normalised(email: str) -> str:
    """One spelling of an address: people type capitals and spaces, mailboxes don't care."""
    return unicodedata.normalize("NFKC", email).strip().casefold()


def to_person(keyring: Keyring, row: Record) -> Person:
    """From a row that has `_COLUMNS`."""
    name = _opened(keyring, row).name
    return Person(PersonId(row["id"]), Role(row["role"]), name, PersonStatus(row["status"]))


def _to_details(keyring: Keyring, row: Record) -> Details:
    email = None
    if row["email_sealed"] is not None:
        email = _directory(keyring, row).open(row["email_sealed"], f"person {row['id']} email").decode()
    return Details(to_person(keyring, row), row["platform_id"], email, row["time_zone"])


@dataclass(frozen=True, slots=True)
class _Opened:
    name: Name
    words: tuple[str, ...]


def _directory(keyring: Keyring, row: Record) -> DataKey:
    return keyring.unwrap(row["directory"], "standing directory")


def _opened(keyring: Keyring, row: Record) -> _Opened:
    return _open_name(_directory(keyring, row), row["name_sealed"], row["id"])


# Keyed by the sealed bytes: a changed name is another key, so nothing here can be stale.
@lru_cache(maxsize=20_000)
def _open_name(key: DataKey, sealed: bytes, person_id: UUID) -> _Opened:
    name = Name(**json.loads(key.open(sealed, f"person {person_id} name")))
    return _Opened(name, folded_words(f"{name.first} {name.last}"))


def _seal_name(key: DataKey, person_id: PersonId, name: Name) -> bytes:
    fields = {"first": name.first, "last": name.last, "title": name.title}
    return key.seal(json.dumps(fields, ensure_ascii=False).encode(), f"person {person_id} name")


def _seal_email(key: DataKey, person_id: PersonId, email: str | None) -> bytes | None:
    return None if email is None else key.seal(email.strip().encode(), f"person {person_id} email")


def _lookup(key: DataKey, role: Role, email: str | None) -> bytes | None:
    """Only staff sign in with their address; two clients may share one (a couple, a parent)."""
    return key.lookup("email", normalised(email)) if email and role.is_staff else None


def _opaque_localpart() -> str:
    """c and 100 random bits: says nothing, and can't be guessed by another client (P2)."""
    return "c" + b32encode(secrets.token_bytes(13)).decode().lower()[:20]


def _taken(error: UniqueViolationError) -> AddressTaken | PlatformIdTaken:
    return AddressTaken() if error.constraint_name == "person_email_lookup_key" else PlatformIdTaken()
