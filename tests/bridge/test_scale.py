"""A long conversation opens like a short one, and a long list like a short one: by their indexes."""

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from bridge import conversations, journal, participants, timeline
from bridge.database import Pool, transaction
from policies.content import Text
from policies.vocabulary import ConversationId, EntryId, Person, Role
from tests.support.people import keyring, make, pair

KEYS = keyring()
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
LONG, SHORT = 10_000, 10


async def _fill(pool: Pool, author: Person, conversation: ConversationId, count: int) -> None:
    """`count` sealed messages, written past the use cases: what is measured is reading."""
    wrapped = await pool.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", conversation)
    key = KEYS.unwrap(wrapped, str(conversation))
    ids = [EntryId(uuid4()) for _ in range(count)]
    rows = [
        (entry, conversation, n, author.id, journal.seal(key, conversation, entry, Text(f"Message {n}")), NOW)
        for n, entry in enumerate(ids, start=1)
    ]
    async with transaction(pool) as tx:
        await tx.copy_records_to_table(
            "entry", records=[(*row[:3], "message", *row[3:]) for row in rows],
            columns=["id", "conversation_id", "seq", "kind", "author_id", "sealed", "posted_at"],
        )  # fmt: skip
        await tx.execute(
            "INSERT INTO delivery (leg_id, entry_id, puppet_id, state, event_id, sent_at)"
            " SELECT l.id, e.id, (SELECT id FROM puppet LIMIT 1), 'sent', '$' || e.id, now()"
            " FROM entry e JOIN leg l ON l.conversation_id = e.conversation_id WHERE e.conversation_id = $1",
            conversation,
        )
        await tx.execute(
            "UPDATE conversation SET last_seq = $2, last_message_seq = $2, last_message_id = $3"
            " WHERE id = $1",
            conversation, count, ids[-1],
        )  # fmt: skip
    await pool.execute("ANALYZE entry")
    await pool.execute("ANALYZE delivery")


async def _fastest(work: Callable[[], Awaitable[object]], times: int = 25) -> float:
    """Seconds of the best of so many: what the machine's other work adds falls away."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - start)
    return min(taken)


@pytest.fixture
async def two_threads(pool: Pool) -> tuple[Person, ConversationId, ConversationId]:
    """One therapist's long and short conversation."""
    threads = []
    therapist, client = await pair(pool, KEYS)
    for person, count in ((client, LONG), ((await pair_with(pool)), SHORT)):
        async with transaction(pool) as tx:
            thread, _ = await participants.open_direct(
                tx, KEYS, therapist=therapist.id, client=person.id, at=NOW
            )
        await _fill(pool, therapist, thread, count)
        threads.append(thread)
    return therapist, threads[0], threads[1]


async def pair_with(pool: Pool) -> Person:
    async with transaction(pool) as tx:
        return await make(tx, KEYS, first="Adam", last="Young")


async def test_ten_thousand_messages_open_like_ten(
    pool: Pool, two_threads: tuple[Person, ConversationId, ConversationId]
) -> None:
    therapist, long, short = two_threads

    async def open_(thread: ConversationId, before: int | None = None) -> timeline.Page:
        async with transaction(pool) as tx:
            return await timeline.page(tx, KEYS, therapist.id, thread, before=before, limit=10)

    page = await open_(long)
    assert [line.seq for line in page.lines] == list(range(LONG - 9, LONG + 1))
    long_takes, short_takes = await _fastest(lambda: open_(long)), await _fastest(lambda: open_(short))
    middle_takes = await _fastest(lambda: open_(long, LONG // 2))
    assert long_takes < 2 * short_takes
    assert middle_takes < 2 * short_takes


async def test_a_page_reads_as_many_rows_as_it_shows(
    pool: Pool, two_threads: tuple[Person, ConversationId, ConversationId]
) -> None:
    _, long, _ = two_threads
    plan = await pool.fetchval(
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT e.id FROM entry e WHERE e.conversation_id = $1"
        " AND e.kind IN ('message', 'notice') AND e.seq > 0 AND e.seq < $2 ORDER BY e.seq DESC LIMIT 51",
        long, LONG // 2,
    )  # fmt: skip
    reads = [node for node in _nodes(json.loads(plan)[0]["Plan"]) if "Relation Name" in node]
    assert [node["Relation Name"] for node in reads] == ["entry"]
    assert "Index" in reads[0]["Node Type"]
    assert reads[0]["Actual Rows"] <= 51


def _nodes(plan: dict[str, object]) -> list[dict[str, object]]:
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    return [plan, *(node for child in below for node in _nodes(child))]


async def test_two_thousand_conversations_list_like_twenty(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    other, _ = await pair_of_therapists(pool)
    for person, count in ((therapist, 2000), (other, 20)):
        await _threads(pool, person.id, client.id, count)

    async def list_(person: Person) -> list[conversations.Row]:
        async with transaction(pool) as tx:
            return await conversations.list_for(tx, KEYS, person.id, limit=20)

    assert len(await list_(therapist)) == len(await list_(other)) == 20
    long_takes, short_takes = await _fastest(lambda: list_(therapist)), await _fastest(lambda: list_(other))
    assert long_takes < 2 * short_takes


async def pair_of_therapists(pool: Pool) -> tuple[Person, Person]:
    async with transaction(pool) as tx:
        return (
            await make(tx, KEYS, Role.THERAPIST, "Noor", "Aziz", email="noor@ruh.test"),
            await make(tx, KEYS, Role.THERAPIST, "Tom", "Hill", email="tom@ruh.test"),
        )


async def _threads(pool: Pool, organiser: UUID, client: UUID, count: int) -> None:
    """Community chats of two, with nothing said yet."""
    made = []
    for n in range(count):
        conversation = uuid4()
        made.append((conversation, KEYS.new_key(str(conversation))[1], NOW - timedelta(minutes=n)))
    await pool.executemany(
        "INSERT INTO conversation (id, kind, organiser_id, wrapped_key, last_message_at)"
        " VALUES ($1, 'community', $2, $3, $4)",
        [(conversation, organiser, wrapped, at) for conversation, wrapped, at in made],
    )
    await pool.executemany(
        "INSERT INTO member (id, conversation_id, person_id, last_message_at) VALUES ($1, $2, $3, $4)",
        [
            (uuid4(), conversation, person, at)
            for conversation, _, at in made
            for person in (organiser, client)
        ],
    )
    await pool.execute("ANALYZE conversation")
    await pool.execute("ANALYZE member")
