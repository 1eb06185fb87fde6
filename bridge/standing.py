"""How a person stands to a conversation. Whoever reads or changes one asks here first.

An outsider gets the same answer for a conversation of others as for one that doesn't exist (S4).
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bridge import audit
from bridge.database import Transaction
from bridge.errors import NotAllowed, NotFound
from bridge.sealing import DataKey, Keyring
from policies import access
from policies.access import Action, ConversationState, Relation
from policies.vocabulary import ConversationId, ConversationKind, MemberId, PersonId, Refusal, Role


@dataclass(frozen=True, slots=True)
class Standing:
    person_id: PersonId
    role: Role
    conversation_id: ConversationId
    kind: ConversationKind
    organiser_id: PersonId
    closed: bool
    wrapped_key: bytes | None
    member_id: MemberId
    joined_seq: int
    read_seq: int
    silenced: bool = False
    """Their own chat is off: nothing new for them, and what they write reaches nobody (P5)."""
    client_silenced: bool = False
    """The chat of the one client of this thread is off."""

    @property
    def relation(self) -> Relation:
        return Relation.ORGANISER if self.organiser_id == self.person_id else Relation.MEMBER

    def key(self, keyring: Keyring) -> DataKey:
        return keyring.unwrap(self.wrapped_key, str(self.conversation_id))

    def require(self, action: Action, *, own: bool = False) -> None:
        """Raises NotAllowed with the words of the policy."""
        verdict = access.decide(
            action, self.role, self.relation, ConversationState(self.kind, self.closed), own=own
        )
        if isinstance(verdict, Refusal):
            refused = NotAllowed(verdict.code, verdict.words)
            if action in RECORDED:
                refused.kept = audit.refusal(self.person_id, action, self.conversation_id, verdict.code)
            raise refused


RECORDED = frozenset({
    Action.EDIT_OWN, Action.DELETE_OWN, Action.RENAME, Action.ADD_MEMBER, Action.REMOVE_MEMBER, Action.LEAVE,
    Action.CLOSE, Action.RELEASE_IDENTITY, Action.SEE_DELETED, Action.RESTORE,
})  # fmt: skip
"""Attempts at what is somebody else's, which go into the audit trail. A message that comes too late, or a
button that a page should not have shown, doesn't."""


async def allowed(tx: Transaction, person_id: UUID, conversation_id: UUID, action: Action) -> Standing:
    """The standing of somebody who may do this. Raises NotFound or NotAllowed; either is recorded."""
    where = await standing(tx, person_id, conversation_id, action)
    where.require(action)
    return where


async def standing(
    tx: Transaction, person_id: UUID, conversation_id: UUID, action: Action = Action.READ
) -> Standing:
    """Raises NotFound for who isn't a member now; `action`: what they were about to do, for the trail."""
    row = await tx.fetchrow(f"SELECT {COLUMNS} {MEMBER}", conversation_id, person_id)
    if row is None:
        raise outsider(person_id, conversation_id, action)
    return from_row(row)


def outsider(person_id: UUID, conversation_id: UUID, action: Action) -> NotFound:
    """What somebody who is no member gets, recorded where `action` is."""
    refused = NotFound()
    if action in RECORDED:
        refused.kept = audit.refusal(person_id, action, conversation_id, "not_found")
    return refused


# What has been erased with its key is over, too.
COLUMNS = """
    c.id AS conversation_id, c.kind AS conversation_kind, c.organiser_id,
    c.closed_at IS NOT NULL OR c.wrapped_key IS NULL AS closed, c.wrapped_key,
    m.id AS member_id, m.joined_seq, m.read_seq, p.id AS person_id, p.role,
    EXISTS (SELECT FROM leg l WHERE l.member_id = m.id AND l.silenced) AS silenced,
    c.client_id IS NOT NULL AND EXISTS (SELECT FROM leg l WHERE l.conversation_id = c.id AND l.silenced
        AND l.state <> 'ended') AS client_silenced
"""
MEMBER = """
FROM (SELECT * FROM member WHERE conversation_id = $1 AND person_id = $2 AND removed_at IS NULL) m
JOIN conversation c ON c.id = m.conversation_id JOIN person p ON p.id = m.person_id
"""
"""With these, whoever asks for something in the conversation $1 asks in the same breath whether $2 is in it:
no row, no member."""


def from_row(row: Any) -> Standing:
    """From a row that has `COLUMNS`."""
    return Standing(
        PersonId(row["person_id"]), Role(row["role"]), ConversationId(row["conversation_id"]),
        ConversationKind(row["conversation_kind"]), PersonId(row["organiser_id"]), row["closed"],
        row["wrapped_key"], MemberId(row["member_id"]),
        row["joined_seq"], row["read_seq"], row["silenced"], row["client_silenced"],
    )  # fmt: skip
