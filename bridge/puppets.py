"""Every Matrix user that we act as: the assistant, faces, masks. One device each."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from bridge.database import Transaction
from policies.vocabulary import ConversationId, DeviceId, MatrixUserId, PersonId, PuppetId

_COLUMNS = (
    "p.id, p.user_id, p.device_id, p.kind, p.person_id, p.conversation_id, p.audience, p.state, p.sync_token"
)


@dataclass(frozen=True, slots=True)
class Puppet:
    id: PuppetId
    user_id: MatrixUserId
    device_id: DeviceId
    kind: str = "face"
    person_id: PersonId | None = None
    conversation_id: ConversationId | None = None
    audience: str | None = None
    ready: bool = False
    sync_token: str | None = None

    @property
    def localpart(self) -> str:
        return self.user_id[1:].partition(":")[0]


def _puppet(row: object) -> Puppet:
    r: dict[str, object] = row  # type: ignore[assignment]
    fields = dict(r)
    fields["ready"] = fields.pop("state") == "ready"
    return Puppet(**fields)  # type: ignore[arg-type]


async def get(tx: Transaction, puppet: UUID) -> Puppet:
    return _puppet(await tx.fetchrow(f"SELECT {_COLUMNS} FROM puppet p WHERE id = $1", puppet))


async def of_leg(tx: Transaction, leg: UUID) -> list[Puppet]:
    """The assistant first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM puppet p JOIN occupant o ON o.puppet_id = p.id WHERE o.leg_id = $1"
        " ORDER BY p.kind <> 'assistant', p.user_id",
        leg,
    )
    return [_puppet(row) for row in rows]


async def by_users(tx: Transaction, user_ids: Collection[str]) -> list[Puppet]:
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM puppet p WHERE user_id = ANY($1)", list(user_ids))
    return [_puppet(row) for row in rows]


async def named(tx: Transaction, puppet: PuppetId, digest: bytes) -> bool:
    """Whether the homeserver already has the display name with that hash."""
    return await tx.fetchval("SELECT display_name_set = $2 FROM puppet WHERE id = $1", puppet, digest) is True


async def faces(tx: Transaction) -> list[tuple[Puppet, bytes | None]]:
    """Every face that the homeserver has, with the hash of the name it has there."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS}, p.display_name_set FROM puppet p WHERE kind = 'face' AND state = 'ready'"
    )
    return [
        (_puppet({k: v for k, v in row.items() if k != "display_name_set"}), row["display_name_set"])
        for row in rows
    ]


async def set_named(tx: Transaction, puppet: PuppetId, digest: bytes) -> None:
    await tx.execute("UPDATE puppet SET display_name_set = $2 WHERE id = $1", puppet, digest)


async def set_ready(tx: Transaction, puppet: PuppetId) -> None:
    await tx.execute("UPDATE puppet SET state = 'ready' WHERE id = $1 AND state = 'wanted'", puppet)


async def to_sync(tx: Transaction, seconds: int, *, at_work: int, limit: int) -> list[Puppet]:
    """Faces and masks whose inbox has not been emptied for so long; `at_work`: of one that shared keys within
    the last day."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM puppet p WHERE state = 'ready' AND kind <> 'assistant'"
        " AND (synced_at IS NULL OR synced_at < now() - make_interval(secs => $1)"
        "      OR synced_at < now() - make_interval(secs => $2) AND EXISTS (SELECT FROM megolm_share s"
        "         WHERE s.puppet_id = p.id AND s.sent_at > now() - interval '1 day'))"
        " ORDER BY synced_at NULLS FIRST LIMIT $3",
        seconds, at_work, limit,
    )  # fmt: skip
    return [_puppet(row) for row in rows]


async def set_synced(tx: Transaction, puppet: PuppetId, token: str) -> None:
    await tx.execute("UPDATE puppet SET sync_token = $2, synced_at = now() WHERE id = $1", puppet, token)
