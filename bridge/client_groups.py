"""Groups of clients, as the platform knows them: to choose several at once, and to carry chat settings."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID, uuid4

from bridge import locks
from bridge.database import Transaction
from bridge.sealing import Keyring, standing_key
from policies.vocabulary import PersonId


@dataclass(frozen=True, slots=True)
class ClientGroup:
    id: UUID
    platform_id: str
    name: str
    members: tuple[PersonId, ...]
    """Active clients only."""


async def put(tx: Transaction, keyring: Keyring, *, platform_id: str, name: str) -> tuple[UUID, bool]:
    """Make or rename the group of that platform id; True when it is new."""
    await locks.alone(tx, locks.SETTINGS)
    group = await tx.fetchval(
        "INSERT INTO client_group (id, platform_id, name_sealed) VALUES ($1, $2, '')"
        " ON CONFLICT (platform_id) DO NOTHING RETURNING id",
        uuid4(), platform_id,
    )  # fmt: skip
    fresh = group is not None
    if group is None:
        group = await tx.fetchval(
            "SELECT id FROM client_group WHERE platform_id = $1 FOR UPDATE", platform_id
        )
    key = await standing_key(tx, keyring, "directory")
    await tx.execute(
        "UPDATE client_group SET name_sealed = $2, updated_at = now() WHERE id = $1",
        group, key.seal(name.encode(), f"group {group} name"),
    )  # fmt: skip
    return group, fresh


async def find(tx: Transaction, platform_id: str) -> UUID | None:
    found: UUID | None = await tx.fetchval("SELECT id FROM client_group WHERE platform_id = $1", platform_id)
    return found


async def told(tx: Transaction, keyring: Keyring, group: UUID) -> tuple[str, list[str]]:
    """Its name and the platform's ids of everybody in it, archived clients too."""
    key = await standing_key(tx, keyring, "directory")
    sealed = await tx.fetchval("SELECT name_sealed FROM client_group WHERE id = $1", group)
    rows = await tx.fetch(
        "SELECT p.platform_id FROM client_group_member m JOIN person p ON p.id = m.person_id"
        " WHERE m.group_id = $1 AND p.platform_id IS NOT NULL ORDER BY p.platform_id",
        group,
    )
    return key.open(sealed, f"group {group} name").decode(), [row["platform_id"] for row in rows]


async def set_members(tx: Transaction, group: UUID, clients: Collection[PersonId]) -> set[PersonId]:
    """Exactly these; returns everybody who came or went: their chat settings may have changed, so that
    `chat_settings.silence` has to look at them."""
    await locks.alone(tx, locks.SETTINGS)
    gone = await tx.fetch(
        "DELETE FROM client_group_member WHERE group_id = $1 AND NOT person_id = ANY($2) RETURNING person_id",
        group, list(clients),
    )  # fmt: skip
    new = await tx.fetch(
        "INSERT INTO client_group_member (group_id, person_id) SELECT $1, unnest($2::uuid[])"
        " ON CONFLICT DO NOTHING RETURNING person_id",
        group, list(clients),
    )  # fmt: skip
    return {PersonId(row["person_id"]) for row in (*gone, *new)}


async def remove(tx: Transaction, group: UUID) -> list[PersonId]:
    """With its settings; returns who was in it, for `chat_settings.silence`."""
    await locks.alone(tx, locks.SETTINGS)
    were = await members(tx, group)
    await tx.execute("DELETE FROM client_group WHERE id = $1", group)
    return were


async def members(tx: Transaction, group: UUID) -> list[PersonId]:
    rows = await tx.fetch("SELECT person_id FROM client_group_member WHERE group_id = $1", group)
    return [PersonId(row["person_id"]) for row in rows]


async def names(tx: Transaction, keyring: Keyring) -> dict[UUID, str]:
    key = await standing_key(tx, keyring, "directory")
    rows = await tx.fetch("SELECT id, name_sealed FROM client_group")
    return {row["id"]: key.open(row["name_sealed"], f"group {row['id']} name").decode() for row in rows}


async def offered(
    tx: Transaction, keyring: Keyring, clients: Collection[PersonId] | None = None
) -> list[ClientGroup]:
    """Groups by name, with those of their active members who are among `clients` (None: all); one without
    any is not offered (C4)."""
    rows = await tx.fetch(
        "SELECT g.id, g.platform_id, array_agg(p.id ORDER BY p.id) AS members FROM client_group g"
        " JOIN client_group_member m ON m.group_id = g.id"
        " JOIN person p ON p.id = m.person_id AND p.status = 'active'"
        " WHERE $1::uuid[] IS NULL OR p.id = ANY($1) GROUP BY g.id",
        None if clients is None else list(clients),
    )
    called = await names(tx, keyring)
    found = [ClientGroup(r["id"], r["platform_id"], called[r["id"]], tuple(r["members"])) for r in rows]
    return sorted(found, key=lambda group: group.name.casefold())
