"""Who is in a conversation, and the legs and puppets that follow from it.

The roster changes here; with it, in the same transaction, the rows that the appservice brings rooms to.
"""

import secrets
from base64 import b32encode
from datetime import datetime
from uuid import UUID, uuid4

from bridge.database import Transaction
from bridge.errors import NotAllowed
from bridge.feed import Change, Notification, notify
from bridge.sealing import Keyring
from policies.vocabulary import ConversationId, ConversationKind, LegId, MemberId, PersonId, PuppetId, Role

ASSISTANT_LOCALPART = "ruh_assistant0"
ASSISTANT_DEVICE = "RUHASSIST"
MASK_PREFIX = "ruh_"


async def ensure_assistant(tx: Transaction, server_name: str) -> PuppetId:
    """The assistant's row, made on first use."""
    found = await tx.fetchval("SELECT id FROM puppet WHERE kind = 'assistant'")
    if found is None:
        await tx.execute(
            "INSERT INTO puppet (id, user_id, device_id, kind) VALUES ($1, $2, $3, 'assistant')"
            " ON CONFLICT DO NOTHING",
            uuid4(), f"@{ASSISTANT_LOCALPART}:{server_name}", ASSISTANT_DEVICE,
        )  # fmt: skip
        found = await tx.fetchval("SELECT id FROM puppet WHERE kind = 'assistant'")
    return PuppetId(found)


async def ensure_face(tx: Transaction, person: PersonId, server_name: str) -> PuppetId:
    """The one Matrix user that a staff member wears towards clients."""
    await tx.execute(
        "INSERT INTO puppet (id, user_id, device_id, kind, person_id) VALUES ($1, $2, $3, 'face', $4)"
        " ON CONFLICT DO NOTHING",
        uuid4(), _random_user(server_name), _random_device(), person,
    )  # fmt: skip
    return PuppetId(await tx.fetchval("SELECT id FROM puppet WHERE person_id = $1 AND kind = 'face'", person))


async def open_direct(
    tx: Transaction, keyring: Keyring, *, therapist: PersonId, client: PersonId, at: datetime
) -> tuple[ConversationId, bool]:
    """The default thread of a staff member with a client (C2); True when it is new."""
    rows = await tx.fetch("SELECT id, role FROM person WHERE id = ANY($1)", [therapist, client])
    roles = {row["id"]: Role(row["role"]) for row in rows}
    if roles.get(client) is not Role.CLIENT or not roles.get(therapist, Role.CLIENT).is_staff:
        raise NotAllowed("not_a_pair", "A one-to-one thread is between a member of staff and a client.")
    conversation = ConversationId(uuid4())
    _, wrapped = keyring.new_key(str(conversation))
    made = await tx.fetchval(
        "INSERT INTO conversation"
        " (id, kind, organiser_id, client_id, wrapped_key, last_message_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $6)"
        " ON CONFLICT (organiser_id, client_id) WHERE kind = 'direct' DO NOTHING RETURNING id",
        conversation, ConversationKind.DIRECT, therapist, client, wrapped, at,
    )  # fmt: skip
    if made is None:
        existing = await tx.fetchval(
            "SELECT id FROM conversation WHERE organiser_id = $1 AND client_id = $2 AND kind = 'direct'",
            therapist, client,
        )  # fmt: skip
        return ConversationId(existing), False
    await _add(tx, conversation, therapist, at)
    member = await _add(tx, conversation, client, at)
    await _make_leg(tx, conversation, member, client, [therapist])
    await notify(tx, Notification(Change.CONVERSATION, conversation))
    return conversation, True


async def _add(tx: Transaction, conversation: ConversationId, person: PersonId, at: datetime) -> MemberId:
    member = MemberId(uuid4())
    await tx.execute(
        "INSERT INTO member"
        " (id, conversation_id, person_id, joined_at, joined_seq, last_message_at, read_seq)"
        " SELECT $1, $2, $3, $4, last_seq, last_message_at, last_seq FROM conversation WHERE id = $2",
        member, conversation, person, at,
    )  # fmt: skip
    return member


async def _make_leg(
    tx: Transaction, conversation: ConversationId, member: MemberId, person: PersonId, staff: list[PersonId]
) -> LegId:
    """A leg with the assistant and a face for each staff member."""
    user_id: str = await tx.fetchval("SELECT user_id FROM account WHERE person_id = $1", person)
    server_name = user_id.partition(":")[2]
    leg = LegId(uuid4())
    await tx.execute(
        "INSERT INTO leg (id, conversation_id, member_id, user_id, hold)"
        " VALUES ($1, $2, $3, $4, 'no_device')",
        leg, conversation, member, user_id,
    )  # fmt: skip
    await _occupy(tx, leg, await ensure_assistant(tx, server_name), None)
    for other in staff:
        await _occupy(tx, leg, await ensure_face(tx, other, server_name), other)
    return leg


async def _occupy(tx: Transaction, leg: LegId, puppet: PuppetId, person: UUID | None) -> None:
    await tx.execute(
        "INSERT INTO occupant (leg_id, puppet_id, person_id) VALUES ($1, $2, $3)", leg, puppet, person
    )


def _random_user(server_name: str) -> str:
    return f"@{MASK_PREFIX}{b32encode(secrets.token_bytes(10)).decode().lower()}:{server_name}"


def _random_device() -> str:
    return b32encode(secrets.token_bytes(10)).decode()[:10]
