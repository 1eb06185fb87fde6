"""Who stands for whom in which leg: the rows that the appservice brings rooms to.

Masks are per client and conversation, so that nobody can be followed from one group to another (C7). In a
large group a mask joins a leg when its client first speaks.
"""

import secrets
import time
from base64 import b32encode
from datetime import datetime
from uuid import UUID, uuid4

from bridge.database import Transaction
from policies.membership import MAX_MASKS_AT_ONCE
from policies.vocabulary import ConversationId, LegId, MemberId, PersonId, PuppetId

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


async def join_roster(
    tx: Transaction, conversation: ConversationId, person: PersonId, at: datetime
) -> MemberId:
    """A member from now on: they may have what comes after the journal's last entry (C12)."""
    # Several join in one instant: their ids keep the order that they joined in.
    member = MemberId(UUID(int=time.time_ns() << 64 | secrets.randbits(64)))
    await tx.execute(
        "INSERT INTO member"
        " (id, conversation_id, person_id, joined_at, joined_seq, last_message_at, read_seq)"
        " SELECT $1, $2, $3, $4, last_seq, last_message_at, last_seq FROM conversation WHERE id = $2",
        member, conversation, person, at,
    )  # fmt: skip
    return member


async def open_leg(tx: Transaction, conversation: ConversationId, person: PersonId) -> LegId:
    """A client's own room: with the assistant, a face for each of the staff, a mask for each other client."""
    row = await tx.fetchrow(
        "SELECT a.user_id, m.id AS member_id FROM account a JOIN member m ON m.person_id = a.person_id"
        " WHERE a.person_id = $1 AND m.conversation_id = $2 AND m.removed_at IS NULL",
        person, conversation,
    )  # fmt: skip
    assert row is not None
    server_name = row["user_id"].partition(":")[2]
    leg = LegId(uuid4())
    await tx.execute(
        "INSERT INTO leg (id, conversation_id, member_id, user_id, hold)"
        " VALUES ($1, $2, $3, $4, 'no_device')",
        leg, conversation, row["member_id"], row["user_id"],
    )  # fmt: skip
    await _sit(tx, leg, await ensure_assistant(tx, server_name), None)
    for other, is_client in await _others(tx, conversation, person):
        puppet = await ensure_puppet(tx, other, is_client, conversation, server_name)
        await _sit(tx, leg, puppet, other)
    return leg


async def show_to_others(
    tx: Transaction, conversation: ConversationId, person: PersonId, *, is_client: bool
) -> None:
    """Their face or mask takes a seat in every other leg; a mask in a large group only once they speak."""
    if is_client and await is_large(tx, conversation):
        return
    await take_seats(tx, conversation, person, is_client=is_client)


async def take_seats(
    tx: Transaction, conversation: ConversationId, person: PersonId, *, is_client: bool
) -> None:
    """A seat in every leg of others that has none for them; nothing where all have."""
    legs = await tx.fetch(
        "SELECT l.id, l.user_id FROM leg l JOIN member m ON m.id = l.member_id"
        " WHERE l.conversation_id = $1 AND l.state <> 'ended' AND m.person_id <> $2 AND NOT EXISTS"
        " (SELECT FROM occupant o WHERE o.leg_id = l.id AND o.person_id = $2 AND NOT o.leaving)",
        conversation, person,
    )  # fmt: skip
    if not legs:
        return
    server_name = legs[0]["user_id"].partition(":")[2]
    puppet = await ensure_puppet(tx, person, is_client, conversation, server_name)
    for leg in legs:
        await _sit(tx, leg["id"], puppet, person)


async def hide_from_others(tx: Transaction, conversation: ConversationId, person: PersonId) -> None:
    """Their seats are given up, once what they said before has been carried."""
    await tx.execute(
        "WITH up AS (UPDATE occupant o SET leaving = true FROM leg l WHERE l.id = o.leg_id"
        " AND l.conversation_id = $1 AND o.person_id = $2 RETURNING o.leg_id)"
        " UPDATE leg SET seats_due = true, next_attempt_at = now() FROM up"
        " WHERE leg.id = up.leg_id AND leg.state <> 'ended'",
        conversation, person,
    )  # fmt: skip


async def ensure_puppet(
    tx: Transaction, person: PersonId, is_client: bool, conversation: ConversationId, server_name: str
) -> PuppetId:
    """The face that a member of staff wears everywhere, or the mask of a client in this conversation."""
    kind, where, audience = ("mask", conversation, "client") if is_client else ("face", None, None)
    await tx.execute(
        "INSERT INTO puppet (id, user_id, device_id, kind, person_id, conversation_id, audience)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        uuid4(), _random_user(server_name), _random_device(), kind, person, where, audience,
    )  # fmt: skip
    found = await tx.fetchval(
        "SELECT id FROM puppet WHERE person_id = $1 AND kind = $2"
        " AND conversation_id IS NOT DISTINCT FROM $3",
        person, kind, where,
    )  # fmt: skip
    return PuppetId(found)


async def _others(
    tx: Transaction, conversation: ConversationId, person: PersonId
) -> list[tuple[PersonId, bool]]:
    """Who gets a seat in this person's leg: (person, is a client), by joining."""
    rows = await tx.fetch(
        "SELECT m.person_id, p.role = 'client' AS is_client FROM member m"
        " JOIN person p ON p.id = m.person_id WHERE m.conversation_id = $1 AND m.removed_at IS NULL"
        " AND m.person_id <> $2 ORDER BY m.joined_at, m.id",
        conversation, person,
    )  # fmt: skip
    large = await is_large(tx, conversation)
    return [(PersonId(r["person_id"]), r["is_client"]) for r in rows if not (large and r["is_client"])]


async def clients(tx: Transaction, conversation: ConversationId) -> list[PersonId]:
    """Who are in it now, in the order of joining."""
    rows = await tx.fetch(
        "SELECT m.person_id FROM member m JOIN person p ON p.id = m.person_id"
        " WHERE m.conversation_id = $1 AND m.removed_at IS NULL AND p.role = 'client'"
        " ORDER BY m.joined_at, m.id",
        conversation,
    )
    return [PersonId(row["person_id"]) for row in rows]


async def is_large(tx: Transaction, conversation: ConversationId) -> bool:
    """Whether masks come only when their client speaks."""
    return len(await clients(tx, conversation)) > MAX_MASKS_AT_ONCE


async def leg_of(tx: Transaction, conversation: ConversationId, person: PersonId) -> LegId:
    leg = await tx.fetchval(
        "SELECT l.id FROM leg l JOIN member m ON m.id = l.member_id"
        " WHERE l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended'",
        conversation, person,
    )  # fmt: skip
    return LegId(leg)


async def _sit(tx: Transaction, leg: UUID, puppet: UUID, person: UUID | None) -> None:
    await tx.execute(
        "INSERT INTO occupant (leg_id, puppet_id, person_id) VALUES ($1, $2, $3)"
        " ON CONFLICT (leg_id, puppet_id) DO UPDATE SET leaving = false",
        leg, puppet, person,
    )  # fmt: skip
    await tx.execute("UPDATE leg SET seats_due = true, next_attempt_at = now() WHERE id = $1", leg)


def _random_user(server_name: str) -> str:
    return f"@{MASK_PREFIX}{b32encode(secrets.token_bytes(10)).decode().lower()}:{server_name}"


def _random_device() -> str:
    return b32encode(secrets.token_bytes(10)).decode()[:10]
