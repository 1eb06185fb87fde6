"""Who has read up to where, and when. Staff see it; clients never do (M9).

Reading on is also what the audit trail is told, by the same statement: a page may stay open all day.
"""

from datetime import datetime

from bridge import audit
from bridge.database import Transaction
from bridge.feed import CHANNEL, Change, Notification
from policies.vocabulary import ConversationId, PersonId


async def mark_read(
    tx: Transaction,
    *,
    person: PersonId,
    conversation: ConversationId,
    seq: int,
    at: datetime,
    late: bool = False,
) -> bool:
    """Move a member's mark on to `seq`, or to the end if that is less; False when it was there already.

    `late`: a receipt counts after an answer too. Who answers has read all before, as far as "unread" goes;
    that they have seen it only their app's receipt says. A person who is no member changes nothing.
    """
    note = Notification(Change.RECEIPT, conversation, person=person)
    moved = await tx.fetchval(
        "WITH upto AS ("
        " SELECT least($3, c.last_seq) AS seq FROM member m JOIN conversation c ON c.id = m.conversation_id"
        " WHERE c.id = $2 AND m.person_id = $1 AND m.removed_at IS NULL"
        " AND (m.read_seq < least($3, c.last_seq) OR $7 AND NOT EXISTS (SELECT FROM receipt r"
        "  WHERE r.conversation_id = $2 AND r.person_id = $1 AND r.seq >= least($3, c.last_seq)))"
        "), moved AS ("
        " UPDATE member m SET read_seq = greatest(m.read_seq, upto.seq) FROM upto"
        " WHERE m.conversation_id = $2 AND m.person_id = $1 AND m.removed_at IS NULL RETURNING upto.seq"
        "), kept AS ("
        " INSERT INTO receipt (conversation_id, person_id, seq, at) SELECT $2, $1, seq, $4 FROM moved"
        " ON CONFLICT DO NOTHING"
        f"), seen AS ({audit.READ_ONCE} AND EXISTS (SELECT FROM moved)"
        ") SELECT pg_notify($5, $6) IS NOT NULL FROM moved",
        person, conversation, seq, at, CHANNEL, note.to_json(), late,
    )  # fmt: skip
    return moved is not None
