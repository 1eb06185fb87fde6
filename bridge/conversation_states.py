"""How conversations stand, without a word of what was said in them: what the platform may know.

Nothing here opens a seal; ids, times and counts only.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bridge.database import Transaction
from policies.vocabulary import ConversationId, ConversationKind


@dataclass(frozen=True, slots=True)
class State:
    """`organiser` and `client` are platform ids; `unread` counts what others wrote and the organiser hasn't
    read; `held`: why nothing reaches a client now (no_device, identity_changed, left)."""

    id: ConversationId
    kind: ConversationKind
    organiser: str | None
    client: str | None
    client_archived: bool
    held: str | None
    undelivered: bool
    unread: int
    last_message_at: datetime | None
    created_at: datetime
    closed: bool
    ordered_at: datetime
    """What the list is ordered by: the latest message, or the making of a conversation without one."""

    @property
    def words(self) -> list[str]:
        held = {"no_device": "waiting_to_sign_in", "identity_changed": "on_hold", "left": "on_hold"}
        states = [held[self.held]] if self.held else []
        states += ["not_delivered"] if self.undelivered else []
        states += ["archived_client"] if self.client_archived else []
        return states + (["closed"] if self.closed else [])


_SELECT = """
SELECT c.id, c.kind, o.platform_id AS organiser, p.platform_id AS client,
    coalesce(p.status = 'archived', false) AS client_archived,
    (SELECT l.hold FROM leg l WHERE l.conversation_id = c.id AND l.hold IS NOT NULL AND l.state <> 'ended'
     ORDER BY l.hold LIMIT 1) AS held,
    EXISTS (SELECT FROM delivery d JOIN leg l ON l.id = d.leg_id
            WHERE l.conversation_id = c.id AND d.state = 'failed') AS undelivered,
    (SELECT count(*) FROM entry e WHERE e.conversation_id = c.id AND e.kind = 'message'
       AND e.seq > m.read_seq AND e.deleted_at IS NULL
       AND e.author_id IS DISTINCT FROM c.organiser_id) AS unread,
    CASE WHEN c.last_message_id IS NOT NULL THEN c.last_message_at END AS last_message_at,
    c.created_at, c.closed_at IS NOT NULL AS closed, c.last_message_at AS ordered_at
FROM conversation c
JOIN person o ON o.id = c.organiser_id
LEFT JOIN person p ON p.id = c.client_id
LEFT JOIN member m ON m.conversation_id = c.id AND m.person_id = c.organiser_id AND m.removed_at IS NULL
WHERE c.kind <> 'lobby' AND ($1::text IS NULL OR o.platform_id = $1)
  AND ($2::text IS NULL OR p.platform_id = $2)
  AND ($3::timestamptz IS NULL OR (c.last_message_at, c.id) < ($3, $4::uuid))
ORDER BY c.last_message_at DESC, c.id DESC
LIMIT $5
"""


async def page(
    tx: Transaction,
    *,
    organiser: str | None = None,
    client: str | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[State]:
    """Newest message first, of this organiser and this client if given; `after` is (ordered_at, id) of the
    last one that the caller has."""
    at, identity = after or (None, None)
    return [
        State(
            ConversationId(row["id"]),
            ConversationKind(row["kind"]),
            row["organiser"],
            row["client"],
            row["client_archived"],
            row["held"],
            row["undelivered"],
            row["unread"] or 0,
            row["last_message_at"],
            row["created_at"],
            row["closed"],
            row["ordered_at"],
        )
        for row in await tx.fetch(_SELECT, organiser, client, at, identity, limit)
    ]
