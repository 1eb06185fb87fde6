"""The outbox: what is still to be carried to each leg, in the order of the journal.

A delivery is pending, then prepared (its ciphertext and transaction id are stored), then sent. Only what
was prepared is ever sent, and what was prepared is sent again as it is after a crash: never twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bridge.database import Transaction
from bridge.errors import SealBroken
from bridge.feed import CHANNEL, Change, Notification
from bridge.journal import unseal
from bridge.puppets import Puppet
from bridge.sealing import Keyring
from policies.content import Content
from policies.vocabulary import (
    ConversationId,
    DeviceId,
    EntryId,
    EntryKind,
    LegId,
    MatrixUserId,
    PersonId,
    PuppetId,
    RoomId,
)

DUE = "d.state IN ('pending', 'prepared')"


@dataclass(frozen=True, slots=True)
class Item:
    """One delivery. `target_event`: the event that it is about, as this leg knows it."""

    id: int
    entry_id: EntryId
    kind: EntryKind
    state: str
    content: Content | None
    puppet_id: UUID
    puppet_user: str
    puppet_device: str
    target_id: EntryId | None
    target_state: str | None
    target_event: str | None
    attempts: int
    txn_id: str | None
    payload: str | None
    prepared_at: datetime | None
    posted_at: datetime
    due: bool
    """It may go now: its time has come, and its author is in the room."""
    restored_from: PersonId | None
    """The author of a restored message that the assistant has to say for them."""

    @property
    def puppet(self) -> Puppet:
        """Who sends it."""
        return Puppet(PuppetId(self.puppet_id), MatrixUserId(self.puppet_user), DeviceId(self.puppet_device))


@dataclass(frozen=True, slots=True)
class Load:
    """What one leg has to carry now, oldest first."""

    leg_id: LegId
    conversation_id: ConversationId
    person_id: PersonId
    user_id: MatrixUserId
    room_id: RoomId
    items: tuple[Item, ...]


async def legs_due(tx: Transaction, conversations: Collection[UUID] | None = None) -> list[LegId]:
    """Open, unheld legs with something to carry; of all conversations, or of these."""
    which = "" if conversations is None else " AND l.conversation_id = ANY($1)"
    rows = await tx.fetch(
        "SELECT l.id FROM leg l WHERE l.state = 'open' AND l.hold IS NULL" + which + " AND EXISTS"
        f" (SELECT FROM delivery d WHERE d.leg_id = l.id AND {DUE} AND d.next_attempt_at <= now())",
        *([] if conversations is None else [list(conversations)]),
    )
    return [LegId(row["id"]) for row in rows]


# What an entry is about, as its leg knows it at that place of its order: the message's event, or after a
# restoration the one that it came back as. A restoration itself is about what the message replied to.
_TARGET = """
SELECT x.state, x.event_id FROM (
    SELECT CASE WHEN e.kind = 'restoration' THEN te.target_id ELSE e.target_id END AS id) about,
    LATERAL (SELECT about.id UNION ALL
        SELECT r.id FROM entry r WHERE r.target_id = about.id AND r.kind = 'restoration') a (id),
    delivery x
WHERE x.leg_id = l.id AND x.entry_id = a.id AND x.id < d.id ORDER BY x.id DESC LIMIT 1
"""


async def load(tx: Transaction, keyring: Keyring, leg: LegId, limit: int = 25) -> Load | None:
    """The next deliveries of a leg; None when it has nothing to carry, or is held or ended."""
    rows = await tx.fetch(
        "SELECT l.conversation_id, m.person_id, l.user_id, l.room_id, c.wrapped_key, d.id, d.entry_id,"
        " d.state, d.puppet_id, d.attempts, d.txn_id, d.payload, d.prepared_at, d.next_attempt_at <= now()"
        " AND (o.joined_at IS NOT NULL OR e.kind IN ('deletion', 'reaction_removed')) AS due,"
        " p.user_id AS puppet_user, p.device_id AS puppet_device, e.kind, e.sealed, e.posted_at, e.target_id,"
        " t.state AS target_state, t.event_id AS target_event,"
        " CASE WHEN e.kind = 'restoration' AND p.person_id IS NULL THEN te.author_id END AS restored_from"
        " FROM leg l JOIN member m ON m.id = l.member_id JOIN conversation c ON c.id = l.conversation_id"
        " JOIN delivery d ON d.leg_id = l.id"
        " JOIN entry e ON e.id = d.entry_id JOIN puppet p ON p.id = d.puppet_id"
        " LEFT JOIN occupant o ON o.leg_id = l.id AND o.puppet_id = d.puppet_id"
        f" LEFT JOIN entry te ON te.id = e.target_id LEFT JOIN LATERAL ({_TARGET}) t ON true"
        f" WHERE l.id = $1 AND l.state = 'open' AND l.hold IS NULL AND {DUE} ORDER BY d.id LIMIT $2",
        leg, limit,
    )  # fmt: skip
    if not rows:
        return None
    first = rows[0]
    return Load(
        leg, ConversationId(first["conversation_id"]), PersonId(first["person_id"]),
        MatrixUserId(first["user_id"]), RoomId(first["room_id"]), tuple(_item(keyring, row) for row in rows),
    )  # fmt: skip


def _item(keyring: Keyring, row: Any) -> Item:
    content = None
    if row["sealed"] is not None and row["state"] == "pending":
        try:
            key = keyring.unwrap(row["wrapped_key"], str(row["conversation_id"]))
            content = unseal(key, row["conversation_id"], row["entry_id"], row["sealed"])
        except (SealBroken, ValueError, KeyError):
            content = None
    return Item(
        row["id"], EntryId(row["entry_id"]), EntryKind(row["kind"]), row["state"], content, row["puppet_id"],
        row["puppet_user"], row["puppet_device"], row["target_id"], row["target_state"], row["target_event"],
        row["attempts"], row["txn_id"], row["payload"], row["prepared_at"], row["posted_at"], row["due"],
        row["restored_from"],
    )  # fmt: skip


async def is_open(tx: Transaction, leg: LegId) -> bool:
    return bool(await tx.fetchval("SELECT state = 'open' FROM leg WHERE id = $1", leg))


async def prepared(tx: Transaction, items: Sequence[Item]) -> bool:
    """Store what exactly goes out from here on. False: one of them is no longer to be sent; roll back."""
    rows = await tx.fetch(
        "UPDATE delivery d SET state = 'prepared', txn_id = x.txn_id, payload = x.payload,"
        " prepared_at = now() FROM unnest($1::bigint[], $2::text[], $3::text[]) AS x(id, txn_id, payload)"
        " WHERE d.id = x.id AND d.state = 'pending' RETURNING d.id",
        [item.id for item in items], [item.txn_id for item in items], [item.payload for item in items],
    )  # fmt: skip
    return len(rows) == len(items)


async def sent(tx: Transaction, load: Load, item: Item, event_id: str | None) -> None:
    """There. Its ciphertext is not needed any more."""
    note = Notification(Change.DELIVERY, load.conversation_id, item.entry_id)
    await tx.execute(
        "WITH done AS (UPDATE delivery SET state = 'sent', event_id = $2, payload = NULL, sent_at = now(),"
        " error = NULL WHERE id = $1) SELECT pg_notify($3, $4)",
        item.id, event_id, CHANNEL, note.to_json(),
    )  # fmt: skip


async def failed(tx: Transaction, load: Load, item: Item, error: str) -> None:
    """It will not go out: the homeserver refuses it for good. The portal says so (M13)."""
    await _end(tx, load.conversation_id, [item.id], "failed", error)


async def cancel(tx: Transaction, load: Load, ids: Sequence[int], reason: str) -> None:
    """There is nothing to carry: what it is about never went to this leg."""
    await _end(tx, load.conversation_id, ids, "cancelled", reason)


async def _end(
    tx: Transaction, conversation: ConversationId, ids: Sequence[int], state: str, error: str
) -> None:
    await tx.execute(
        "WITH done AS (UPDATE delivery SET state = $2, error = $3, payload = NULL WHERE id = ANY($1))"
        " SELECT pg_notify($4, $5)",
        list(ids), state, error, CHANNEL, Notification(Change.DELIVERY, conversation).to_json(),
    )  # fmt: skip


async def postponed(tx: Transaction, load: Load, item: Item, error: str, pause_seconds: float) -> None:
    """Not now. Everything behind it in this leg waits with it: the order is kept."""
    await tx.execute(
        "WITH done AS (UPDATE delivery SET attempts = attempts + 1, error = $2,"
        " next_attempt_at = now() + make_interval(secs => $3) WHERE id = $1) SELECT pg_notify($4, $5)",
        item.id, error, pause_seconds, CHANNEL, Notification(Change.DELIVERY, load.conversation_id).to_json(),
    )  # fmt: skip


async def hasten(tx: Transaction) -> None:
    """The homeserver is back: what waits because it wasn't there is due. The sweep finds it."""
    await tx.execute(
        "UPDATE delivery SET next_attempt_at = now() WHERE state IN ('pending', 'prepared')"
        " AND next_attempt_at > now() AND error IN ('RUH_UNREACHABLE', 'RUH_TIMEOUT', 'RUH_NOT_JSON')"
    )


async def has_waiting(tx: Transaction, leg: LegId, puppet: UUID | None = None) -> bool:
    """Whether anything is still to be carried to a leg, by anybody or by this puppet."""
    found = await tx.fetchval(
        "SELECT true FROM delivery WHERE leg_id = $1 AND state IN ('pending', 'prepared')"
        " AND ($2::uuid IS NULL OR puppet_id = $2) LIMIT 1",
        leg, puppet,
    )  # fmt: skip
    return found is True


async def waiting(tx: Transaction) -> tuple[int, int]:
    """How many deliveries wait in held legs, and how many in others."""
    row = await tx.fetchrow(
        "SELECT count(*) FILTER (WHERE l.hold IS NOT NULL) AS held,"
        " count(*) FILTER (WHERE l.hold IS NULL) AS free"
        f" FROM delivery d JOIN leg l ON l.id = d.leg_id WHERE {DUE}"
    )
    assert row is not None
    return row["held"], row["free"]


async def events_about(tx: Transaction, leg: LegId, entry: EntryId, before: int) -> list[tuple[EntryId, str]]:
    """A message's events in a leg up to a delivery, its edits first: all that this deletion has to redact."""
    rows = await tx.fetch(
        "SELECT d.entry_id, d.event_id FROM delivery d JOIN entry e ON e.id = d.entry_id"
        " WHERE d.leg_id = $1 AND d.event_id IS NOT NULL AND d.state IN ('sent', 'origin')"
        " AND (e.id = $2 OR (e.target_id = $2 AND e.kind IN ('edit', 'restoration'))) AND d.id < $3"
        " ORDER BY d.id DESC",
        leg, entry, before,
    )  # fmt: skip
    return [(EntryId(row["entry_id"]), row["event_id"]) for row in rows]


async def entry_of_event(tx: Transaction, leg: LegId, event_id: str) -> tuple[EntryId, EntryKind, int] | None:
    """The entry behind an event of a leg, with its seq."""
    row = await tx.fetchrow(
        "SELECT e.id, e.kind, e.seq FROM delivery d JOIN entry e ON e.id = d.entry_id"
        " WHERE d.leg_id = $1 AND d.event_id = $2",
        leg, event_id,
    )  # fmt: skip
    return row and (EntryId(row["id"]), EntryKind(row["kind"]), row["seq"])
