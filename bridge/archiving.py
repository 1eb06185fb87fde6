"""Putting conversations away for oneself (C13): nothing is deleted, and nobody else notices.

A client's next message brings one back; the statement that appends it does that (`bridge.journal`).
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from bridge import audit
from bridge.audit import Did
from bridge.database import Transaction
from bridge.feed import Change, Notification, notify
from bridge.standing import allowed
from policies.access import Action
from policies.vocabulary import ConversationId, PersonId


async def archive(
    tx: Transaction, *, actor: PersonId, conversation: ConversationId, at: datetime, away: bool = True
) -> bool:
    """Put a conversation away, or (`away` False) take it back; False: it was so already."""
    await allowed(tx, actor, conversation, Action.ARCHIVE)
    return await _archive(tx, actor, [conversation], at, away=away) > 0


async def archive_blast(
    tx: Transaction, *, actor: PersonId, blast: UUID, at: datetime, away: bool = True
) -> int:
    """The same for all threads of one's blast that nobody has answered yet: they are one row."""
    rows = await tx.fetch(
        "SELECT id FROM conversation WHERE blast_id = $1 AND organiser_id = $2 AND NOT answered", blast, actor
    )
    return await _archive(tx, actor, [ConversationId(row["id"]) for row in rows], at, away=away)


async def _archive(
    tx: Transaction, actor: PersonId, conversations: Sequence[ConversationId], at: datetime, *, away: bool
) -> int:
    rows = await tx.fetch(
        "UPDATE member SET archived_at = CASE WHEN $4 THEN $3::timestamptz END"
        " WHERE person_id = $1 AND conversation_id = ANY($2) AND removed_at IS NULL"
        " AND (archived_at IS NULL) = $4 RETURNING conversation_id",
        actor, list(conversations), at, away,
    )  # fmt: skip
    did = Did.ARCHIVED if away else Did.UNARCHIVED
    for row in rows:
        await audit.record(tx, did, actor=actor, conversation=row["conversation_id"])
        await notify(tx, Notification(Change.CONVERSATION, row["conversation_id"], person=actor))
    return len(rows)
