"""One e-mail for each stretch of messages that somebody leaves unread (N1).

A stretch begins with the message that `journal.append` finds its reader up to date before, and is over once
their mark reaches it. A mail is claimed before it is sent and has the same Message-ID in every attempt: after
a crash in between it goes out again, and the mailbox can tell that it is the same one.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from bridge import directory, notifications
from bridge.database import Transaction
from bridge.sealing import Keyring
from policies import notifying
from policies.vocabulary import ConversationId, ConversationKind, PersonId, PersonStatus, Role

LEASE = timedelta(minutes=5)
"""Whoever claimed a mail and says nothing for so long has died over it."""
_UNREACHABLE = ("identity_changed", "left")
"""While a client's leg is held like this they could not read what they were told of."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A claimed one. `attempts` counts this one."""

    person_id: PersonId
    conversation_id: ConversationId
    role: Role
    address: str
    message_id: str
    attempts: int


_CLAIM = f"""
WITH due AS (
    SELECT person_id, conversation_id FROM unread_mail
    WHERE state IN ('waiting', 'sending') AND next_attempt_at <= now()
        AND unread_since <= now() - $1::interval
    ORDER BY unread_since LIMIT $2 FOR UPDATE SKIP LOCKED
)
SELECT {directory.COLUMNS}, {notifications.COLUMNS}, c.kind, u.conversation_id, u.since_seq, u.attempts,
    u.message_id, u.unread_since < now() - $3::interval AS too_old, m.read_seq, m.muted,
    l.hold, l.silenced, n.seq AS next_seq, n.posted_at AS next_at
FROM due JOIN unread_mail u USING (person_id, conversation_id)
JOIN person p ON p.id = u.person_id
JOIN conversation c ON c.id = u.conversation_id
LEFT JOIN member m ON m.conversation_id = c.id AND m.person_id = p.id AND m.removed_at IS NULL
LEFT JOIN leg l ON l.member_id = m.id
LEFT JOIN notification_setting s ON s.person_id = p.id
LEFT JOIN LATERAL (
    SELECT e.seq, e.posted_at FROM entry e WHERE e.conversation_id = c.id AND e.kind = 'message'
        AND e.seq > m.read_seq AND e.deleted_at IS NULL AND e.author_id IS DISTINCT FROM p.id
    ORDER BY e.seq LIMIT 1
) n ON true
"""


async def claim(
    tx: Transaction, keyring: Keyring, *, unread_for: timedelta, domain: str, limit: int = 10
) -> list[Mail]:
    """Mails that are due, for `LEASE`. Whoever has read, left or doesn't want any more drops out here."""
    found = []
    for row in await tx.fetch(_CLAIM, unread_for, limit, notifying.TOO_OLD):
        if not _is_wanted(row):
            await _drop(tx, row)
        elif row["hold"] in _UNREACHABLE:
            await _begin(tx, row, row["since_seq"], "now()")
        elif row["read_seq"] >= row["since_seq"]:
            # They were here, and something came after: that has been unread since it came.
            await _begin(tx, row, row["next_seq"], "greatest(unread_since, $4)", row["next_at"])
        elif row["too_old"]:
            await _set(tx, row["id"], row["conversation_id"], "state = 'failed', error = 'too_old'")
        else:
            found.append(await _take(tx, keyring, row, domain))
    return found


def _is_wanted(row: Any) -> bool:
    role = Role(row["role"])
    if row["read_seq"] is None or row["next_seq"] is None or row["email_sealed"] is None or row["silenced"]:
        return False
    if role.is_staff and row["status"] != PersonStatus.ACTIVE:
        return False
    kind, settings = ConversationKind(row["kind"]), notifications.of_row(row)
    return notifying.wanted(role, kind, settings, muted=row["muted"]).email


async def _take(tx: Transaction, keyring: Keyring, row: Any, domain: str) -> Mail:
    message_id = row["message_id"] or f"<{uuid4().hex}@{domain}>"
    await _set(
        tx, row["id"], row["conversation_id"],
        "state = 'sending', attempts = attempts + 1, message_id = $3, next_attempt_at = now() + $4::interval",
        message_id, LEASE,
    )  # fmt: skip
    details = directory.to_details(keyring, row)
    assert details.email is not None
    return Mail(
        PersonId(row["id"]), ConversationId(row["conversation_id"]), Role(row["role"]), details.email,
        message_id, row["attempts"] + 1,
    )  # fmt: skip


async def _drop(tx: Transaction, row: Any) -> None:
    await tx.execute(
        "DELETE FROM unread_mail WHERE person_id = $1 AND conversation_id = $2",
        row["id"], row["conversation_id"],
    )  # fmt: skip


async def _begin(tx: Transaction, row: Any, seq: int, since: str, *arguments: object) -> None:
    """The stretch counts from here."""
    await _set(
        tx, row["id"], row["conversation_id"],
        f"since_seq = $3, unread_since = {since}, state = 'waiting', attempts = 0, message_id = NULL,"
        " next_attempt_at = now()",
        seq, *arguments,
    )  # fmt: skip


async def sent(tx: Transaction, mail: Mail) -> None:
    await _finish(tx, mail, "state = 'sent', error = NULL")


async def failed(tx: Transaction, mail: Mail, error: str) -> None:
    """It will not go out; the next stretch has its own."""
    await _finish(tx, mail, "state = 'failed', error = $4", error)


async def postponed(tx: Transaction, mail: Mail, error: str) -> bool:
    """Not now: again after a while. False: it was tried often enough, and has failed.

    One mail a transaction: whoever appends takes the rows of one conversation in another order.
    """
    pause = notifying.again_in(mail.attempts)
    if pause is None:
        await failed(tx, mail, error)
        return False
    change = "state = 'waiting', error = $4, next_attempt_at = now() + $5::interval"
    await _finish(tx, mail, change, error, pause)
    return True


async def _finish(tx: Transaction, mail: Mail, change: str, *arguments: object) -> None:
    """Nothing where another stretch has begun meanwhile."""
    await _set(
        tx, mail.person_id, mail.conversation_id, change, mail.message_id, *arguments,
        only="state = 'sending' AND message_id = $3",
    )  # fmt: skip


async def _set(
    tx: Transaction, person: object, conversation: object, change: str, *arguments: object, only: str = "true"
) -> None:
    await tx.execute(
        f"UPDATE unread_mail SET {change} WHERE person_id = $1 AND conversation_id = $2 AND {only}",
        person, conversation, *arguments,
    )  # fmt: skip
