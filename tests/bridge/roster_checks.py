"""Holds the tables against the model of a roster, and against the roster itself."""

from collections.abc import Sequence
from uuid import UUID

from bridge import timeline
from bridge.database import Pool
from policies.content import Text
from tests.bridge.roster_driver import Both
from tests.bridge.roster_model import Conversation, Entry, shown, words_in_force


async def agree(both: Both, conversations: Sequence[Conversation] | None = None) -> None:
    for conversation in both.model.conversations if conversations is None else conversations:
        await _members_agree(both, conversation)
        await _entries_agree(both, conversation)
        await legs_agree_with_members(both.pool, conversation.id)
        await _legs_agree(both, conversation)


async def _members_agree(both: Both, c: Conversation) -> None:
    rows = await both.pool.fetch(
        "SELECT person_id, joined_seq, removed_seq, ended, archived_at IS NOT NULL AS archived FROM member"
        " WHERE conversation_id = $1",
        c.id,
    )
    expected = [(both.people[s.person].id, s.since, s.until, s.ended, s.archived) for s in c.stints]
    assert sorted(map(tuple, rows), key=str) == sorted(expected, key=str)
    row = await both.pool.fetchrow(
        "SELECT closed_at IS NOT NULL AS closed, last_seq FROM conversation WHERE id = $1", c.id
    )
    assert tuple(row) == (c.closed, len(c.entries))


async def _entries_agree(both: Both, c: Conversation) -> None:
    rows = await both.pool.fetch(
        "SELECT seq, kind, author_id, deleted_at IS NOT NULL AS deleted FROM entry WHERE conversation_id = $1"
        " ORDER BY seq",
        c.id,
    )
    authors = [_author(both, entry) for entry in c.entries]
    expected = [(e.seq, e.kind, a, e.deleted) for e, a in zip(c.entries, authors, strict=True)]
    assert [tuple(row) for row in rows] == expected


def _author(both: Both, entry: Entry) -> UUID | None:
    if entry.kind == "restoration":
        return both.care.id
    return None if entry.author is None else both.people[entry.author].id


async def _legs_agree(both: Both, c: Conversation) -> None:
    """Silence, ends, and what each client's room holds: the entries that the model gives this stint, less
    what was taken back before it went out."""
    rows = await both.pool.fetch(
        "SELECT l.id, m.person_id, m.joined_seq, l.state, l.silenced, r.keeps_copy FROM leg l"
        " JOIN member m ON m.id = l.member_id LEFT JOIN revocation r ON r.leg_id = l.id"
        " WHERE l.conversation_id = $1",
        c.id,
    )
    legs_of = {(row["person_id"], row["joined_seq"], row["state"] == "ended"): row for row in rows}
    stints = [stint for stint in c.stints if both.model.is_client(stint.person)]
    assert len(rows) == len(stints)
    for stint in stints:
        leg = legs_of[both.people[stint.person].id, stint.since, stint.ended is not None]
        assert leg["keeps_copy"] == (None if stint.ended is None else stint.ended == "left")
        if stint.ended is None:
            assert leg["silenced"] == both.model.silenced(c, stint.person)
        went = await both.pool.fetch(
            "SELECT e.seq, d.state FROM delivery d JOIN entry e ON e.id = d.entry_id WHERE d.leg_id = $1",
            leg["id"],
        )
        got = {row["seq"] for row in went if row["state"] != "cancelled"}
        may = {entry.seq: entry for entry in stint.entries}
        assert got <= may.keys()
        if stint.ended is None:
            missing = [may[seq] for seq in may.keys() - got]
            assert [e for e in missing if not (e.target or e).ever_deleted] == []
            mine = {seq for seq, entry in may.items() if entry.author == stint.person}
            assert mine == {row["seq"] for row in went if row["state"] == "origin"}


async def legs_agree_with_members(pool: Pool, conversation: UUID) -> None:
    """The roster says who has a leg, whether it is frozen, who sits in it; nothing waits in an ended one."""
    closed = await pool.fetchval("SELECT closed_at IS NOT NULL FROM conversation WHERE id = $1", conversation)
    members = await pool.fetch(
        "SELECT m.person_id, p.role = 'client' AS is_client, l.id AS leg, l.state,"
        " l.frozen_at IS NOT NULL AS frozen FROM member m JOIN person p ON p.id = m.person_id"
        " LEFT JOIN leg l ON l.member_id = m.id"
        " WHERE m.conversation_id = $1 AND m.removed_at IS NULL",
        conversation,
    )
    present = {row["person_id"] for row in members}
    for row in members:
        assert (row["leg"] is not None) == row["is_client"]
        if row["leg"] is None:
            continue
        assert row["state"] != "ended"
        assert row["frozen"] == closed
        seats = await pool.fetch(
            "SELECT o.person_id, o.leaving, p.kind, p.conversation_id FROM occupant o"
            " JOIN puppet p ON p.id = o.puppet_id WHERE o.leg_id = $1",
            row["leg"],
        )
        sitting = [seat["person_id"] for seat in seats if not seat["leaving"]]
        assert len(sitting) == len(set(sitting))
        assert set(sitting) == {None} | present - {row["person_id"]}
        clients = {member["person_id"] for member in members if member["is_client"]}
        for seat in seats:
            if seat["person_id"] in clients:
                assert (seat["kind"], seat["conversation_id"]) == ("mask", conversation)
    stray = await pool.fetchval(
        "SELECT count(*) FROM leg l JOIN member m ON m.id = l.member_id WHERE l.conversation_id = $1"
        " AND m.removed_at IS NOT NULL AND (l.state <> 'ended' OR EXISTS"
        " (SELECT FROM delivery d WHERE d.leg_id = l.id AND d.state IN ('pending', 'prepared')))",
        conversation,
    )
    assert stray == 0


async def everybody_reads_what_they_may(both: Both) -> None:
    """Through the same door as the portal's pages and the devices."""
    for c in both.model.conversations:
        for number, person in enumerate(both.people):
            stint = c.of(number)
            done, page = await both.do(timeline.page, both.keys, person.id, c.id, limit=1000)
            assert done == (stint is not None)
            if stint is None:
                continue
            lines = [(line.seq, line.content.body) for line in page.lines if isinstance(line.content, Text)]
            expected = [e for e in c.entries if e.kind == "message" and e.seq > stint.since and not e.deleted]
            assert lines == [(entry.seq, words_in_force(c.entries, entry)) for entry in expected]
            if both.model.is_client(number):
                in_app = await _shown(both, c, number)
                assert in_app == shown(stint.entries)


async def _shown(both: Both, c: Conversation, person: int) -> list[str]:
    """What a client's app makes of what went into their room, once all has gone."""
    rows = await both.pool.fetch(
        "SELECT e.id, e.kind, e.target_id FROM delivery d JOIN entry e ON e.id = d.entry_id"
        " JOIN leg l ON l.id = d.leg_id JOIN member m ON m.id = l.member_id WHERE m.conversation_id = $1"
        " AND m.person_id = $2 AND m.removed_at IS NULL AND d.state IN ('pending', 'sent', 'origin')"
        " ORDER BY e.seq",
        c.id, both.people[person].id,
    )  # fmt: skip
    words = {entry.id: entry.words for entry in c.entries}
    on_screen: dict[UUID, str] = {}
    for row in rows:
        match row["kind"]:
            case "message":
                on_screen[row["id"]] = words[row["id"]]
            case "edit" if row["target_id"] in on_screen:
                on_screen[row["target_id"]] = words[row["id"]]
            case "restoration":
                on_screen[row["target_id"]] = words[row["id"]]
            case "deletion":
                on_screen.pop(row["target_id"], None)
    return list(on_screen.values())
