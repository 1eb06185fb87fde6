"""A client's encryption identity is pinned on first use; a changed one gets nothing until it is confirmed.

Confirming is the organiser's act, recorded, and seen in the journal. It is about the identity that they were
shown and no other. It lets go whatever waited for that client, in every conversation: there is one identity,
however many rooms.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from bridge import audit, journal, legs
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import Invalid
from bridge.journal import Draft
from bridge.sealing import Keyring
from bridge.standing import allowed
from policies.access import Action
from policies.content import Notice
from policies.vocabulary import ConversationId, EntryKind, PersonId

CHANGED = "identity_changed"
"""What `leg.hold` says meanwhile."""
CHANGED_AGAIN = "identity_changed_again"
UNSIGNED = "unsigned"
"""What is said instead of `no_device` to somebody with devices, none of which their identity has signed."""

_UNSIGNED = """EXISTS (SELECT FROM crypto_user u JOIN crypto_device d USING (user_id)
    WHERE u.user_id = {user} AND u.master_key IS NOT NULL AND NOT d.gone HAVING bool_and(NOT d.signed))"""
HOLD = (
    "CASE WHEN l.hold = 'no_device' AND "
    + _UNSIGNED.format(user="l.user_id")
    + f" THEN '{UNSIGNED}' ELSE l.hold END"
)
"""The hold of leg `l`, as it is said: who has signed in needs other advice than who hasn't."""


@dataclass(frozen=True, slots=True)
class Offered:
    """An identity that waits to be confirmed. `mark` names it and no other."""

    person_id: PersonId
    mark: str

    @property
    def code(self) -> str:
        """Short, to be compared at a glance."""
        return f"{self.mark[:4]} {self.mark[4:8]}".upper()


async def unsigned(tx: Transaction, users: Collection[str]) -> set[str]:
    """Who of these has devices, but none that their identity has signed."""
    rows = await tx.fetch(
        f"SELECT x.user_id FROM unnest($1::text[]) AS x (user_id) WHERE {_UNSIGNED.format(user='x.user_id')}",
        list(users),
    )
    return {row["user_id"] for row in rows}


async def offered(tx: Transaction, *, actor: PersonId, conversation: ConversationId) -> list[Offered]:
    """The changed identities of this conversation's clients. Raises NotFound, NotAllowed, or Invalid when
    nothing is held for that reason."""
    await allowed(tx, actor, conversation, Action.RELEASE_IDENTITY)
    return [one for one, _ in await _held(tx, conversation)]


async def release(
    tx: Transaction,
    keyring: Keyring,
    *,
    actor: PersonId,
    conversation: ConversationId,
    seen: Collection[str],
    at: datetime,
) -> Sequence[PersonId]:
    """Accept the changed identities of this conversation's clients: `actor` has made sure of them, by the
    `mark` of each.

    Returns whom it was about. Raises NotFound, NotAllowed, or Invalid: nothing is held for that reason, or
    there is one among them that isn't in `seen`, and then none is released.
    """
    where = await allowed(tx, actor, conversation, Action.RELEASE_IDENTITY)
    held = await _held(tx, conversation)
    if any(one.mark not in seen for one, _ in held):
        raise Invalid(
            CHANGED_AGAIN,
            "The security details have changed once more since you looked, so nothing has been released. "
            "Please make sure again.",
        )
    for one, user_id in held:
        await accept(tx, user_id)
        for leg in await legs.of_users(tx, [user_id]):
            if leg.hold == CHANGED:
                await legs.set_hold(tx, leg.id, None)
        said = Notice("identity_released", {"person": str(one.person_id)})
        draft = Draft(EntryKind.NOTICE, at, said, author_id=actor, to_clients=False)
        await journal.append(tx, where.key(keyring), conversation, draft)
        await audit.record(
            tx, Did.IDENTITY_RELEASED, actor=actor, conversation=conversation, subject=one.person_id
        )
    return [one.person_id for one, _ in held]


async def _held(tx: Transaction, conversation: ConversationId) -> list[tuple[Offered, str]]:
    """Each with the Matrix user. What is offered stays as it is read here until the transaction ends."""
    rows = await tx.fetch(
        "SELECT l.user_id, m.person_id FROM leg l JOIN member m ON m.id = l.member_id"
        " WHERE l.conversation_id = $1 AND l.state <> 'ended' AND l.hold = $2 ORDER BY l.id FOR UPDATE OF l",
        conversation, CHANGED,
    )  # fmt: skip
    if not rows:
        raise Invalid(
            "not_held", "Nothing is held back here any more. Somebody may have confirmed it already."
        )
    keys = await tx.fetch(
        "SELECT user_id, offered_master_key FROM crypto_user WHERE user_id = ANY($1) ORDER BY user_id"
        " FOR NO KEY UPDATE",
        [row["user_id"] for row in rows],
    )
    key_of = {row["user_id"]: row["offered_master_key"] for row in keys}
    return [
        (Offered(row["person_id"], _mark(row["user_id"], key_of.get(row["user_id"]))), row["user_id"])
        for row in rows
    ]


def _mark(user_id: str, key: str | None) -> str:
    return sha256(f"{user_id} {key or ''}".encode()).hexdigest()


async def accept(tx: Transaction, user_id: str) -> None:
    """Pin the identity that is offered now. Its devices may have keys from here on, so `version` moves."""
    await tx.execute(
        "UPDATE crypto_user SET master_key = offered_master_key, version = version + 1,"
        " state = CASE WHEN offered_master_key IS NULL THEN 'new' ELSE 'pinned' END"
        " WHERE user_id = $1 AND state = 'changed'",
        user_id,
    )
