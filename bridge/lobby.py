"""What the assistant answers a client: in a room that they made for the two, and to commands (P6, A7).

Such a room, a lobby, is a conversation with one member: its room is a leg like any other, and an answer is an
entry that is carried once, over crashes. What the client says there is not kept, only that they said it.
"""

from collections.abc import Sequence
from datetime import datetime

from bridge import chat_settings, directory, journal, participants, roster
from bridge.database import Transaction
from bridge.journal import Draft, Origin
from bridge.sealing import Keyring
from bridge.standing import standing
from policies import commands, contact, naming
from policies.chat_settings import Switch
from policies.commands import Command
from policies.contact import Contact, Way
from policies.content import Notice
from policies.vocabulary import ConversationId, ConversationKind, EntryKind, Person, PersonId


async def opened(tx: Transaction, keyring: Keyring, *, user_id: str, room_id: str, at: datetime) -> bool:
    """A client asked the assistant into a room of theirs; the one before is given up. False: the room is
    known, or the user is no client of ours."""
    person = await tx.fetchval(
        "SELECT person_id FROM account WHERE user_id = $1 AND state <> 'deactivated'", user_id
    )
    if person is None or not await _is_new(tx, room_id):
        return False
    for row in await tx.fetch(
        "SELECT conversation_id FROM lobby WHERE person_id = $1 AND ended_at IS NULL", person
    ):
        await ended(tx, keyring, ConversationId(row["conversation_id"]), at)
    conversation = await roster.start(
        tx, keyring, actor=person, kind=ConversationKind.LOBBY, others=[], at=at
    )
    await tx.execute("UPDATE leg SET room_id = $2 WHERE conversation_id = $1", conversation, room_id)
    await tx.execute("INSERT INTO lobby (conversation_id, person_id) VALUES ($1, $2)", conversation, person)
    return True


async def _is_new(tx: Transaction, room_id: str) -> bool:
    """No leg has it, or one that we have left altogether: then it is free to be a leg's again."""
    await tx.execute(
        "UPDATE leg l SET room_id = NULL FROM revocation r WHERE r.leg_id = l.id AND r.step = 'done'"
        " AND l.room_id = $1 AND l.state = 'ended' AND EXISTS"
        " (SELECT FROM lobby WHERE conversation_id = l.conversation_id)",
        room_id,
    )
    return await tx.fetchval("SELECT true FROM leg WHERE room_id = $1", room_id) is None


async def ended(tx: Transaction, keyring: Keyring, conversation: ConversationId, at: datetime) -> None:
    """The client is out of it, or made another; the assistant leaves (`appservice.revoke`)."""
    await roster.keep(tx, keyring, conversation=conversation, people=[], at=at)
    await tx.execute(
        "UPDATE lobby SET ended_at = $2, asked = NULL WHERE conversation_id = $1", conversation, at
    )


async def greet(
    tx: Transaction, keyring: Keyring, *, person: PersonId, conversation: ConversationId, practice: str,
    at: datetime,
) -> None:  # fmt: skip
    """The first words in a lobby, as if "!start" had been said; unless the client was quicker."""
    if not await tx.fetchval("SELECT last_seq FROM conversation WHERE id = $1", conversation):
        words = await _start(tx, keyring, person, conversation, practice, at)
        await _answer(tx, keyring, person, conversation, words, at)


async def hear(
    tx: Transaction, keyring: Keyring, *, person: PersonId, conversation: ConversationId, said: str,
    origin: Origin, practice: str, at: datetime,
) -> None:  # fmt: skip
    """Whatever the client says in their lobby is answered; `said`: "" for what has no words."""
    await _note(tx, keyring, person, conversation, origin, at)
    asked = await tx.fetchval("SELECT asked FROM lobby WHERE conversation_id = $1", conversation) or []
    command, choice = commands.parse(said), commands.chosen(said, len(asked))
    if command is Command.START:
        words = await _start(tx, keyring, person, conversation, practice, at)
    elif command is Command.HELP:
        words = commands.help_alone(practice)
    elif choice is not None:
        words = await _choose(tx, keyring, person, conversation, PersonId(asked[choice]), practice, at)
    else:
        words = commands.hint()
    await _answer(tx, keyring, person, conversation, words, at)


async def command(
    tx: Transaction, keyring: Keyring, *, person: PersonId, conversation: ConversationId, command: Command,
    origin: Origin, practice: str, at: datetime,
) -> None:  # fmt: skip
    """A command in any other conversation: nobody but its client reads it, and nobody but them the answer."""
    await _note(tx, keyring, person, conversation, origin, at)
    if command is Command.HELP:
        members = await roster.members(tx, keyring, conversation)
        names = naming.shown_names(members, naming.Audience.CLIENT)
        others = [m.person for m in members if m.is_current and m.person.id != person]
        others.sort(key=lambda other: (not other.role.is_staff, names[other.id]))
        words = commands.help_among([names[other.id] for other in others], practice)
    else:
        words = await _start_elsewhere(tx, keyring, person, conversation, practice, at)
    await _answer(tx, keyring, person, conversation, words, at)


async def _note(
    tx: Transaction, keyring: Keyring, person: PersonId, conversation: ConversationId, origin: Origin,
    at: datetime,
) -> None:  # fmt: skip
    """That something was said, by its event, so that it is answered once; not a word of it."""
    key = (await standing(tx, person, conversation)).key(keyring)
    note = Draft(EntryKind.NOTICE, at, Notice("command"), author_id=person, origin=origin, to_clients=False)
    await journal.append(tx, key, conversation, note)


async def _answer(
    tx: Transaction,
    keyring: Keyring,
    person: PersonId,
    conversation: ConversationId,
    words: str,
    at: datetime,
) -> None:
    where = await standing(tx, person, conversation)
    leg = await tx.fetchval("SELECT id FROM leg WHERE member_id = $1", where.member_id)
    answer = Draft(EntryKind.NOTICE, at, Notice("answered", {"words": words}), only_leg=leg)
    await journal.append(tx, where.key(keyring), conversation, answer)


async def _start(
    tx: Transaction, keyring: Keyring, person: PersonId, conversation: ConversationId, practice: str,
    at: datetime,
) -> str:  # fmt: skip
    """To their thread where there is one therapist; the question whom where there are several."""
    therapists, refused = await _therapists(tx, keyring, person, practice)
    several = [t.id for t in therapists] if refused is None and len(therapists) > 1 else None
    await tx.execute("UPDATE lobby SET asked = $2 WHERE conversation_id = $1", conversation, several)
    if refused is not None:
        return refused
    if several:
        return contact.whom([therapist.name for therapist in therapists])
    return await _bring(tx, keyring, person, therapists[0], at)


async def _start_elsewhere(
    tx: Transaction, keyring: Keyring, person: PersonId, conversation: ConversationId, practice: str,
    at: datetime,
) -> str:  # fmt: skip
    therapists, refused = await _therapists(tx, keyring, person, practice)
    if refused is not None:
        return refused
    row = await tx.fetchrow("SELECT kind, organiser_id FROM conversation WHERE id = $1", conversation)
    assert row is not None
    if row["kind"] in (ConversationKind.DIRECT, ConversationKind.BLAST):
        organiser = await directory.get(tx, keyring, PersonId(row["organiser_id"]))
        return contact.brought(organiser.name, Way.HERE)
    if len(therapists) > 1:
        return contact.where_to_ask([therapist.name for therapist in therapists])
    return await _bring(tx, keyring, person, therapists[0], at)


async def _choose(
    tx: Transaction, keyring: Keyring, person: PersonId, conversation: ConversationId, choice: PersonId,
    practice: str, at: datetime,
) -> str:  # fmt: skip
    """The one they named; what may be done is asked anew, for the question may be old."""
    therapists, refused = await _therapists(tx, keyring, person, practice)
    named = next((therapist for therapist in therapists if therapist.id == choice), None)
    if refused is not None or named is None:
        return await _start(tx, keyring, person, conversation, practice, at)
    await tx.execute("UPDATE lobby SET asked = NULL WHERE conversation_id = $1", conversation)
    return await _bring(tx, keyring, person, named, at)


# A thread of their own with somebody of the team, as long as they are in it; without one, a therapist who was
# booked or has written to them in another conversation.
_BEGUN = """
SELECT p.id FROM person p WHERE p.role IN ('therapist', 'team_member', 'client_care') AND p.status = 'active'
    AND CASE WHEN EXISTS (SELECT FROM conversation c
            WHERE c.kind = 'direct' AND c.organiser_id = p.id AND c.client_id = $1)
        THEN EXISTS (SELECT FROM conversation c JOIN member m ON m.conversation_id = c.id
            WHERE c.kind = 'direct' AND c.organiser_id = p.id AND m.person_id = $1 AND m.removed_at IS NULL)
        ELSE p.role = 'therapist' AND (
            EXISTS (SELECT FROM booking b WHERE b.therapist_id = p.id AND b.client_id = $1)
            OR EXISTS (SELECT FROM conversation c JOIN member m ON m.conversation_id = c.id
                WHERE c.organiser_id = p.id AND m.person_id = $1 AND m.removed_at IS NULL)) END
"""


async def _therapists(
    tx: Transaction, keyring: Keyring, person: PersonId, practice: str
) -> tuple[Sequence[Person], str | None]:
    """Whom this client may write to alone, by name; or the words why nobody now."""
    rows = await tx.fetch(_BEGUN, person)
    found = await directory.get_many(tx, keyring, [PersonId(row["id"]) for row in rows])
    direct = (await chat_settings.in_force(tx, keyring, [person], Switch.DIRECT_MESSAGING))[person]
    refusal = contact.may_open(Contact(opened_by_staff=bool(found)), direct, practice)
    therapists = sorted(found.values(), key=lambda t: (t.name.full.casefold(), t.id))
    return therapists, None if refusal is None else refusal.words


async def _bring(tx: Transaction, keyring: Keyring, person: PersonId, therapist: Person, at: datetime) -> str:
    conversation, _ = await participants.open_direct(
        tx, keyring, therapist=therapist.id, client=person, at=at, automatic=True
    )
    if await tx.fetchval("SELECT closed_at IS NOT NULL FROM conversation WHERE id = $1", conversation):
        return contact.brought(therapist.name, Way.CLOSED)
    if await participants.come_back(tx, conversation, person):
        return contact.brought(therapist.name, Way.BACK)
    there = await tx.fetchval(
        "SELECT l.state = 'open' FROM leg l WHERE l.conversation_id = $1 AND l.state <> 'ended'", conversation
    )
    return contact.brought(therapist.name, Way.FOUND if there else Way.MADE)
