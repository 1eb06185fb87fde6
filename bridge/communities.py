"""A community chat: several who know of each other, clients by their initials only (C3, C6, C7).

Whom the organiser may choose from is asked here, as for everything that they start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bridge import chat_settings, people, roster
from bridge.database import Transaction
from bridge.errors import Invalid, NotAllowed
from bridge.people import Kind
from bridge.sealing import Keyring
from policies import access, membership
from policies.access import Action
from policies.content import check_title
from policies.vocabulary import ConversationId, ConversationKind, Person, PersonId, Refusal

EVERYBODY = 10_000
CHOSEN_AGAIN = "Some of these people can’t be written to any more. Please choose again."


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be started: who would be in it, who is left out and why, and what speaks against it."""

    members: tuple[Person, ...]
    left_out: tuple[tuple[Person, str], ...]
    refusal: Refusal | None

    @property
    def clients(self) -> int:
        return sum(1 for person in self.members if not person.role.is_staff)

    @property
    def must_be_told(self) -> bool:
        """Two clients or more: each has to know that others take part (C6)."""
        return self.clients > 1


async def chosen(tx: Transaction, keyring: Keyring, actor: Person, ids: Sequence[PersonId]) -> list[Person]:
    """Exactly these people, by name, if `actor` may write to every one. Raises Invalid."""
    wanted = set(ids)
    offered = await people.search(tx, keyring, actor, "", kinds=frozenset(Kind), limit=EVERYBODY)
    found = [person for person in offered if person.id in wanted]
    if len(found) < len(wanted):
        raise Invalid("people", CHOSEN_AGAIN)
    return found


async def preview(tx: Transaction, keyring: Keyring, actor: Person, ids: Sequence[PersonId]) -> Preview:
    """For the confirmation: those whose community chat is off are left out. Raises Invalid, NotAllowed."""
    _may_start(actor)
    found = await chosen(tx, keyring, actor, ids)
    clients = [person.id for person in found if not person.role.is_staff]
    barred = await chat_settings.barred(tx, keyring, clients, ConversationKind.COMMUNITY)
    members = tuple(person for person in found if person.id not in barred)
    outcome = membership.start(ConversationKind.COMMUNITY, actor, members, told=True)
    return Preview(
        members,
        tuple((person, barred[person.id].words) for person in found if person.id in barred),
        outcome if isinstance(outcome, Refusal) else None,
    )


async def start(
    tx: Transaction,
    keyring: Keyring,
    *,
    actor: Person,
    others: Sequence[PersonId],
    told: bool,
    title: str = "",
    at: datetime,
    request_id: UUID | None = None,
) -> ConversationId:
    """`told`: the organiser confirms that every client knows that others take part; it is recorded (C6).

    Raises Invalid, or NotAllowed with the words of the policy.
    """
    _may_start(actor)
    checked = check_title(title)
    if isinstance(checked, Refusal):
        raise Invalid(checked.code, checked.words)
    found = await chosen(tx, keyring, actor, others)
    conversation = await roster.start(
        tx, keyring, actor=actor.id, kind=ConversationKind.COMMUNITY, others=[person.id for person in found],
        told=told, at=at, request_id=request_id,
    )  # fmt: skip
    if checked:
        await roster.entitle(tx, keyring, conversation, checked)
    return conversation


def _may_start(actor: Person) -> None:
    verdict = access.decide(Action.START_COMMUNITY, actor.role)
    if isinstance(verdict, Refusal):
        raise NotAllowed(verdict.code, verdict.words)
