"""How much of a conversation somebody's own app holds: what a removal would take back (C11)."""

from bridge.database import Transaction
from bridge.standing import allowed
from policies.access import Action
from policies.vocabulary import ConversationId, PersonId


async def held_by(tx: Transaction, actor: PersonId, conversation: ConversationId, person: PersonId) -> int:
    """Messages that have reached a client's room and weren't deleted since. Raises NotFound, NotAllowed."""
    await allowed(tx, actor, conversation, Action.REMOVE_MEMBER)
    found: int = await tx.fetchval(
        "SELECT count(*) FROM leg l JOIN member m ON m.id = l.member_id AND m.removed_at IS NULL"
        " JOIN delivery d ON d.leg_id = l.id AND d.state IN ('sent', 'origin')"
        " JOIN entry e ON e.id = d.entry_id AND e.kind = 'message' AND e.deleted_at IS NULL"
        " WHERE l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended'",
        conversation, person,
    )  # fmt: skip
    return found
