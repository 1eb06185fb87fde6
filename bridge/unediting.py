"""One edit is taken back in a client's app: the words before it hold again, everywhere (M7, M12)."""

from datetime import datetime, timedelta
from typing import Any

from bridge import journal
from bridge.database import Transaction
from bridge.errors import NotFound
from bridge.journal import Draft, Origin, unseal
from bridge.sealing import DataKey, Keyring
from bridge.standing import Standing, standing
from policies.access import Action
from policies.vocabulary import ConversationId, EntryId, EntryKind, PersonId


async def take_back(
    tx: Transaction,
    keyring: Keyring,
    *,
    author: PersonId,
    conversation: ConversationId,
    edit: EntryId,
    at: datetime,
    keep: timedelta,
    origin: Origin | None = None,
) -> None:
    """Its event is redacted in other rooms, its words are erased after `keep`. Nothing the second time."""
    await journal.in_turn(tx, conversation)
    where = await standing(tx, author, conversation, Action.DELETE_OWN)
    where.require(Action.DELETE_OWN, own=True)
    message = await _message_of(tx, where, edit)
    key = where.key(keyring)
    if not await _gone(tx, key, where, edit, at, keep, origin):
        return
    before = await tx.fetchrow(_BEFORE, message["id"])
    assert before is not None
    if message["deleted"] or before["seq"] > message["edit_seq"]:
        return
    for copy in await tx.fetch(_COPIES, message["id"]):
        await _gone(tx, key, where, EntryId(copy["id"]), at, keep, None)
    words = unseal(key, conversation, before["id"], before["sealed"])
    # Into a closed room nobody but the assistant can write: there the redaction alone says it.
    again = Draft(
        EntryKind.EDIT, at, words, author, message["id"], automatic=COPY, to_clients=not where.closed
    )
    appended = await journal.append(tx, key, conversation, again)
    await tx.execute("UPDATE entry SET edit_id = $2 WHERE id = $1", message["id"], appended.id)


COPY = "unedited"
"""What `entry.automatic` says of an edit that only brings earlier words back: it goes with the next one."""
_BEFORE = """
SELECT id, seq, sealed FROM entry
WHERE id = $1 OR target_id = $1 AND kind = 'edit' AND deleted_at IS NULL AND automatic IS NULL
ORDER BY seq DESC LIMIT 1
"""
_COPIES = """
SELECT id FROM entry WHERE target_id = $1 AND kind = 'edit' AND deleted_at IS NULL AND automatic IS NOT NULL
"""


async def _gone(
    tx: Transaction,
    key: DataKey,
    where: Standing,
    edit: EntryId,
    at: datetime,
    keep: timedelta,
    origin: Origin | None,
) -> bool:
    """False: it was before."""
    marked = await tx.fetchval(
        "UPDATE entry SET deleted_at = $2, deleted_by = $3, erase_at = $2::timestamptz + $4"
        " WHERE id = $1 AND deleted_at IS NULL RETURNING id",
        edit, at, where.person_id, keep,
    )  # fmt: skip
    if marked is None:
        return False
    await tx.execute(
        "UPDATE delivery SET state = 'cancelled', error = 'deleted'"
        " WHERE state = 'pending' AND entry_id = $1",
        edit,
    )
    draft = Draft(EntryKind.DELETION, at, None, where.person_id, edit, origin=origin)
    await journal.append(tx, key, where.conversation_id, draft)
    return True


async def _message_of(tx: Transaction, where: Standing, edit: EntryId) -> Any:
    row = await tx.fetchrow(
        "SELECT m.id, e.seq AS edit_seq, m.deleted_at IS NOT NULL AS deleted FROM entry e"
        " JOIN entry m ON m.id = e.target_id WHERE e.id = $1 AND e.kind = 'edit'"
        " AND e.conversation_id = $2 AND e.author_id = $3 AND m.seq > $4",
        edit, where.conversation_id, where.person_id, where.joined_seq,
    )  # fmt: skip
    if row is None:
        raise NotFound
    return row
