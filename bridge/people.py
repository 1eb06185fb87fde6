"""People are known to us by what the platform says: made, changed, found (`bridge.directory` seals them).

What follows from a change of the team, the Client Care groups (C1), is carried out in the same transaction.
"""

import secrets
from base64 import b32encode
from collections.abc import Collection
from enum import StrEnum
from typing import Any
from uuid import uuid4

from asyncpg import UniqueViolationError

from bridge import audit, client_care, directory, sessions
from bridge.audit import Did
from bridge.database import Transaction
from bridge.directory import Details, get, get_many, normalised
from bridge.errors import AddressTaken, PersonUnknown, PlatformIdTaken
from bridge.feed import Change, Notification, notify
from bridge.sealing import Keyring, standing_key
from policies.searching import folded_words, matches
from policies.vocabulary import Name, Person, PersonId, PersonStatus, Role

__all__ = [
    "Details", "Kind", "by_platform_ids", "create", "details", "find_by_platform_id", "find_staff_by_email",
    "get", "get_many", "may_write_to", "normalised", "search", "set_password_hash", "set_welcome", "update",
    "welcome_text",
]  # fmt: skip


class Kind(StrEnum):
    """Whom a search is for."""

    CLIENT = "client"
    STAFF = "staff"


CLIENTS = frozenset({Kind.CLIENT})


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
                person_id, platform_id, role.value, directory.seal_name(key, person_id, name),
                directory.seal_email(key, person_id, email), directory.lookup(key, role, email), time_zone,
            )  # fmt: skip
    except UniqueViolationError as error:
        raise _taken(error) from None
    if role is Role.CLIENT:
        await tx.execute(
            "INSERT INTO account (person_id, user_id) VALUES ($1, $2)",
            person_id, f"@{_opaque_localpart()}:{server_name}",
        )  # fmt: skip
    if role in client_care.CONCERNED:
        await client_care.bring(tx, keyring)
    await audit.record(tx, Did.PERSON_CHANGED, subject=person_id, changed="made", role=role.value)
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
        changes["name_sealed"] = directory.seal_name(key, person_id, name)
    if email is not None:
        changes["email_sealed"] = directory.seal_email(key, person_id, email or None)
        changes["email_lookup"] = directory.lookup(key, Role(role), email or None)
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
    if status is PersonStatus.ARCHIVED:
        await sessions.end_all(tx, person_id)  # who comes back signs in anew
    if status is not None and role in client_care.CONCERNED:
        await client_care.bring(tx, keyring)
    given = {"name": name, "email": email, "time_zone": time_zone, "status": status}
    changed = " ".join(name for name, value in given.items() if value is not None)
    await audit.record(tx, Did.PERSON_CHANGED, subject=person_id, changed=changed, status=status)
    await notify(tx, Notification(Change.ACCOUNT, person=person_id))


async def details(tx: Transaction, keyring: Keyring, person_id: PersonId) -> Details:
    """Raises PersonUnknown."""
    row = await tx.fetchrow(f"SELECT {directory.COLUMNS} FROM person p WHERE p.id = $1", person_id)
    if row is None:
        raise PersonUnknown
    return directory.to_details(keyring, row)


async def find_by_platform_id(tx: Transaction, keyring: Keyring, platform_id: str) -> Details | None:
    row = await tx.fetchrow(f"SELECT {directory.COLUMNS} FROM person p WHERE p.platform_id = $1", platform_id)
    return None if row is None else directory.to_details(keyring, row)


async def by_platform_ids(tx: Transaction, platform_ids: Collection[str]) -> dict[str, tuple[PersonId, Role]]:
    """Those that exist among many; no name is opened."""
    rows = await tx.fetch(
        "SELECT platform_id, id, role FROM person WHERE platform_id = ANY($1)", list(platform_ids)
    )
    return {row["platform_id"]: (PersonId(row["id"]), Role(row["role"])) for row in rows}


async def find_staff_by_email(
    tx: Transaction, keyring: Keyring, email: str
) -> tuple[Person, str | None] | None:
    """Who signs in with this address, and their password's argon2 hash (None: not activated yet).

    Archived staff and clients are nobody here.
    """
    key = await standing_key(tx, keyring, "directory")
    row = await tx.fetchrow(
        f"""SELECT {directory.COLUMNS}, p.password_hash FROM person p
            WHERE p.email_lookup = $1 AND p.role <> 'client' AND p.status = 'active'""",
        key.lookup("email", normalised(email)),
    )
    return None if row is None else (directory.to_person(keyring, row), row["password_hash"])


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
    await audit.record(tx, Did.PERSON_CHANGED, subject=person_id, changed="password")


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
    tx: Transaction,
    keyring: Keyring,
    actor: Person,
    text: str,
    *,
    kinds: Collection[Kind] = CLIENTS,
    limit: int = 50,
    offset: int = 0,
) -> list[Person]:
    """Active people of these kinds whom `actor` may write to and whose name has a word that begins like each
    word of `text`, whatever its case or accents; by name (C3).

    A therapist's clients are those with a booking with them; everybody's for other staff; colleagues are
    everybody's (C1). A client finds nobody (P3).
    """
    if not actor.role.is_staff:
        return []
    rows = await tx.fetch(
        f"""SELECT {directory.COLUMNS} FROM person p
            WHERE p.status = 'active' AND p.id <> $1
              AND CASE WHEN p.role = 'client' THEN $3 AND ($2::uuid IS NULL OR EXISTS (
                    SELECT FROM booking b WHERE b.client_id = p.id AND b.therapist_id = $2)) ELSE $4 END""",
        actor.id, _only_with(actor), Kind.CLIENT in kinds, Kind.STAFF in kinds,
    )  # fmt: skip
    wanted = folded_words(text)
    if not rows:
        return []
    key = directory.key_of(keyring, rows[0])
    found = [(directory.open_name(key, row["name_sealed"], row["id"]), row) for row in rows]
    found = [(opened, row) for opened, row in found if matches(wanted, opened.words)]
    found.sort(key=lambda pair: (pair[0].words, pair[1]["id"]))
    return [directory.to_person(keyring, row) for _, row in found[offset : offset + limit]]


def _only_with(actor: Person) -> PersonId | None:
    """Whose bookings decide which clients are offered; None: nobody's, all are."""
    return actor.id if actor.role is Role.THERAPIST else None


async def may_write_to(tx: Transaction, actor: Person, client: PersonId) -> bool:
    """Whether `search` would offer this client to `actor`."""
    if not actor.role.is_staff:
        return False
    found = await tx.fetchval(
        """SELECT true FROM person p WHERE p.id = $1 AND p.role = 'client' AND p.status = 'active'
             AND ($2::uuid IS NULL OR EXISTS (
                   SELECT FROM booking b WHERE b.client_id = p.id AND b.therapist_id = $2))""",
        client, _only_with(actor),
    )  # fmt: skip
    return found is not None


def _opaque_localpart() -> str:
    """c and 100 random bits: says nothing, and can't be guessed by another client (P2)."""
    return "c" + b32encode(secrets.token_bytes(13)).decode().lower()[:20]


def _taken(error: UniqueViolationError) -> AddressTaken | PlatformIdTaken:
    return AddressTaken() if error.constraint_name == "person_email_lookup_key" else PlatformIdTaken()
