"""What each effect of a change does to the rows (`policies.membership` says which, `bridge.roster` when)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge import audit, chat_settings, journal, seats
from bridge.audit import Did
from bridge.database import Transaction
from bridge.feed import Change as FeedChange
from bridge.feed import Notification, notify
from bridge.journal import Draft
from bridge.sealing import DataKey
from policies import notices
from policies.content import Notice
from policies.membership import Change, Effect, Step
from policies.vocabulary import ConversationId, EntryKind, LegId, Person, PersonId


@dataclass(slots=True)
class Work:
    """One change under way: what the effects need to know."""

    tx: Transaction
    key: DataKey
    conversation: ConversationId
    actor: PersonId | None
    """None: nobody's act, the service's own."""
    change: Change
    at: datetime
    people: Mapping[PersonId, Person]
    subject: PersonId | None = None

    def is_client(self, person: PersonId) -> bool:
        return not self.people[person].role.is_staff


async def carry_out(work: Work, steps: Sequence[Step]) -> None:
    """In the order of the effects' kinds: everybody is in the roster before the first leg is peopled."""
    ordered = sorted(steps, key=lambda step: _ORDER.index(step.effect))
    for step in ordered:
        await _HANDLERS[step.effect](work, step.person)
    await notify(work.tx, Notification(FeedChange.CONVERSATION, work.conversation))


async def _join_roster(work: Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.join_roster(work.tx, work.conversation, person, work.at)


async def _open_leg(work: Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.open_leg(work.tx, work.conversation, person)
    await chat_settings.silence(work.tx, [person])


async def _show(work: Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.show_to_others(work.tx, work.conversation, person, is_client=work.is_client(person))


async def _hide(work: Work, person: PersonId | None) -> None:
    assert person is not None
    await seats.hide_from_others(work.tx, work.conversation, person)


async def _end_membership(work: Work, person: PersonId | None) -> None:
    await work.tx.execute(
        "UPDATE member m SET removed_at = $3, removed_seq = c.last_seq, ended = $4, ended_by = $5"
        " FROM conversation c WHERE c.id = $1 AND m.conversation_id = $1 AND m.person_id = $2"
        " AND m.removed_at IS NULL",
        work.conversation, person, work.at, work.change.value, work.actor,
    )  # fmt: skip


async def _cancel_deliveries(work: Work, person: PersonId | None) -> None:
    await work.tx.execute(
        "UPDATE delivery SET state = 'cancelled', payload = NULL, error = $3"
        " WHERE state IN ('pending', 'prepared') AND leg_id IN ("
        " SELECT l.id FROM leg l JOIN member m ON m.id = l.member_id"
        " WHERE l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended')",
        work.conversation, person, work.change.value,
    )  # fmt: skip


async def _revoke_leg(work: Work, person: PersonId | None) -> None:
    await _give_up_leg(work, person, keeps_copy=False)


async def _end_leg(work: Work, person: PersonId | None) -> None:
    await _give_up_leg(work, person, keeps_copy=True)


async def _give_up_leg(work: Work, person: PersonId | None, *, keeps_copy: bool) -> None:
    """What is in its room is `appservice.revoke`'s work, from this row on."""
    await work.tx.execute(
        "WITH ended AS (UPDATE leg l SET state = 'ended', seats_due = false FROM member m"
        " WHERE m.id = l.member_id AND l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended'"
        " RETURNING l.id, l.user_id, l.room_id)"
        " INSERT INTO revocation (leg_id, conversation_id, person_id, user_id, room_id, keeps_copy, step)"
        " SELECT id, $1, $2, user_id, room_id, $3, CASE WHEN $3 THEN 'kick' ELSE 'redact' END FROM ended",
        work.conversation, person, keeps_copy,
    )  # fmt: skip


async def _freeze_leg(work: Work, person: PersonId | None) -> None:
    """Once all that was said before has been carried (`appservice.legs`)."""
    await work.tx.execute(
        "UPDATE leg l SET frozen_at = $3, seats_due = true, next_attempt_at = now() FROM member m"
        " WHERE m.id = l.member_id AND l.conversation_id = $1 AND m.person_id = $2 AND l.state <> 'ended'",
        work.conversation, person, work.at,
    )  # fmt: skip


async def _close(work: Work, _: PersonId | None) -> None:
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


async def _notice(work: Work, person: PersonId | None) -> None:
    if work.change is Change.STARTED:
        # The page says itself where a conversation begins.
        await _tell_roster(work)
        return
    about = person or work.subject
    params = {"person": str(about)} if about else {}
    # A step of the conversation itself after somebody left says that it has closed.
    code = "closed" if person is None and work.change in _ENDING else _NOTICES[work.change]
    notice = Notice(code, {} if code == "closed" else params)
    told = notices.for_client(notice) is not None
    draft = Draft(EntryKind.NOTICE, work.at, notice, to_clients=told)
    await journal.append(work.tx, work.key, work.conversation, draft)
    if work.change is Change.ADDED and person is not None and work.is_client(person):
        await _tell_roster(work, await seats.leg_of(work.tx, work.conversation, person))


async def _tell_roster(work: Work, leg: LegId | None = None) -> None:
    """Whose masks a client of a large group doesn't see (C7): to all of them, or to whoever is added."""
    if await seats.is_large(work.tx, work.conversation):
        people = [str(client) for client in await seats.clients(work.tx, work.conversation)]
        draft = Draft(EntryKind.NOTICE, work.at, Notice("roster", {"people": people}), only_leg=leg)
        await journal.append(work.tx, work.key, work.conversation, draft)


async def _record(work: Work, person: PersonId | None) -> None:
    did = Did.CLOSED if person is None and work.change in _ENDING else _RECORDS[work.change]
    await audit.record(work.tx, did, actor=work.actor, conversation=work.conversation, subject=person)


async def _record_told(work: Work, _: PersonId | None) -> None:
    await work.tx.execute(
        "UPDATE conversation SET told_at = $2, told_by = $3 WHERE id = $1",
        work.conversation,
        work.at,
        work.actor,
    )
    await audit.record(work.tx, Did.CONFIRMED_TOLD, actor=work.actor, conversation=work.conversation)


_ENDING = (Change.REMOVED, Change.LEFT)
_HANDLERS: Mapping[Effect, Callable[[Work, PersonId | None], Awaitable[None]]] = {
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
