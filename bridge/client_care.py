"""The Client Care group of each therapist: them and the whole active Client Care team, kept by itself (C1).

Made with the therapist, and brought to the team whenever it changes; nobody edits its roster by hand. The
groups of therapists who no longer work here follow too: they may come back.
"""

from datetime import datetime

from bridge import locks, roster
from bridge.database import Transaction
from bridge.sealing import Keyring
from policies.vocabulary import ConversationId, ConversationKind, PersonId, Role

CONCERNED = frozenset({Role.THERAPIST, Role.CLIENT_CARE})
"""Whose coming and going moves these groups."""

# Groups that lack somebody of the team, or have somebody who isn't (any more).
_BEHIND = """
SELECT c.id, c.organiser_id FROM conversation c WHERE c.kind = 'client_care' AND (
    EXISTS (SELECT FROM person p WHERE p.role = 'client_care' AND p.status = 'active' AND NOT EXISTS
        (SELECT FROM member m WHERE m.conversation_id = c.id AND m.person_id = p.id AND m.removed_at IS NULL))
    OR EXISTS (SELECT FROM member m JOIN person p ON p.id = m.person_id
        WHERE m.conversation_id = c.id AND m.removed_at IS NULL AND m.person_id <> c.organiser_id
        AND NOT (p.role = 'client_care' AND p.status = 'active')))
ORDER BY c.id
"""
_MISSING = """
SELECT p.id, p.created_at FROM person p WHERE p.role = 'therapist' AND p.status = 'active'
    AND NOT EXISTS (SELECT FROM conversation c WHERE c.kind = 'client_care' AND c.organiser_id = p.id)
ORDER BY p.id
"""


async def bring(tx: Transaction, keyring: Keyring) -> int:
    """Make the groups that are missing and bring those that are behind; returns how many those were.

    Two changes of the team at once wait for each other, so that each sees the other's people.
    """
    await locks.alone(tx, locks.CLIENT_CARE)
    at: datetime = await tx.fetchval("SELECT now()")
    team = [
        PersonId(row["id"])
        for row in await tx.fetch(
            "SELECT id FROM person WHERE role = 'client_care' AND status = 'active' ORDER BY created_at, id"
        )
    ]
    behind = await tx.fetch(_BEHIND)
    for group in behind:
        everybody = [PersonId(group["organiser_id"]), *team]
        await roster.keep(tx, keyring, conversation=ConversationId(group["id"]), people=everybody, at=at)
    missing = await tx.fetch(_MISSING)
    for therapist in missing:
        # As old as its therapist: one that is made late is no news at the top of everybody's list.
        await roster.start(
            tx, keyring, actor=PersonId(therapist["id"]), kind=ConversationKind.CLIENT_CARE, others=team,
            at=therapist["created_at"], automatic=True,
        )  # fmt: skip
    return len(behind) + len(missing)
