"""The default thread of a member of staff with a client: one a pair, made when it is first needed (C2)."""

from datetime import datetime

from bridge import roster
from bridge.database import Transaction
from bridge.errors import NotAllowed
from bridge.sealing import Keyring
from policies.vocabulary import ConversationId, ConversationKind, PersonId, Role


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
