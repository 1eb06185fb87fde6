"""What an open page has to show anew after a change: which lines, asked with as little as possible.

Callers have asked `standing` in the same transaction: these say ids, never content.
"""

from collections.abc import Collection

from bridge.database import Transaction
from policies.vocabulary import ConversationId, EntryId, PersonId

_AT_MOST = 100
"""Lines refreshed at once; whoever scrolls further back sees them as they are when loading them."""


async def on_their_way(tx: Transaction, author: PersonId, conversation: ConversationId) -> set[EntryId]:
    """The author's latest messages that haven't reached every leg yet, and restored ones."""
    rows = await tx.fetch(
        "SELECT DISTINCT CASE WHEN e.kind = 'restoration' THEN e.target_id ELSE e.id END AS id, e.seq"
        " FROM delivery d JOIN leg l ON l.id = d.leg_id JOIN entry e ON e.id = d.entry_id"
        " WHERE l.conversation_id = $1 AND d.state IN ('pending', 'prepared')"
        " AND (e.author_id = $2 AND e.kind = 'message' OR e.kind = 'restoration')"
        " ORDER BY e.seq DESC LIMIT $3",
        conversation, author, _AT_MOST,
    )  # fmt: skip
    return {EntryId(row["id"]) for row in rows}


async def read_up_to(tx: Transaction, conversation: ConversationId) -> dict[PersonId, int]:
    """The latest receipt of each member. Not what they have read: who answers has, and may say so later."""
    rows = await tx.fetch(
        "SELECT m.person_id, (SELECT max(seq) FROM receipt r WHERE r.conversation_id = m.conversation_id"
        " AND r.person_id = m.person_id) AS seq FROM member m"
        " WHERE m.conversation_id = $1 AND m.removed_at IS NULL",
        conversation,
    )
    return {PersonId(row["person_id"]): row["seq"] or 0 for row in rows}


async def written_between(
    tx: Transaction, author: PersonId, conversation: ConversationId, after: int, to: int
) -> set[EntryId]:
    """The author's messages with after < seq <= to, the latest ones where there are many."""
    rows = await tx.fetch(
        "SELECT id FROM entry WHERE conversation_id = $1 AND author_id = $2 AND kind = 'message'"
        " AND seq > $3 AND seq <= $4 ORDER BY seq DESC LIMIT $5",
        conversation, author, after, to, _AT_MOST,
    )  # fmt: skip
    return {EntryId(row["id"]) for row in rows}


async def lines_of(tx: Transaction, entries: Collection[EntryId]) -> set[EntryId]:
    """The lines that these entries are or are about: an edit's message, a removed reaction's message."""
    rows = await tx.fetch(
        "SELECT CASE WHEN e.kind IN ('message', 'notice') THEN e.id"
        " WHEN t.kind = 'reaction' THEN t.target_id ELSE e.target_id END AS id"
        " FROM entry e LEFT JOIN entry t ON t.id = e.target_id WHERE e.id = ANY($1)",
        list(entries),
    )
    return {EntryId(row["id"]) for row in rows if row["id"] is not None}
