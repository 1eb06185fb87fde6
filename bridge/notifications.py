"""What somebody wants to hear of: their switches, and the conversations that they have muted (N2).

A missing row means everything. Nobody else sees or sets somebody's switches.
"""

from dataclasses import asdict
from typing import Any

from bridge.database import Transaction
from bridge.standing import standing
from policies import notifying
from policies.access import Action
from policies.notifying import Settings, Wanted
from policies.vocabulary import ConversationId, ConversationKind, EntryId, PersonId, Role

COLUMNS = "s.direct, s.community, s.email, s.browser"


async def settings(tx: Transaction, person: PersonId) -> Settings:
    """For the page of one's own notifications."""
    row = await tx.fetchrow(f"SELECT {COLUMNS} FROM notification_setting s WHERE s.person_id = $1", person)
    return Settings() if row is None else of_row(row)


async def change(tx: Transaction, person: PersonId, settings: Settings) -> None:
    await tx.execute(
        "INSERT INTO notification_setting (person_id, direct, community, email, browser)"
        " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (person_id) DO UPDATE SET direct = excluded.direct,"
        " community = excluded.community, email = excluded.email, browser = excluded.browser",
        person, *asdict(settings).values(),
    )  # fmt: skip


async def mute(tx: Transaction, *, actor: PersonId, conversation: ConversationId, muted: bool) -> None:
    """Nothing more of this one conversation, or again. Raises NotFound."""
    where = await standing(tx, actor, conversation)
    where.require(Action.ARCHIVE)
    await tx.execute("UPDATE member SET muted = $2 WHERE id = $1", where.member_id, muted)


async def is_muted(tx: Transaction, actor: PersonId, conversation: ConversationId) -> bool:
    """Raises NotFound."""
    where = await standing(tx, actor, conversation)
    return bool(await tx.fetchval("SELECT muted FROM member WHERE id = $1", where.member_id))


async def wants(
    tx: Transaction, person: PersonId, conversation: ConversationId, entry: EntryId | None = None
) -> Wanted:
    """Whether this person is to be told of what others write in this conversation, and how; of this `entry`
    only if it is a message of somebody else's that they haven't read.

    For a page's live socket: on `Change.ENTRY` of a conversation that isn't before its reader's eyes, ask
    this with the notification's entry, and let the page show a browser notification where `browser` is true.
    It names nobody and says nothing of the content. Somebody who isn't a member (any more) wants nothing.
    """
    row = await tx.fetchrow(
        f"SELECT p.role, c.kind, m.muted, {COLUMNS} FROM member m"
        " JOIN conversation c ON c.id = m.conversation_id JOIN person p ON p.id = m.person_id"
        " LEFT JOIN notification_setting s ON s.person_id = m.person_id"
        " WHERE m.person_id = $1 AND m.conversation_id = $2 AND m.removed_at IS NULL"
        " AND ($3::uuid IS NULL OR EXISTS (SELECT FROM entry e WHERE e.id = $3 AND e.conversation_id = $2"
        " AND e.kind = 'message' AND e.deleted_at IS NULL AND e.author_id IS DISTINCT FROM $1"
        " AND e.seq > greatest(m.read_seq, m.joined_seq)))",
        person, conversation, entry,
    )  # fmt: skip
    if row is None:
        return notifying.NOTHING
    return notifying.wanted(Role(row["role"]), ConversationKind(row["kind"]), of_row(row), muted=row["muted"])


def of_row(row: Any) -> Settings:
    """From a row that has `COLUMNS`, all of them null where nothing was ever set."""
    if row["direct"] is None:
        return Settings()
    return Settings(row["direct"], row["community"], row["email"], row["browser"])
