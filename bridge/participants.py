"""The one thread of a member of staff with a client, or with a colleague, made when first needed (C1, C2)."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from bridge import audit, journal, locks, roster
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import NotAllowed
from bridge.feed import Change, Notification, notify
from bridge.journal import Draft
from bridge.sealing import Keyring
from bridge.standing import allowed
from policies import access
from policies.access import Action
from policies.content import Notice
from policies.vocabulary import ConversationId, ConversationKind, EntryKind, PersonId, Refusal, Role


async def open_direct(
    tx: Transaction, keyring: Keyring, *, therapist: PersonId, client: PersonId, at: datetime,
    automatic: bool = False,
) -> tuple[ConversationId, bool]:  # fmt: skip
    """The thread of these two; True when it is new. Two callers at the same instant get the same one.

    Raises NotAllowed where it would have to be made and the client's chat is off, unless it is `automatic`.
    """
    rows = await tx.fetch("SELECT id, role FROM person WHERE id = ANY($1)", [therapist, client])
    roles = {row["id"]: Role(row["role"]) for row in rows}
    if roles.get(client) is not Role.CLIENT or not roles.get(therapist, Role.CLIENT).is_staff:
        raise NotAllowed("not_a_pair", "A one-to-one thread is between a member of staff and a client.")
    await locks.alone(tx, f"direct {therapist} {client}")
    found = await tx.fetchval(
        "SELECT id FROM conversation WHERE organiser_id = $1 AND client_id = $2 AND kind = 'direct'",
        therapist, client,
    )  # fmt: skip
    if found is not None:
        return ConversationId(found), False
    made = await roster.start(
        tx,
        keyring,
        actor=therapist,
        kind=ConversationKind.DIRECT,
        others=[client],
        at=at,
        automatic=automatic,
    )
    return made, True


async def open_staff(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, others: Sequence[PersonId], at: datetime,
    request_id: UUID | None = None,
) -> tuple[ConversationId, bool]:  # fmt: skip
    """A staff chat; True when it is new. With one colleague it is the one that these two have had alone, as
    long as it isn't closed. Raises NotAllowed, also for a client among them."""
    role = Role(await tx.fetchval("SELECT role FROM person WHERE id = $1", actor))
    verdict = access.decide(Action.START_STAFF, role)
    if isinstance(verdict, Refusal):
        raise NotAllowed(verdict.code, verdict.words)
    colleagues = sorted(set(others) - {actor})
    if len(colleagues) == 1:
        pair = sorted([actor, *colleagues])
        await locks.alone(tx, "staff {} {}".format(*pair))
        if found := await tx.fetchval(_ALONE_TOGETHER, *pair):
            return ConversationId(found), False
    made = await roster.start(
        tx, keyring, actor=actor, kind=ConversationKind.STAFF, others=colleagues, at=at, request_id=request_id
    )
    return made, True


# Both are in it now, and nobody else ever was.
_ALONE_TOGETHER = """
SELECT c.id FROM conversation c
JOIN member a ON a.conversation_id = c.id AND a.person_id = $1 AND a.removed_at IS NULL
JOIN member b ON b.conversation_id = c.id AND b.person_id = $2 AND b.removed_at IS NULL
WHERE c.kind = 'staff' AND c.closed_at IS NULL AND NOT EXISTS
    (SELECT FROM member m WHERE m.conversation_id = c.id AND m.person_id NOT IN ($1, $2))
ORDER BY c.created_at DESC LIMIT 1
"""


async def come_back(tx: Transaction, conversation: ConversationId, person: PersonId) -> bool:
    """Whoever left the room of their own thread in their app is asked into it again; False: they are in it,
    or have been asked. The caller has decided that they may."""
    asked = await tx.fetchval(
        "UPDATE leg l SET state = 'wanted', attempts = 0, error = NULL, next_attempt_at = now() FROM member m"
        " WHERE m.id = l.member_id AND m.conversation_id = $1 AND m.person_id = $2 AND m.removed_at IS NULL"
        " AND l.state = 'open' AND l.hold = 'left' RETURNING true",
        conversation, person,
    )  # fmt: skip
    if asked:
        await notify(tx, Notification(Change.CONVERSATION, conversation))
    return asked is True


async def invite_again(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, person: PersonId,
    at: datetime,
) -> None:  # fmt: skip
    """A client who left their own thread in their app is asked back into the room; what waited is sent then.

    Raises NotFound, NotAllowed. Whoever left a community chat has left the conversation: they are added.
    """
    where = await allowed(tx, actor, conversation, Action.ADD_MEMBER)
    if not await come_back(tx, conversation, person):
        raise NotAllowed("not_left", "They are in this chat already, or have just been invited again.")
    notice = Notice("invited_again", {"person": str(person)})
    await journal.append(
        tx, where.key(keyring), conversation, Draft(EntryKind.NOTICE, at, notice, to_clients=False)
    )
    await audit.record(tx, Did.ADDED, actor=actor, conversation=conversation, subject=person, again=True)
    await notify(tx, Notification(Change.CONVERSATION, conversation))
