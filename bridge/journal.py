"""The journal: a conversation's ordered, sealed entries. What is appended is never changed.

`append` writes the entry, one delivery for each leg, the stretches of unread messages that begin with it, the
audit trail's row and the feed's notification in one statement: the lock on the conversation's row gives the
order, and every later step reads it from there.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from bridge.audit import Did
from bridge.database import Transaction
from bridge.feed import CHANNEL, Change, Notification
from bridge.sealing import DataKey
from policies.content import Content, content_from_json
from policies.vocabulary import ConversationId, EntryId, EntryKind, EventId, LegId, PersonId


@dataclass(frozen=True, slots=True)
class Origin:
    """The event of a leg that an entry came from; that leg needs no delivery of it."""

    leg_id: LegId
    event_id: EventId


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry about to be appended."""

    kind: EntryKind
    at: datetime
    content: Content | None = None
    author_id: PersonId | None = None
    target_id: EntryId | None = None
    request_id: UUID | None = None
    automatic: str | None = None
    origin: Origin | None = None
    to_clients: bool = True
    only_leg: LegId | None = None
    """Of the clients, only this one gets it, whatever their chat settings: it is about them."""


@dataclass(frozen=True, slots=True)
class Appended:
    id: EntryId
    seq: int


_APPEND = """
WITH old AS (
    SELECT last_message_seq AS seen_up_to FROM conversation WHERE id = $2
), c AS (
    UPDATE conversation SET
        last_seq = last_seq + 1,
        last_message_id = CASE WHEN $12 THEN $1 ELSE last_message_id END,
        last_message_seq = CASE WHEN $12 THEN last_seq + 1 ELSE last_message_seq END,
        last_message_at = CASE WHEN $12 THEN greatest($8, last_message_at) ELSE last_message_at END,
        answered = answered OR ($12 AND client_id IS NOT DISTINCT FROM $4)
    FROM old WHERE id = $2
    RETURNING last_seq, last_message_at, old.seen_up_to
), e AS (
    INSERT INTO entry (id, conversation_id, seq, kind, author_id, target_id, sealed, posted_at,
        request_id, automatic)
    SELECT $1, $2, c.last_seq, $3, $4, $5, $6, $8, $7, $9 FROM c
), d AS (
    INSERT INTO delivery (leg_id, entry_id, puppet_id, state, event_id, sent_at)
    SELECT l.id, $1, o.puppet_id,
        CASE WHEN l.id = $10 THEN 'origin' ELSE 'pending' END,
        CASE WHEN l.id = $10 THEN $11 END,
        CASE WHEN l.id = $10 THEN $8 END
    FROM c CROSS JOIN leg l
    JOIN member m ON m.id = l.member_id AND m.removed_at IS NULL
    LEFT JOIN occupant o ON o.leg_id = l.id AND o.person_id IS NOT DISTINCT FROM $4
    WHERE l.conversation_id = $2 AND l.state <> 'ended' AND (l.id = $10 OR (
        -- What is taken back goes also from those whose chat is off (M7); nothing else reaches them (P5).
        $14 AND o.puppet_id IS NOT NULL AND (l.id = $16 OR $16::uuid IS NULL
            AND (NOT l.silenced OR $3 IN ('deletion', 'reaction_removed')))))
    RETURNING leg_id, state
), m AS (
    UPDATE member SET
        last_message_at = c.last_message_at,
        -- A client's message brings back what was put away (C13).
        archived_at = CASE WHEN archived_at IS NOT NULL AND NOT EXISTS
            (SELECT FROM person WHERE id = $4 AND role = 'client') THEN archived_at END,
        -- Who writes has read all before; what is sent for somebody leaves unread what they hadn't read.
        read_seq = CASE WHEN person_id = $4 AND ($9::text IS NULL OR read_seq >= c.seen_up_to)
            THEN c.last_seq ELSE read_seq END
    FROM c WHERE conversation_id = $2 AND removed_at IS NULL AND $12
), u AS (
    -- Whoever has read all before begins a stretch with this message (`bridge.unread_mail`).
    INSERT INTO unread_mail (person_id, conversation_id, since_seq)
    SELECT m.person_id, $2, c.last_seq
    FROM c CROSS JOIN member m JOIN person p ON p.id = m.person_id
    LEFT JOIN leg l ON l.member_id = m.id
    LEFT JOIN unread_mail was ON was.person_id = m.person_id AND was.conversation_id = $2
    WHERE $12 AND m.conversation_id = $2 AND m.removed_at IS NULL AND m.person_id IS DISTINCT FROM $4
        AND p.email_sealed IS NOT NULL AND NOT m.muted AND l.silenced IS NOT TRUE
        AND (was.since_seq IS NULL OR was.since_seq <= m.read_seq)
    ON CONFLICT (person_id, conversation_id) DO UPDATE SET
        since_seq = excluded.since_seq, unread_since = now(), state = 'waiting', attempts = 0,
        next_attempt_at = now(), error = NULL, message_id = NULL
), a AS (
    INSERT INTO audit (actor_id, action, conversation_id, subject_id, detail)
    SELECT $4, $17, $2, CASE WHEN $12 THEN $1 ELSE $5 END,
        CASE WHEN $9::text IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('automatic', $9::text) END
    FROM c WHERE $17::text IS NOT NULL
)
SELECT c.last_seq, pg_notify($15, ($13::text::jsonb || jsonb_build_object('l', (
    -- A notification is short: more legs are looked up by who carries them.
    SELECT CASE WHEN count(*) <= 20 THEN coalesce(jsonb_agg(leg_id), '[]') END FROM d WHERE state = 'pending'
)))::text) FROM c
"""


_RECORDED = {
    EntryKind.MESSAGE: Did.WROTE,
    EntryKind.EDIT: Did.EDITED,
    EntryKind.DELETION: Did.DELETED,
    EntryKind.RESTORATION: Did.RESTORED,
}
"""What goes into the audit trail, about the message. Changes of the roster record themselves."""


async def in_turn(tx: Transaction, conversation_id: ConversationId) -> None:
    """Wait for who is appending to this conversation, so that what is looked up next stays as it is.

    A statement of its own: one that locks the row and updates it in the same breath can deadlock. The lock
    is the update's, which lets others refer to the row meanwhile (receipts, the audit trail).
    """
    await tx.execute("SELECT FROM conversation WHERE id = $1 FOR NO KEY UPDATE", conversation_id)


async def append(tx: Transaction, key: DataKey, conversation_id: ConversationId, draft: Draft) -> Appended:
    """One entry more. A message or a client-visible notice moves the conversation up in the lists."""
    entry_id = EntryId(uuid4())
    sealed = None if draft.content is None else seal(key, conversation_id, entry_id, draft.content)
    if draft.automatic is not None:
        await in_turn(tx, conversation_id)  # what its author had read is looked up beside
    note = Notification(Change.ENTRY, conversation_id, entry_id, draft.target_id, draft.author_id)
    row = await tx.fetchrow(
        _APPEND, entry_id, conversation_id, draft.kind.value, draft.author_id, draft.target_id, sealed,
        draft.request_id, draft.at, draft.automatic,
        draft.origin and draft.origin.leg_id, draft.origin and draft.origin.event_id,
        draft.kind is EntryKind.MESSAGE, note.to_json(), draft.to_clients, CHANNEL, draft.only_leg,
        _RECORDED.get(draft.kind),
    )  # fmt: skip
    assert row is not None
    return Appended(entry_id, row["last_seq"])


def seal(key: DataKey, conversation_id: UUID, entry_id: UUID, content: Content) -> bytes:
    text = json.dumps(content.to_json(), ensure_ascii=False, separators=(",", ":"))
    return key.seal(text.encode(), f"{conversation_id}:{entry_id}")


def unseal(key: DataKey, conversation_id: UUID, entry_id: UUID, sealed: bytes) -> Content:
    return content_from_json(json.loads(key.open(sealed, f"{conversation_id}:{entry_id}")))
