"""The platform reports bookings; the first of a pair opens their thread and welcomes the client once (P4).

Reporting the same booking again, or two at the same instant, changes nothing more: the booking's id, the
pair's one direct thread and the thread's `welcomed_at` each take only one.
"""

from dataclasses import dataclass
from datetime import datetime

from bridge import chat_settings, messages, participants, people
from bridge.database import Transaction
from bridge.errors import BookingConflict, Invalid, NotAllowed, PersonUnknown
from bridge.sealing import Keyring
from policies import contact
from policies.chat_settings import Switch
from policies.content import Text
from policies.vocabulary import ConversationId, Person, PersonId, PersonStatus, Role

WELCOME = "welcome"
"""What `entry.automatic` says of the welcome."""


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
    platform_booking_id: str,
    client: PersonId,
    therapist: PersonId,
    starts_at: datetime | None,
    practice: str,
    at: datetime,
) -> Outcome:
    """Keep the booking, and do what a first one of these two brings. Reported again, it has moved.

    A new booking makes an archived client active again (P8). Raises BookingConflict when the id belongs
    to another pair, Invalid when they aren't a client and a therapist, PersonUnknown.
    """
    pair = await _pair(tx, keyring, client, therapist)
    fresh = await _keep(tx, platform_booking_id, client, therapist, starts_at, at)
    if fresh and pair[0].status is PersonStatus.ARCHIVED:
        await people.update(tx, keyring, client, status=PersonStatus.ACTIVE)
    conversation, opened = await participants.open_direct(
        tx, keyring, therapist=therapist, client=client, at=at, automatic=True
    )
    welcomed = await _welcome(tx, keyring, conversation, pair, practice, at)
    return Outcome(conversation, fresh, opened, welcomed)


async def _pair(
    tx: Transaction, keyring: Keyring, client: PersonId, therapist: PersonId
) -> tuple[Person, Person]:
    found = await people.get_many(tx, keyring, [client, therapist])
    if client not in found or therapist not in found:
        raise PersonUnknown
    if found[client].role is not Role.CLIENT:
        raise Invalid("not_a_client", "The booking's client isn't a client here.")
    if found[therapist].role is not Role.THERAPIST:
        raise Invalid("not_a_therapist", "The booking's therapist isn't a therapist here.")
    return found[client], found[therapist]


async def _keep(
    tx: Transaction,
    platform_id: str,
    client: PersonId,
    therapist: PersonId,
    starts_at: datetime | None,
    at: datetime,
) -> bool:
    """True when it is new. A second report of the same id waits for the first to commit."""
    made = await tx.fetchval(
        "INSERT INTO booking (platform_id, client_id, therapist_id, starts_at, reported_at)"
        " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (platform_id) DO NOTHING RETURNING true",
        platform_id, client, therapist, starts_at, at,
    )  # fmt: skip
    if made:
        return True
    moved = await tx.fetchval(
        "UPDATE booking SET starts_at = coalesce($4, starts_at)"
        " WHERE platform_id = $1 AND client_id = $2 AND therapist_id = $3 RETURNING true",
        platform_id, client, therapist, starts_at,
    )  # fmt: skip
    if moved is None:
        raise BookingConflict
    return False


async def _welcome(
    tx: Transaction,
    keyring: Keyring,
    conversation: ConversationId,
    pair: tuple[Person, Person],
    practice: str,
    at: datetime,
) -> bool:
    """Say hello, once for ever. Who loses the conditional update has been overtaken by who won it.

    Not while the client's direct messaging is off (P5): a booking after it was switched on says hello then.
    """
    client, therapist = pair
    direct = (await chat_settings.in_force(tx, keyring, [client.id], Switch.DIRECT_MESSAGING))[client.id]
    effects = contact.on_booking(contact.Contact(booked=True), has_thread=True, archived=False, direct=direct)
    if not effects.send_welcome or not await _first(tx, conversation, at):
        return False
    own = await people.welcome_text(tx, keyring, therapist.id)
    words = contact.welcome(own, client=client.name, therapist=therapist.name, practice=practice)
    try:
        async with tx.transaction():
            await messages.post(
                tx, keyring, author=therapist.id, conversation=conversation, content=Text(words), at=at,
                automatic=WELCOME,
            )  # fmt: skip
    except NotAllowed:
        # The thread was closed before anybody said a word: the booking stands, the welcome has no place.
        return False
    return True


async def _first(tx: Transaction, conversation: ConversationId, at: datetime) -> bool:
    return bool(
        await tx.fetchval(
            "UPDATE conversation SET welcomed_at = $2 WHERE id = $1 AND welcomed_at IS NULL RETURNING true",
            conversation, at,
        )
    )  # fmt: skip
