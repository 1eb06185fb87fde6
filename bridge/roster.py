"""Changes of a roster: decided by `policies.membership`, carried out effect by effect in one transaction.

The conversation's row is locked first, so that two people who change a roster at once do it one after the
other, and the second sees what the first did. Whose chat is off is asked here, for every caller (P5).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID, uuid4, uuid5

from bridge import chat_settings, directory, locks
from bridge.database import Transaction
from bridge.effects import Work, carry_out
from bridge.errors import NotAllowed
from bridge.feed import Change as FeedChange
from bridge.feed import Notification, notify
from bridge.sealing import DataKey, Keyring
from bridge.standing import allowed
from policies import membership
from policies.access import Action
from policies.membership import Change, Group, Outcome, Step
from policies.vocabulary import ConversationId, ConversationKind, Member, Person, PersonId, Refusal


async def load(tx: Transaction, keyring: Keyring, conversation: ConversationId) -> Group:
    """The conversation with everybody who is or was in it, locked until the transaction ends."""
    row = await tx.fetchrow(
        "SELECT kind, organiser_id, closed_at IS NOT NULL AS closed FROM conversation"
        " WHERE id = $1 FOR NO KEY UPDATE",
        conversation,
    )
    assert row is not None
    roster = await members(tx, keyring, conversation)
    return Group(ConversationKind(row["kind"]), PersonId(row["organiser_id"]), roster, row["closed"])


async def members(tx: Transaction, keyring: Keyring, conversation: ConversationId) -> list[Member]:
    """In the order of joining, former members included. Callers have asked `standing`."""
    rows = await tx.fetch(
        "SELECT person_id, joined_seq, removed_seq FROM member WHERE conversation_id = $1"
        " ORDER BY joined_at, id",
        conversation,
    )
    persons = await directory.get_many(tx, keyring, {PersonId(row["person_id"]) for row in rows})
    return [Member(persons[row["person_id"]], row["joined_seq"], row["removed_seq"]) for row in rows]


async def start(
    tx: Transaction,
    keyring: Keyring,
    *,
    actor: PersonId,
    kind: ConversationKind,
    others: Sequence[PersonId],
    at: datetime,
    told: bool = False,
    automatic: bool = False,
    request_id: UUID | None = None,
) -> ConversationId:
    """A new conversation with `actor` as its organiser, everybody in it. Raises NotAllowed with the words of
    the policy. The same `request_id` again gives the same conversation.

    `automatic`: it follows from something else, a booking or a therapist's arrival. Nobody has written to
    the clients by it, so it is made for those whose chat is off too.
    """
    if request_id is not None and await _made_before(tx, actor, request_id):
        return _identity(actor, request_id)
    persons = await directory.get_many(tx, keyring, [actor, *others])
    organiser = persons[actor]
    chosen = [persons[person] for person in others if person in persons]
    clients = [person.id for person in chosen if not person.role.is_staff]
    barred = {} if automatic else await chat_settings.barred(tx, keyring, clients, kind)
    steps = _allowed(membership.start(kind, organiser, chosen, told=told, barred=barred))
    conversation = _identity(actor, request_id) if request_id else ConversationId(uuid4())
    key, wrapped = keyring.new_key(str(conversation))
    one_client = clients[0] if kind in (ConversationKind.DIRECT, ConversationKind.BLAST) else None
    await tx.execute(
        "INSERT INTO conversation"
        " (id, kind, organiser_id, client_id, wrapped_key, last_message_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $6)",
        conversation, kind.value, actor, one_client, wrapped, at,
    )  # fmt: skip
    work = Work(tx, key, conversation, None if automatic else actor, Change.STARTED, at, persons)
    await carry_out(work, steps)
    return conversation


def _identity(actor: PersonId, request_id: UUID) -> ConversationId:
    return ConversationId(uuid5(actor, str(request_id)))


async def _made_before(tx: Transaction, actor: PersonId, request_id: UUID) -> bool:
    """Asked by one at a time."""
    conversation = _identity(actor, request_id)
    await locks.alone(tx, f"start {conversation}")
    found = await tx.fetchval("SELECT true FROM conversation WHERE id = $1", conversation)
    return found is True


async def add(
    tx: Transaction,
    keyring: Keyring,
    *,
    actor: PersonId,
    conversation: ConversationId,
    person: PersonId,
    at: datetime,
    told: bool = False,
) -> None:
    """Somebody more, or somebody back: from now on (C10, C12)."""
    key, group = await _changing(tx, keyring, actor, conversation, Action.ADD_MEMBER)
    added = await directory.get(tx, keyring, person)
    clients = [] if added.role.is_staff else [person]
    barred = await chat_settings.barred(tx, keyring, clients, group.kind)
    steps = _allowed(membership.add(group, added, told=told, barred=barred.get(person)))
    everybody = {**_everybody(group), person: added}
    await carry_out(Work(tx, key, conversation, actor, Change.ADDED, at, everybody, person), steps)


async def remove(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, person: PersonId,
    at: datetime,
) -> None:  # fmt: skip
    """From this commit nothing more goes to them; what they have is taken back by `revoke` (C11)."""
    key, group = await _changing(tx, keyring, actor, conversation, Action.REMOVE_MEMBER)
    steps = _allowed(membership.remove(group, person))
    work = Work(tx, key, conversation, actor, Change.REMOVED, at, _everybody(group), person)
    await carry_out(work, steps)


async def leave(
    tx: Transaction, keyring: Keyring, *, person: PersonId, conversation: ConversationId, at: datetime
) -> None:
    """By themselves: staff in the portal, a client by leaving the room in their app."""
    key, group = await _changing(tx, keyring, person, conversation, Action.LEAVE)
    steps = _allowed(membership.leave(group, person))
    await carry_out(Work(tx, key, conversation, person, Change.LEFT, at, _everybody(group), person), steps)


async def keep(
    tx: Transaction, keyring: Keyring, *, conversation: ConversationId, people: Collection[PersonId],
    at: datetime,
) -> None:  # fmt: skip
    """Bring a roster that nobody edits by hand, Client Care's or a lobby's, to exactly these people."""
    group = await load(tx, keyring, conversation)
    key = await _key(tx, keyring, conversation)
    everybody = {**_everybody(group), **await directory.get_many(tx, keyring, people)}
    for person in group.current.keys() - set(people):
        # A client goes by themselves: what they have stays with them.
        change, decide = (
            (Change.REMOVED, membership.remove)
            if everybody[person].role.is_staff
            else (Change.LEFT, membership.leave)
        )
        steps = _allowed(decide(group, person))
        await carry_out(Work(tx, key, conversation, None, change, at, everybody, person), steps)
    for person in [person for person in people if person not in group.current]:
        steps = _allowed(membership.add(group, everybody[person]))
        await carry_out(Work(tx, key, conversation, None, Change.ADDED, at, everybody, person), steps)


async def close(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, at: datetime
) -> None:
    """For everybody: clients are told and can still read (C15)."""
    key, group = await _changing(tx, keyring, actor, conversation, Action.CLOSE)
    steps = _allowed(membership.close(group))
    await carry_out(Work(tx, key, conversation, actor, Change.CLOSED, at, _everybody(group)), steps)


async def entitle(tx: Transaction, keyring: Keyring, conversation: ConversationId, title: str | None) -> None:
    """The organiser's own title; None brings the default back (C9)."""
    key = await _key(tx, keyring, conversation)
    sealed = key.seal(title.encode(), f"{conversation}:title") if title else None
    await tx.execute("UPDATE conversation SET title_sealed = $2 WHERE id = $1", conversation, sealed)
    await notify(tx, Notification(FeedChange.CONVERSATION, conversation))


async def _key(tx: Transaction, keyring: Keyring, conversation: ConversationId) -> DataKey:
    wrapped = await tx.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", conversation)
    return keyring.unwrap(wrapped, str(conversation))


async def _changing(
    tx: Transaction, keyring: Keyring, actor: PersonId, conversation: ConversationId, action: Action
) -> tuple[DataKey, Group]:
    """Locked, then asked: what the actor may do is decided on the roster as it is now."""
    await tx.execute("SELECT FROM conversation WHERE id = $1 FOR NO KEY UPDATE", conversation)
    where = await allowed(tx, actor, conversation, action)
    return where.key(keyring), await load(tx, keyring, conversation)


def _everybody(group: Group) -> dict[PersonId, Person]:
    return {member.person.id: member.person for member in group.roster}


def _allowed(outcome: Outcome) -> tuple[Step, ...]:
    if isinstance(outcome, Refusal):
        raise NotAllowed(outcome.code, outcome.words)
    return outcome
