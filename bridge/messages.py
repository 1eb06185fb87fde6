"""What may be said, and said once: the same functions for the portal and for Matrix.

Each takes an open transaction, decides through `policies.access`, and leaves an entry and its deliveries.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from bridge import chat_settings, journal, seats
from bridge.database import Transaction
from bridge.errors import Invalid, NotAllowed, NotFound
from bridge.journal import Draft, Origin
from bridge.sealing import Keyring
from bridge.standing import COLUMNS, MEMBER, Standing, from_row, outsider
from policies.access import Action
from policies.chat_settings import switch_for, told_when_off
from policies.content import Content, Reaction
from policies.vocabulary import ConversationId, ConversationKind, EntryId, EntryKind, PersonId, Role

CHAT_OFF = "chat_off"
KEEP_DELETED = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Posted:
    entry_id: EntryId
    seq: int
    fresh: bool
    """False: this very request was carried out before."""


@dataclass(frozen=True, slots=True)
class Target:
    """An earlier entry that an edit, a deletion, a reaction or a reply is about."""

    id: EntryId
    kind: EntryKind
    author_id: PersonId | None
    deleted: bool
    seq: int


async def post(
    tx: Transaction,
    keyring: Keyring,
    *,
    author: PersonId,
    conversation: ConversationId,
    content: Content,
    at: datetime,
    reply_to: EntryId | None = None,
    request_id: UUID | None = None,
    origin: Origin | None = None,
    automatic: str | None = None,
) -> Posted:
    """A message. A `request_id` that was carried out already gives what it gave then."""
    where, earlier = await _in_turn(tx, author, conversation, Action.POST, request_id)
    where.require(Action.POST)
    await _chat_is_on(tx, keyring, where)
    if earlier is not None:
        return earlier
    if reply_to is not None:
        await _target(tx, where, reply_to)
    draft = Draft(EntryKind.MESSAGE, at, content, author, reply_to, request_id, automatic, origin)
    return await _append(tx, keyring, where, draft)


async def edit(
    tx: Transaction,
    keyring: Keyring,
    *,
    author: PersonId,
    conversation: ConversationId,
    entry: EntryId,
    content: Content,
    at: datetime,
    request_id: UUID | None = None,
    origin: Origin | None = None,
) -> Posted:
    """Other words for one's own message; the ones before stay in the journal."""
    where, earlier = await _in_turn(tx, author, conversation, Action.EDIT_OWN, request_id)
    target = await _own(tx, where, entry, Action.EDIT_OWN)
    await _chat_is_on(tx, keyring, where)
    if earlier is not None:
        return earlier
    if target.deleted:
        raise Invalid("deleted", "This message has been deleted, so it can't be edited any more.")
    draft = Draft(EntryKind.EDIT, at, content, author, entry, request_id, None, origin)
    posted = await _append(tx, keyring, where, draft)
    await tx.execute("UPDATE entry SET edit_id = $2 WHERE id = $1", entry, posted.entry_id)
    return posted


async def delete(
    tx: Transaction,
    keyring: Keyring,
    *,
    author: PersonId,
    conversation: ConversationId,
    entry: EntryId,
    at: datetime,
    keep: timedelta = KEEP_DELETED,
    origin: Origin | None = None,
) -> Posted | None:
    """Take one's own message back everywhere. None: it was deleted before.

    What has not gone out yet never will; what has is redacted by the deletion's own deliveries. Its words are
    kept for `keep`, so that it can be restored (`bridge.restore`).
    """
    where, _ = await _in_turn(tx, author, conversation, Action.DELETE_OWN)
    await _own(tx, where, entry, Action.DELETE_OWN)
    marked = await tx.fetchval(
        "UPDATE entry SET deleted_at = $2, deleted_by = $3, erase_at = $2::timestamptz + $4"
        " WHERE id = $1 AND deleted_at IS NULL RETURNING id",
        entry, at, author, keep,
    )  # fmt: skip
    if marked is None:
        return None
    await tx.execute(
        "UPDATE delivery SET state = 'cancelled', error = 'deleted' WHERE state = 'pending' AND entry_id IN"
        " (SELECT $1::uuid UNION ALL SELECT id FROM entry WHERE target_id = $1 AND kind IN ('edit',"
        " 'restoration', 'reaction'))",
        entry,
    )
    return await _append(
        tx, keyring, where, Draft(EntryKind.DELETION, at, None, author, entry, origin=origin)
    )


async def react(
    tx: Transaction,
    keyring: Keyring,
    *,
    author: PersonId,
    conversation: ConversationId,
    entry: EntryId,
    reaction: Reaction,
    at: datetime,
    origin: Origin | None = None,
) -> Posted | None:
    """A reaction to a message; None when that message is gone."""
    where, _ = await _in_turn(tx, author, conversation)
    where.require(Action.REACT)
    await _chat_is_on(tx, keyring, where)
    target = await _target(tx, where, entry)
    if target.deleted or target.kind is not EntryKind.MESSAGE:
        return None
    return await _append(
        tx, keyring, where, Draft(EntryKind.REACTION, at, reaction, author, entry, origin=origin)
    )


async def unreact(
    tx: Transaction,
    keyring: Keyring,
    *,
    author: PersonId,
    conversation: ConversationId,
    reaction: EntryId,
    at: datetime,
    origin: Origin | None = None,
) -> Posted | None:
    """Take one's own reaction back; None when it was taken back before."""
    where, _ = await _in_turn(tx, author, conversation)
    target = await _target(tx, where, reaction)
    if target.kind is not EntryKind.REACTION or target.author_id != author:
        raise NotFound
    gone = await tx.fetchval(
        "UPDATE entry SET deleted_at = $2, deleted_by = $3 WHERE id = $1 AND deleted_at IS NULL RETURNING id",
        reaction, at, author,
    )  # fmt: skip
    if gone is None:
        return None
    await tx.execute(
        "UPDATE delivery SET state = 'cancelled' WHERE state = 'pending' AND entry_id = $1", reaction
    )
    draft = Draft(EntryKind.REACTION_REMOVED, at, None, author, reaction, origin=origin)
    return await _append(tx, keyring, where, draft)


async def _in_turn(
    tx: Transaction,
    author: PersonId,
    conversation: ConversationId,
    action: Action = Action.READ,
    request: UUID | None = None,
) -> tuple[Standing, Posted | None]:
    """How the author stands once it is their turn: nobody removed meanwhile says or gets anything more,
    somebody added gets this, and no edit slips in behind a deletion. An outsider's attempt is recorded where
    such an `action` is; whether a member may is asked of what it is about. Beside it, what this request of
    theirs has done already."""
    await journal.in_turn(tx, conversation)
    row = await tx.fetchrow(
        f"SELECT {COLUMNS}, e.id AS earlier, e.seq AS earlier_seq {MEMBER}"
        " LEFT JOIN entry e ON e.author_id = m.person_id AND e.request_id = $3",
        conversation, author, request,
    )  # fmt: skip
    if row is None:
        raise outsider(author, conversation, action)
    earlier = row["earlier"] and Posted(EntryId(row["earlier"]), row["earlier_seq"], fresh=False)
    return from_row(row), earlier


async def target_in(tx: Transaction, conversation: ConversationId, entry: EntryId) -> Target | None:
    row = await tx.fetchrow(
        "SELECT id, kind, author_id, deleted_at IS NOT NULL AS deleted, seq FROM entry"
        " WHERE id = $1 AND conversation_id = $2",
        entry, conversation,
    )  # fmt: skip
    return row and Target(
        EntryId(row["id"]), EntryKind(row["kind"]), row["author_id"], row["deleted"], row["seq"]
    )


async def _target(tx: Transaction, where: Standing, entry: EntryId) -> Target:
    target = await target_in(tx, where.conversation_id, entry)
    if target is None or target.seq <= where.joined_seq:
        raise NotFound
    return target


async def _own(tx: Transaction, where: Standing, entry: EntryId, action: Action) -> Target:
    target = await _target(tx, where, entry)
    where.require(action, own=target.kind is EntryKind.MESSAGE and target.author_id == where.person_id)
    return target


async def _chat_is_on(tx: Transaction, keyring: Keyring, where: Standing) -> None:
    """Raises NotAllowed with the words for whoever writes: the client themselves, or staff to them (P5)."""
    switch = switch_for(where.kind)
    if switch is None:
        return
    if where.silenced:
        raise NotAllowed(CHAT_OFF, told_when_off(switch))
    if where.client_silenced and where.role.is_staff:
        client = await tx.fetchval("SELECT client_id FROM conversation WHERE id = $1", where.conversation_id)
        refused = await chat_settings.barred(tx, keyring, [client], where.kind)
        if client in refused:
            raise NotAllowed(refused[client].code, refused[client].words)


async def _append(tx: Transaction, keyring: Keyring, where: Standing, draft: Draft) -> Posted:
    if where.kind is ConversationKind.COMMUNITY and where.role is Role.CLIENT:
        await seats.take_seats(tx, where.conversation_id, where.person_id, is_client=True)
    appended = await journal.append(tx, where.key(keyring), where.conversation_id, draft)
    return Posted(appended.id, appended.seq, fresh=True)
