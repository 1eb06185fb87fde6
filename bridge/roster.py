"""Changes of a roster: decided by `policies.membership`, carried out effect by effect in one transaction.

The conversation's row is locked first, so that two people who change a roster at once do it one after the
other, and the second sees what the first did.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from bridge import audit, chat_settings, directory, journal, seats
from bridge.audit import Did
from bridge.database import Transaction
from bridge.errors import NotAllowed
from bridge.feed import Change as FeedChange
from bridge.feed import Notification, notify
from bridge.journal import Draft
from bridge.sealing import DataKey, Keyring
from bridge.standing import standing
from policies import membership, notices
from policies.access import Action
from policies.content import Notice
from policies.membership import Change, Effect, Group, Outcome, Step
from policies.vocabulary import (
    ConversationId,
    ConversationKind,
    EntryKind,
    Member,
    Person,
    PersonId,
    Refusal,
)


@dataclass(slots=True)
class _Work:
    """One change under way: what the effects need to know."""

    tx: Transaction
    key: DataKey
    conversation: ConversationId
    actor: PersonId
    change: Change
    at: datetime
    people: Mapping[PersonId, Person]
    subject: PersonId | None = None
    detail: dict[str, int] = field(default_factory=dict)

    def is_client(self, person: PersonId) -> bool:
        return not self.people[person].role.is_staff


async def load(tx: Transaction, keyring: Keyring, conversation: ConversationId) -> Group:
    """The conversation with everybody who is or was in it, locked until the transaction ends."""
    row = await tx.fetchrow(
        "SELECT kind, organiser_id, closed_at IS NOT NULL AS closed FROM conversation"
        " WHERE id = $1 FOR UPDATE",
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
    barred: Mapping[PersonId, Refusal] | None = None,
) -> ConversationId:
    """A new conversation, everybody in it. Raises NotAllowed with the words of the policy."""
    persons = await directory.get_many(tx, keyring, [actor, *others])
    organiser = persons[actor]
    chosen = [persons[person] for person in others if person in persons]
    steps = _allowed(membership.start(kind, organiser, chosen, told=told, barred=barred))
    conversation = ConversationId(uuid4())
    key, wrapped = keyring.new_key(str(conversation))
    clients = [person.id for person in chosen if not person.role.is_staff]
    one_client = clients[0] if kind in (ConversationKind.DIRECT, ConversationKind.BLAST) else None
    await tx.execute(
        "INSERT INTO conversation"
        " (id, kind, organiser_id, client_id, wrapped_key, last_message_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $6)",
        conversation, kind.value, actor, one_client, wrapped, at,
    )  # fmt: skip
    work = _Work(tx, key, conversation, actor, Change.STARTED, at, persons)
    await _carry_out(work, steps)
    return conversation


async def add(
    tx: Transaction,
    keyring: Keyring,
    *,
    actor: PersonId,
    conversation: ConversationId,
    person: PersonId,
    at: datetime,
    told: bool = False,
    barred: Refusal | None = None,
) -> None:
    """Somebody more, or somebody back: from now on (C10, C12)."""
    key, group = await _changing(tx, keyring, actor, conversation, Action.ADD_MEMBER)
    added = await directory.get(tx, keyring, person)
    steps = _allowed(membership.add(group, added, told=told, barred=barred))
    everybody = {**_everybody(group), person: added}
    await _carry_out(_Work(tx, key, conversation, actor, Change.ADDED, at, everybody, person), steps)


async def remove(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, person: PersonId,
    at: datetime,
) -> None:  # fmt: skip
    """From this commit nothing more goes to them; what they have is taken back by `revoke` (C11)."""
    key, group = await _changing(tx, keyring, actor, conversation, Action.REMOVE_MEMBER)
    steps = _allowed(membership.remove(group, person))
    work = _Work(tx, key, conversation, actor, Change.REMOVED, at, _everybody(group), person)
    await _carry_out(work, steps)


async def leave(
    tx: Transaction, keyring: Keyring, *, person: PersonId, conversation: ConversationId, at: datetime
) -> None:
    """By themselves: staff in the portal, a client by leaving the room in their app."""
    key, group = await _changing(tx, keyring, person, conversation, Action.LEAVE)
    steps = _allowed(membership.leave(group, person))
    await _carry_out(_Work(tx, key, conversation, person, Change.LEFT, at, _everybody(group), person), steps)


async def close(
    tx: Transaction, keyring: Keyring, *, actor: PersonId, conversation: ConversationId, at: datetime
) -> None:
    """For everybody: clients are told and can still read (C15)."""
    key, group = await _changing(tx, keyring, actor, conversation, Action.CLOSE)
    steps = _allowed(membership.close(group))
    await _carry_out(_Work(tx, key, conversation, actor, Change.CLOSED, at, _everybody(group)), steps)


async def entitle(tx: Transaction, keyring: Keyring, conversation: ConversationId, title: str | None) -> None:
    """The organiser's own title; None brings the default back (C9)."""
    wrapped = await tx.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", conversation)
    key = keyring.unwrap(wrapped, str(conversation))
    sealed = key.seal(title.encode(), f"{conversation}:title") if title else None
    await tx.execute("UPDATE conversation SET title_sealed = $2 WHERE id = $1", conversation, sealed)
    await notify(tx, Notification(FeedChange.CONVERSATION, conversation))


async def _changing(
    tx: Transaction, keyring: Keyring, actor: PersonId, conversation: ConversationId, action: Action
) -> tuple[DataKey, Group]:
    """Locked, then asked: what the actor may do is decided on the roster as it is now."""
    await tx.execute("SELECT FROM conversation WHERE id = $1 FOR UPDATE", conversation)
    where = await standing(tx, actor, conversation)
    where.require(action)
    return where.key(keyring), await load(tx, keyring, conversation)


def _everybody(group: Group) -> dict[PersonId, Person]:
    return {member.person.id: member.person for member in group.roster}


def _allowed(outcome: Outcome) -> tuple[Step, ...]:
    if isinstance(outcome, Refusal):
        raise NotAllowed(outcome.code, outcome.words)
    return outcome


async def _carry_out(work: _Work, steps: Sequence[Step]) -> None:
    """In the order of the effects' kinds: everybody is in the roster before the first leg is peopled."""
    ordered = sorted(steps, key=lambda step: _ORDER.index(step.effect))
    for step in ordered:
        await _HANDLERS[step.effect](work, step.person)
    await notify(work.tx, Notification(FeedChange.CONVERSATION, work.conversation))


async def _join_roster(work: _Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.join_roster(work.tx, work.conversation, person, work.at)


async def _open_leg(work: _Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.open_leg(work.tx, work.conversation, person)
    await chat_settings.silence(work.tx, [person])


async def _show(work: _Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.show_to_others(work.tx, work.conversation, person, is_client=work.is_client(person))


async def _hide(work: _Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.hide_from_others(work.tx, work.conversation, person)


async def _end_membership(work: _Work, person: PersonId | None) -> None:
    await work.tx.execute(
        "UPDATE member m SET removed_at = $3, removed_seq = c.last_seq, ended = $4, ended_by = $5"
        " FROM conversation c WHERE c.id = $1 AND m.conversation_id = $1 AND m.person_id = $2"
        " AND m.removed_at IS NULL",
        work.conversation, person, work.at, work.change.value, work.actor,
    )  # fmt: skip


async def _cancel_deliveries(work: _Work, person: PersonId | None) -> None:
    await work.tx.execute(
        "UPDATE delivery SET state = 'cancelled', payload = NULL, error = $3"
        " WHERE state IN ('pending', 'prepared') AND leg_id IN ("
        " SELECT l.id FROM leg l JOIN member m ON m.id = l.member_id"
        " WHERE l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended')",
        work.conversation, person, work.change.value,
    )  # fmt: skip


async def _revoke_leg(work: _Work, person: PersonId | None) -> None:
    await _give_up_leg(work, person, keeps_copy=False)


async def _end_leg(work: _Work, person: PersonId | None) -> None:
    await _give_up_leg(work, person, keeps_copy=True)


async def _give_up_leg(work: _Work, person: PersonId | None, *, keeps_copy: bool) -> None:
    """What is in its room is `appservice.revoke`'s work, from this row on."""
    await work.tx.execute(
        "WITH ended AS (UPDATE leg l SET state = 'ended', seats_due = false FROM member m"
        " WHERE m.id = l.member_id AND l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended'"
        " RETURNING l.id, l.user_id, l.room_id)"
        " INSERT INTO revocation (leg_id, conversation_id, person_id, user_id, room_id, keeps_copy, step)"
        " SELECT id, $1, $2, user_id, room_id, $3, CASE WHEN $3 THEN 'kick' ELSE 'redact' END FROM ended",
        work.conversation, person, keeps_copy,
    )  # fmt: skip


async def _freeze_leg(work: _Work, person: PersonId | None) -> None:
    """Once all that was said before has been carried (`appservice.legs`)."""
    await work.tx.execute(
        "UPDATE leg l SET frozen_at = $3, seats_due = true, next_attempt_at = now() FROM member m"
        " WHERE m.id = l.member_id AND l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended'",
        work.conversation, person, work.at,
    )  # fmt: skip


async def _close(work: _Work, _: PersonId | None) -> None:
    await work.tx.execute(
        "UPDATE conversation SET closed_at = $2, closed_by = $3 WHERE id = $1 AND closed_at IS NULL",
        work.conversation, work.at, work.actor,
    )  # fmt: skip


_NOTICES: Mapping[Change, str] = {
    Change.ADDED: "member_added",
    Change.REMOVED: "member_removed",
    Change.LEFT: "member_left",
    Change.CLOSED: "closed",
}
_RECORDS: Mapping[Change, Did] = {
    Change.STARTED: Did.STARTED,
    Change.ADDED: Did.ADDED,
    Change.REMOVED: Did.REMOVED,
    Change.LEFT: Did.LEFT,
    Change.CLOSED: Did.CLOSED,
}


async def _notice(work: _Work, person: PersonId | None) -> None:
    if work.change is Change.STARTED:
        return  # the page says itself where a conversation begins
    about = person or work.subject
    params = {"person": str(about)} if about else {}
    # A step of the conversation itself after somebody left says that it has closed.
    code = "closed" if person is None and work.change in _ENDING else _NOTICES[work.change]
    notice = Notice(code, {} if code == "closed" else params)
    told = notices.for_client(notice) is not None
    draft = Draft(EntryKind.NOTICE, work.at, notice, to_clients=told)
    await journal.append(work.tx, work.key, work.conversation, draft)


async def _record(work: _Work, person: PersonId | None) -> None:
    did = Did.CLOSED if person is None and work.change in _ENDING else _RECORDS[work.change]
    await audit.record(work.tx, did, actor=work.actor, conversation=work.conversation, subject=person)


async def _record_told(work: _Work, _: PersonId | None) -> None:
    await work.tx.execute(
        "UPDATE conversation SET told_at = $2, told_by = $3 WHERE id = $1",
        work.conversation,
        work.at,
        work.actor,
    )
    await audit.record(work.tx, Did.CONFIRMED_TOLD, actor=work.actor, conversation=work.conversation)


_ENDING = (Change.REMOVED, Change.LEFT)
_HANDLERS: Mapping[Effect, Callable[[_Work, PersonId | None], Awaitable[None]]] = {
    Effect.JOIN_ROSTER: _join_roster,
    Effect.END_MEMBERSHIP: _end_membership,
    Effect.CANCEL_DELIVERIES: _cancel_deliveries,
    Effect.HIDE_FROM_OTHERS: _hide,
    Effect.REVOKE_LEG: _revoke_leg,
    Effect.END_LEG: _end_leg,
    Effect.OPEN_LEG: _open_leg,
    Effect.SHOW_TO_OTHERS: _show,
    Effect.NOTICE: _notice,
    Effect.CLOSE: _close,
    Effect.FREEZE_LEG: _freeze_leg,
    Effect.RECORD: _record,
    Effect.RECORD_TOLD: _record_told,
}
_ORDER = list(_HANDLERS)
