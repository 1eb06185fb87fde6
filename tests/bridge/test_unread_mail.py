"""One e-mail for each stretch of unread messages, to whoever wants one and can read them (N1)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge import messages, notifications, participants, receipts, roster, unread_mail
from bridge.database import Pool, transaction
from bridge.messages import Posted
from bridge.unread_mail import Mail
from policies.content import Text
from policies.notifying import Settings
from policies.vocabulary import ConversationId, ConversationKind, Person, Role
from tests.support.people import keyring, make

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
AT_ONCE = timedelta()


@dataclass
class Thread:
    """A therapist and a client who have e-mail addresses, and their thread."""

    pool: Pool
    therapist: Person
    client: Person
    id: ConversationId

    async def say(self, author: Person, **more: Any) -> Posted:
        async with transaction(self.pool) as tx:
            return await messages.post(
                tx, KEYS, author=author.id, conversation=self.id, content=Text("…"),
                at=datetime.now(UTC), **more,
            )  # fmt: skip

    async def read(self, person: Person, seq: int = 2**40) -> None:
        async with transaction(self.pool) as tx:
            await receipts.mark_read(tx, person=person.id, conversation=self.id, seq=seq, at=NOW)

    async def claim(self, unread_for: timedelta = AT_ONCE) -> list[Mail]:
        async with transaction(self.pool) as tx:
            return await unread_mail.claim(tx, KEYS, unread_for=unread_for, domain="ruh.test")

    async def mailed(self) -> list[str]:
        """Who gets a mail now."""
        mails = await self.claim()
        for mail in mails:
            async with transaction(self.pool) as tx:
                await unread_mail.sent(tx, mail)
        return sorted(mail.address for mail in mails)

    async def do(self, sql: str, *arguments: object) -> None:
        await self.pool.execute(sql, *arguments)

    async def state(self) -> list[tuple[str, str | None]]:
        rows = await self.pool.fetch("SELECT state, error FROM unread_mail ORDER BY unread_since")
        return [(row["state"], row["error"]) for row in rows]


SARA, AMINA, ADAM = "sara@ruh.test", "amina@ruh.test", "adam@ruh.test"


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    async with transaction(pool) as tx:
        therapist = await make(tx, KEYS, Role.THERAPIST, "Sara", "Khan", email=SARA)
        client = await make(tx, KEYS, Role.CLIENT, "Amina", "Yusuf", email=AMINA)
        thread, _ = await participants.open_direct(tx, KEYS, therapist=therapist.id, client=client.id, at=NOW)
    return Thread(pool, therapist, client, thread)


async def test_the_reader_gets_one_and_the_author_none(thread: Thread) -> None:
    await thread.say(thread.therapist)
    assert await thread.mailed() == [AMINA]


async def test_it_waits_for_the_set_time(thread: Thread) -> None:
    await thread.say(thread.therapist)
    assert await thread.claim(timedelta(minutes=5)) == []
    await thread.do("UPDATE unread_mail SET unread_since = now() - interval '301 s'")
    assert len(await thread.claim(timedelta(minutes=5))) == 1


async def test_a_stretch_of_messages_gets_one_mail(thread: Thread) -> None:
    for _ in range(3):
        await thread.say(thread.client)
    assert await thread.mailed() == [SARA]
    await thread.say(thread.client)
    assert await thread.mailed() == []


async def test_after_reading_the_next_message_gets_another(thread: Thread) -> None:
    await thread.say(thread.client)
    first = await thread.claim()
    await thread.read(thread.therapist)
    await thread.say(thread.client)
    second = await thread.claim()
    assert len(first) == len(second) == 1
    assert first[0].message_id != second[0].message_id


async def test_whoever_has_read_gets_none(thread: Thread) -> None:
    await thread.say(thread.client)
    await thread.read(thread.therapist)
    assert await thread.mailed() == []
    assert await thread.state() == []


async def test_an_answer_is_as_good_as_reading(thread: Thread) -> None:
    await thread.say(thread.client)
    await thread.say(thread.therapist)
    assert await thread.mailed() == [AMINA]


async def test_an_automatic_message_leaves_unread_what_its_author_had_not_read(thread: Thread) -> None:
    await thread.say(thread.client)
    await thread.say(thread.therapist, automatic="auto_reply")
    assert await thread.mailed() == [AMINA, SARA]


async def test_what_came_after_the_part_that_was_read_counts_from_its_own_time(thread: Thread) -> None:
    first = await thread.say(thread.client)
    await thread.say(thread.client)
    await thread.read(thread.therapist, first.seq)
    assert await thread.claim() == []
    assert await thread.mailed() == [SARA]


async def test_a_message_that_was_taken_back_is_no_reason_to_write(thread: Thread) -> None:
    posted = await thread.say(thread.client)
    async with transaction(thread.pool) as tx:
        await messages.delete(
            tx, KEYS, author=thread.client.id, conversation=thread.id, entry=posted.entry_id, at=NOW
        )
    assert await thread.mailed() == []


@pytest.mark.parametrize(
    "settings", [Settings(email=False), Settings(direct=False)], ids=["no e-mails", "no one-to-one"]
)
async def test_whoever_has_switched_it_off_gets_none(thread: Thread, settings: Settings) -> None:
    async with transaction(thread.pool) as tx:
        await notifications.change(tx, thread.therapist.id, settings)
    await thread.say(thread.client)
    assert await thread.mailed() == []


async def test_a_switch_is_asked_when_the_mail_would_go(thread: Thread) -> None:
    await thread.say(thread.client)
    async with transaction(thread.pool) as tx:
        await notifications.mute(tx, actor=thread.therapist.id, conversation=thread.id, muted=True)
    assert await thread.mailed() == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE leg SET silenced = true",
        "UPDATE person SET email_sealed = NULL WHERE role = 'client'",
        "UPDATE member SET removed_at = now() FROM person p WHERE p.id = person_id AND p.role = 'client'",
    ],
    ids=["chat is off", "no address", "removed"],
)
@pytest.mark.parametrize("before", [True, False])
async def test_a_client_who_cannot_be_written_to_gets_none(thread: Thread, change: str, before: bool) -> None:
    if before:
        await thread.say(thread.therapist)
    await thread.do(change)
    if not before:
        await thread.do("UPDATE conversation SET client_id = NULL")  # nobody asks whether the chat is on
        await thread.say(thread.therapist)
    assert await thread.mailed() == []


async def test_staff_who_have_gone_get_none(thread: Thread) -> None:
    await thread.say(thread.client)
    await thread.do("UPDATE person SET status = 'archived' WHERE role = 'therapist'")
    assert await thread.mailed() == []


async def test_an_archived_client_still_does(thread: Thread) -> None:
    await thread.say(thread.therapist)
    await thread.do("UPDATE person SET status = 'archived' WHERE role = 'client'")
    assert await thread.mailed() == [AMINA]


@pytest.mark.parametrize(("hold", "gets"), [("no_device", [AMINA]), ("identity_changed", []), ("left", [])])
async def test_a_client_is_told_if_they_can_read_it_once_signed_in(
    thread: Thread, hold: str, gets: list[str]
) -> None:
    await thread.do("UPDATE leg SET hold = $1", hold)
    await thread.say(thread.therapist)
    assert await thread.mailed() == gets
    await thread.do("UPDATE leg SET hold = NULL")
    assert await thread.mailed() == ([] if gets else [AMINA])


async def test_in_a_group_everybody_is_looked_at_for_themselves(thread: Thread) -> None:
    async with transaction(thread.pool) as tx:
        adam = await make(tx, KEYS, Role.CLIENT, "Adam", "Young", email=ADAM)
        thread.id = await roster.start(
            tx, KEYS, actor=thread.therapist.id, kind=ConversationKind.COMMUNITY,
            others=[thread.client.id, adam.id], told=True, at=NOW,
        )  # fmt: skip
    await thread.say(thread.client)
    await thread.read(adam)
    assert await thread.mailed() == [SARA]
    await thread.say(thread.client)
    assert await thread.mailed() == [ADAM]


async def test_two_portals_never_take_the_same_mail(thread: Thread) -> None:
    await thread.say(thread.therapist)
    async with transaction(thread.pool) as one, transaction(thread.pool) as other:
        found = [
            await unread_mail.claim(tx, KEYS, unread_for=AT_ONCE, domain="ruh.test") for tx in (one, other)
        ]
    assert [len(mails) for mails in found] == [1, 0]
    assert await thread.claim() == []


async def test_whoever_died_over_a_mail_has_it_sent_again_as_the_same_mail(thread: Thread) -> None:
    await thread.say(thread.therapist)
    (first,) = await thread.claim()
    await thread.do("UPDATE unread_mail SET next_attempt_at = now()")  # the lease is over
    (second,) = await thread.claim()
    assert (second.message_id, second.attempts) == (first.message_id, 2)


async def test_a_mail_that_is_postponed_often_has_failed(thread: Thread) -> None:
    await thread.say(thread.therapist)
    tried = 0
    while (await thread.state()) != [("failed", "smtp_451")]:
        (mail,) = await thread.claim()
        async with transaction(thread.pool) as tx:
            await unread_mail.postponed(tx, mail, "smtp_451")
        assert await thread.claim() == []  # not at once
        await thread.do("UPDATE unread_mail SET next_attempt_at = now()")
        tried += 1
    assert tried == 10


async def test_what_becomes_of_an_old_mail_is_not_told_of_a_new_stretch(thread: Thread) -> None:
    await thread.say(thread.client)
    (old,) = await thread.claim()
    await thread.read(thread.therapist)
    await thread.say(thread.client)
    async with transaction(thread.pool) as tx:
        await unread_mail.failed(tx, old, "smtp_550")
    assert await thread.state() == [("waiting", None)]


async def test_what_is_older_than_a_day_stays_without(thread: Thread) -> None:
    await thread.say(thread.therapist)
    await thread.do("UPDATE unread_mail SET unread_since = now() - interval '25 hours'")
    assert await thread.mailed() == []
    assert await thread.state() == [("failed", "too_old")]


async def test_edits_reactions_and_notices_begin_no_stretch(thread: Thread) -> None:
    posted = await thread.say(thread.therapist)
    await thread.read(thread.client)
    async with transaction(thread.pool) as tx:
        await messages.edit(
            tx, KEYS, author=thread.therapist.id, conversation=thread.id, entry=posted.entry_id,
            content=Text("other words"), at=NOW,
        )  # fmt: skip
        await roster.close(tx, KEYS, actor=thread.therapist.id, conversation=thread.id, at=NOW)
    assert await thread.mailed() == []
