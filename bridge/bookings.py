"""The platform reports bookings; the first of a pair opens their thread and welcomes the client once (P4).

Reporting the same booking again, or two at the same instant, changes nothing more: the booking's id, the
pair's one direct thread and the thread's `welcomed_at` each take only one.
"""

from dataclasses import dataclass
from datetime import datetime

from bridge import messages, participants, people
from bridge.database import Transaction
from bridge.errors import BookingConflict, Invalid, NotAllowed
from bridge.sealing import Keyring
from policies import phrases
from policies.content import Text
from policies.vocabulary import ConversationId, PersonId, PersonStatus, Role


@dataclass(frozen=True, slots=True)
class Outcome:
    conversation_id: ConversationId
    new_booking: bool
    opened: bool
    welcomed: bool


async def report(
    tx: Transaction,
    keyring: Keyring,
    *,
    platform_id: str,
    client: PersonId,
    therapist: PersonId,
    starts_at: datetime | None,
    at: datetime,
) -> Outcome:
    """Keep the booking and do what a first one brings. Reported again with another time, it has moved.

    Raises BookingConflict when the id belongs to another pair, Invalid when they aren't a client and a
    therapist, PersonUnknown.
    """
    await _check_pair(tx, keyring, client, therapist)
    fresh = await _keep(tx, platform_id, client, therapist, starts_at, at)
    if fresh:
        await tx.execute(
            "UPDATE person SET status = 'active', updated_at = now() WHERE id = $1 AND status = 'archived'", client
        )
    conversation, opened = await participants.open_direct(tx, keyring, therapist=therapist, client=client, at=at)
    welcomed = await _welcome(tx, keyring, conversation, therapist, client, at)
    return Outcome(conversation, fresh, opened, welcomed)
