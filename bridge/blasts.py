"""A blast: one text, and for each client a thread of their own; nobody sees that there were others (C5).

The recipients are rows before the first thread is made. Each is claimed, and gets thread, message and
outcome in one transaction: a restart neither forgets nor repeats one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from bridge import audit, chat_settings, identities, messages, people, roster
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import Invalid, NotAllowed, NotFound, RuhError
from bridge.feed import Change, Notification, notify
from bridge.sealing import DataKey, Keyring
from policies import access
from policies.access import Action
from policies.content import Text, check_title, content_from_json
from policies.vocabulary import ConversationId, ConversationKind, Person, PersonId, Refusal


@dataclass(frozen=True, slots=True)
class Candidate:
    """A client as the "New" dialog offers them; `refusal`: greyed, with the words why (C4)."""

    person: Person
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Recipient:
    """One client's outcome. `state`: pending, started, skipped (`reason` says why), stopped; of a started
    one `delivery` is the state of its message, `hold` why it waits, `read_at` when it was seen, `answered`
    that the client has written back."""

    client: PersonId
    state: str
    reason: str | None
    conversation_id: ConversationId | None
    delivery: str | None
    hold: str | None
    read_at: datetime | None
    answered: bool


@dataclass(frozen=True, slots=True)
class Blast:
    id: UUID
    title: str | None
    content: Text
    state: str
    created_at: datetime
    recipients: tuple[Recipient, ...]


async def candidates(tx: Transaction, keyring: Keyring, actor: Person) -> list[Candidate]:
    """Every active client that `actor` may write to, by name; those whose chat is off come greyed."""
    found = await people.search(tx, keyring, actor, "", limit=10_000)
    refused = await chat_settings.barred(tx, keyring, [person.id for person in found], ConversationKind.BLAST)
    return [Candidate(person, refused.get(person.id)) for person in found]


async def send(
    tx: Transaction,
    keyring: Keyring,
    *,
    actor: PersonId,
    clients: Sequence[PersonId],
    content: Text,
    title: str = "",
    at: datetime,
    request_id: UUID | None = None,
) -> UUID:
    """Everything is kept; the threads follow. The same `request_id` again gives the same blast."""
    person = await people.get(tx, keyring, actor)
    verdict = access.decide(Action.START_BLAST, person.role)
    if isinstance(verdict, Refusal):
        raise NotAllowed(verdict.code, verdict.words)
    checked = check_title(title)
    if isinstance(checked, Refusal):
        raise Invalid(checked.code, checked.words)
    title = checked
    offered = {candidate.person.id for candidate in await candidates(tx, keyring, person)}
    chosen = [client for client in dict.fromkeys(clients) if client in offered]
    if not chosen or len(chosen) < len(set(clients)):
        raise Invalid(
            "recipients", "Some of these clients can’t be written to any more. Please choose again."
        )
    blast = uuid4()
    key, wrapped = keyring.new_key(f"blast {blast}")
    made = await tx.fetchval(
        "INSERT INTO blast"
        " (id, organiser_id, wrapped_key, title_sealed, content_sealed, request_id, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (organiser_id, request_id) WHERE request_id IS NOT NULL DO NOTHING RETURNING id",
        blast, actor, wrapped, key.seal(title.encode(), f"{blast} title") if title else None,
        key.seal(json.dumps(content.to_json()).encode(), f"{blast} content"), request_id, at,
    )  # fmt: skip
    if made is None:
        earlier: UUID = await tx.fetchval(
            "SELECT id FROM blast WHERE organiser_id = $1 AND request_id = $2", actor, request_id
        )
        return earlier
    await tx.executemany(
        "INSERT INTO blast_recipient (blast_id, client_id, place) VALUES ($1, $2, $3)",
        [(blast, client, place) for place, client in enumerate(chosen)],
    )
    await audit.record(tx, Did.BLAST_SENT, actor=actor, subject=blast, recipients=len(chosen))
    await notify(tx, Notification(Change.BLAST, person=actor))
    return blast


async def next_recipient(tx: Transaction, keyring: Keyring, *, at: datetime) -> bool:
    """Carry out one recipient of a running blast, whole; False when there is none."""
    row = await tx.fetchrow(
        "SELECT r.blast_id, r.client_id, b.organiser_id, b.wrapped_key, b.title_sealed, b.content_sealed,"
        " p.status <> 'active' AS left_us"
        " FROM blast b JOIN blast_recipient r ON r.blast_id = b.id JOIN person p ON p.id = b.organiser_id"
        " WHERE b.state = 'running' AND r.state = 'pending'"
        " ORDER BY b.created_at, r.place LIMIT 1 FOR UPDATE OF r SKIP LOCKED"
    )
    if row is None:
        return False
    blast, client, actor = row["blast_id"], PersonId(row["client_id"]), PersonId(row["organiser_id"])
    # Stopped meanwhile: the lock on the blast orders the two.
    if await tx.fetchval("SELECT state FROM blast WHERE id = $1 FOR SHARE", blast) != "running":
        return True
    if row["left_us"]:  # nobody hears any more from who doesn't work here any more
        await _stop(tx, blast, actor, None, at)
        return True
    key = keyring.unwrap(row["wrapped_key"], f"blast {blast}")
    reason, conversation, entry = await _start(tx, keyring, actor, client, blast, row, key, at)
    await tx.execute(
        "UPDATE blast_recipient SET state = $3, reason = $4, conversation_id = $5, entry_id = $6"
        " WHERE blast_id = $1 AND client_id = $2",
        blast, client, "skipped" if reason else "started", reason, conversation, entry,
    )  # fmt: skip
    await _done_when_empty(tx, blast, at)
    await notify(tx, Notification(Change.BLAST, person=actor))
    return True


async def _start(
    tx: Transaction,
    keyring: Keyring,
    actor: PersonId,
    client: PersonId,
    blast: UUID,
    row: Any,
    key: DataKey,
    at: datetime,
) -> tuple[str | None, ConversationId | None, UUID | None]:
    """The thread with the blast's words; or the reason why there is none. What may be done is asked now, by
    the roster: the settings may have changed since the blast was sent."""
    try:
        async with tx.transaction():
            conversation = await roster.start(
                tx, keyring, actor=actor, kind=ConversationKind.BLAST, others=[client], at=at
            )
            await tx.execute("UPDATE conversation SET blast_id = $2 WHERE id = $1", conversation, blast)
            if row["title_sealed"] is not None:
                title = key.open(row["title_sealed"], f"{blast} title").decode()
                await roster.entitle(tx, keyring, conversation, title)
            content = content_from_json(json.loads(key.open(row["content_sealed"], f"{blast} content")))
            posted = await messages.post(
                tx, keyring, author=actor, conversation=conversation, content=content, at=at
            )
    except RuhError as refusal:
        return getattr(refusal, "code", type(refusal).__name__.lower()), None, None
    return None, conversation, posted.entry_id


async def _done_when_empty(tx: Transaction, blast: UUID, at: datetime) -> None:
    await tx.execute(
        "UPDATE blast SET state = 'done', ended_at = $2 WHERE id = $1 AND state = 'running' AND NOT EXISTS"
        " (SELECT FROM blast_recipient WHERE blast_id = $1 AND state = 'pending')",
        blast, at,
    )  # fmt: skip


async def stop(tx: Transaction, *, actor: PersonId, blast: UUID, at: datetime) -> int:
    """Nobody more gets it; returns how many would have. Raises NotFound for anybody but its sender."""
    if not await tx.fetchval("SELECT true FROM blast WHERE id = $1 AND organiser_id = $2", blast, actor):
        raise NotFound
    return await _stop(tx, blast, actor, actor, at)


async def _stop(tx: Transaction, blast: UUID, sender: PersonId, by: PersonId | None, at: datetime) -> int:
    """The recipients before the blast, as `next_recipient` locks them; who is being reached now still is."""
    rest = await tx.fetch(
        "UPDATE blast_recipient SET state = 'stopped' WHERE blast_id = $1 AND state = 'pending'"
        " RETURNING client_id",
        blast,
    )
    await tx.execute(
        "UPDATE blast SET state = CASE WHEN state = 'running' THEN 'stopped' ELSE state END, ended_at ="
        " coalesce(ended_at, $2) WHERE id = $1",
        blast, at,
    )  # fmt: skip
    if rest:
        await audit.record(tx, Did.BLAST_STOPPED, actor=by, subject=blast, left_out=len(rest))
    await notify(tx, Notification(Change.BLAST, person=sender))
    return len(rest)


async def of(tx: Transaction, keyring: Keyring, *, actor: PersonId, blast: UUID) -> Blast:
    """A blast with everybody's outcome. Raises NotFound for anybody but its sender."""
    row = await tx.fetchrow(
        "SELECT id, wrapped_key, title_sealed, content_sealed, state, created_at FROM blast"
        " WHERE id = $1 AND organiser_id = $2",
        blast, actor,
    )  # fmt: skip
    if row is None:
        raise NotFound
    key = keyring.unwrap(row["wrapped_key"], f"blast {blast}")
    recipients = await tx.fetch(
        "SELECT r.client_id, r.state, r.reason, r.conversation_id, d.state AS delivery,"
        f" {identities.HOLD} AS hold,"
        " (SELECT min(x.at) FROM receipt x JOIN entry e ON e.id = r.entry_id"
        "  WHERE x.conversation_id = r.conversation_id AND x.person_id = r.client_id"
        "  AND x.seq >= e.seq) AS read_at, coalesce(c.answered, false) AS answered"
        " FROM blast_recipient r LEFT JOIN conversation c ON c.id = r.conversation_id"
        " LEFT JOIN delivery d ON d.entry_id = r.entry_id"
        " LEFT JOIN leg l ON l.id = d.leg_id WHERE r.blast_id = $1 ORDER BY r.place",
        blast,
    )
    title = row["title_sealed"] and key.open(row["title_sealed"], f"{blast} title").decode()
    content = content_from_json(json.loads(key.open(row["content_sealed"], f"{blast} content")))
    assert isinstance(content, Text)
    return Blast(
        blast, title, content, row["state"], row["created_at"], tuple(Recipient(*r) for r in recipients)
    )


async def mine(tx: Transaction, actor: PersonId, *, limit: int = 50) -> list[tuple[UUID, datetime, str]]:
    """The sender's blasts, newest first: (id, when, state)."""
    rows = await tx.fetch(
        "SELECT id, created_at, state FROM blast WHERE organiser_id = $1 ORDER BY created_at DESC LIMIT $2",
        actor, limit,
    )  # fmt: skip
    return [(row["id"], row["created_at"], row["state"]) for row in rows]
