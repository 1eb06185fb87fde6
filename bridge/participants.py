"""The default thread of a member of staff with a client: one a pair, made when it is first needed (C2)."""

from datetime import datetime

from bridge import audit, journal, roster
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import NotAllowed
from bridge.feed import Change, Notification, notify
from bridge.journal import Draft
from bridge.sealing import Keyring
from bridge.standing import allowed
from policies.access import Action
from policies.content import Notice
from policies.vocabulary import ConversationId, ConversationKind, EntryKind, PersonId, Role


async def open_direct(
    tx: Transaction, keyring: Keyring, *, therapist: PersonId, client: PersonId, at: datetime
) -> tuple[ConversationId, bool]:
    """The thread of these two; True when it is new. Two callers at the same instant get the same one."""
    rows = await tx.fetch("SELECT id, role FROM person WHERE id = ANY($1)", [therapist, client])
    roles = {row["id"]: Role(row["role"]) for row in rows}
    if roles.get(client) is not Role.CLIENT or not roles.get(therapist, Role.CLIENT).is_staff:
        raise NotAllowed("not_a_pair", "A one-to-one thread is between a member of staff and a client.")
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"direct {therapist} {client}")
    found = await tx.fetchval(
        "SELECT id FROM conversation WHERE organiser_id = $1 AND client_id = $2 AND kind = 'direct'",
        therapist, client,
    )  # fmt: skip
    if found is not None:
        return ConversationId(found), False
    made = await roster.start(
        tx, keyring, actor=therapist, kind=ConversationKind.DIRECT, others=[client], at=at
    )
    return made, True


async def invite_again(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, person: PersonId,
    at: datetime,
) -> None:  # fmt: skip
    """A client who left their own thread in their app is asked back into the room; what waited is sent then.

    Raises NotFound, NotAllowed. Whoever left a community chat has left the conversation: they are added.
    """
    where = await allowed(tx, actor, conversation, Action.ADD_MEMBER)
    asked = await tx.fetchval(
        "UPDATE leg l SET state = 'wanted', attempts = 0, error = NULL, next_attempt_at = now() FROM member m"
        " WHERE m.id = l.member_id AND m.conversation_id = $1 AND m.person_id = $2 AND m.removed_at IS NULL"
        " AND l.state = 'open' AND l.hold = 'left' RETURNING true",
        conversation, person,
    )  # fmt: skip
    if asked is None:
        raise NotAllowed("not_left", "They are in this chat already, or have just been invited again.")
    notice = Notice("invited_again", {"person": str(person)})
    await journal.append(
        tx, where.key(keyring), conversation, Draft(EntryKind.NOTICE, at, notice, to_clients=False)
    )
    await audit.record(tx, Did.ADDED, actor=actor, conversation=conversation, subject=person, again=True)
    await notify(tx, Notification(Change.CONVERSATION, conversation))
