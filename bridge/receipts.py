"""Who has read up to where, and when. Staff see it; clients never do (M9).

Reading on is also what the audit trail is told, by the same statement: a page may stay open all day.
"""

from datetime import datetime

from bridge import audit
from bridge.database import Transaction
from bridge.feed import CHANNEL, Change, Notification
from policies.vocabulary import ConversationId, PersonId


async def mark_read(
    tx: Transaction, *, person: PersonId, conversation: ConversationId, seq: int, at: datetime
) -> bool:
    """Move a member's mark on to `seq`, or to the end if that is less; False when it was there already.

    A person who is no member changes nothing.
    """
    note = Notification(Change.RECEIPT, conversation, person=person)
    moved = await tx.fetchval(
        "WITH moved AS ("
        " UPDATE member m SET read_seq = least($3, c.last_seq) FROM conversation c"
        " WHERE c.id = $2 AND m.conversation_id = $2 AND m.person_id = $1 AND m.removed_at IS NULL"
        " AND m.read_seq < least($3, c.last_seq) RETURNING m.read_seq"
        "), kept AS ("
        " INSERT INTO receipt (conversation_id, person_id, seq, at) SELECT $2, $1, read_seq, $4 FROM moved"
        " ON CONFLICT DO NOTHING"
        f"), seen AS ({audit.READ_ONCE} AND EXISTS (SELECT FROM moved)"
        ") SELECT pg_notify($5, $6) IS NOT NULL FROM moved",
        person, conversation, seq, at, CHANNEL, note.to_json(),
    )  # fmt: skip
    return moved is not None
