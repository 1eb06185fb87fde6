"""A client's encryption identity is pinned on first use; a changed one gets nothing until it is confirmed.

Confirming is the organiser's act, recorded, and seen in the journal. It lets go whatever waited for that
client, in every conversation: there is one identity, however many rooms.
"""

from collections.abc import Sequence
from datetime import datetime

from bridge import audit, journal, legs
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import Invalid
from bridge.journal import Draft
from bridge.sealing import Keyring
from bridge.standing import allowed
from policies.access import Action
from policies.content import Notice
from policies.vocabulary import ConversationId, EntryKind, PersonId

CHANGED = "identity_changed"
"""What `leg.hold` says meanwhile."""


async def release(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, at: datetime
) -> Sequence[PersonId]:
    """Accept the changed identities of this conversation's clients: `actor` has made sure of them.

    Returns whom it was about. Raises NotFound, NotAllowed, or Invalid when nothing is held for that reason.
    """
    where = await allowed(tx, actor, conversation, Action.RELEASE_IDENTITY)
    rows = await tx.fetch(
        "SELECT l.user_id, m.person_id FROM leg l JOIN member m ON m.id = l.member_id"
        " WHERE l.conversation_id = $1 AND l.state <> 'ended' AND l.hold = $2 ORDER BY l.id FOR UPDATE OF l",
        conversation, CHANGED,
    )  # fmt: skip
    if not rows:
        raise Invalid(
            "not_held", "Nothing is held back here any more. Somebody may have confirmed it already."
        )
    for row in rows:
        await accept(tx, row["user_id"])
        for leg in await legs.of_users(tx, [row["user_id"]]):
            if leg.hold == CHANGED:
                await legs.set_hold(tx, leg.id, None)
        said = Notice("identity_released", {"person": str(row["person_id"])})
        draft = Draft(EntryKind.NOTICE, at, said, author_id=actor, to_clients=False)
        await journal.append(tx, where.key(keyring), conversation, draft)
        await audit.record(
            tx, Did.IDENTITY_RELEASED, actor=actor, conversation=conversation, subject=row["person_id"]
        )
    return [PersonId(row["person_id"]) for row in rows]


async def accept(tx: Transaction, user_id: str) -> None:
    """Pin the identity that is offered now. Its devices may have keys from here on, so `version` moves."""
    await tx.execute(
        "UPDATE crypto_user SET master_key = offered_master_key, version = version + 1,"
        " state = CASE WHEN offered_master_key IS NULL THEN 'new' ELSE 'pinned' END"
        " WHERE user_id = $1 AND state = 'changed'",
        user_id,
    )
