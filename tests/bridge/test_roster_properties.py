"""Rosters under random sequences of all that changes them: after each step members, entries, legs, seats and
deliveries are what the model says, and a refusal changes nothing (C7, C10–C15, M7, P5)."""

import asyncio
import contextlib
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from bridge.database import Pool
from tests.bridge.roster_checks import agree, everybody_reads_what_they_may, legs_agree_with_members
from tests.bridge.roster_driver import PEOPLE, STAFF_COUNT, Both, change, close, fitting, sequences
from tests.bridge.roster_model import COMMUNITY
from tests.support.people import keyring

KEYS = keyring()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequence=sequences)
async def test_whatever_is_done_in_whatever_order_the_rows_are_what_the_model_says(
    pool: Pool, sequence: list[tuple[Any, ...]]
) -> None:
    both = await Both.fresh(pool, KEYS)
    for op in sequence:
        note(str(op))
        await both.step(op)
        await agree(both, both.touched)
    for conversation in both.model.conversations:
        await both.carry(conversation)
    await agree(both)
    await everybody_reads_what_they_may(both)


latest, organiser = st.just(0), st.none()
moving = st.one_of(
    st.tuples(st.just("leave"), latest, fitting),
    st.tuples(st.just("remove"), latest, organiser, fitting),
    st.tuples(st.just("add"), latest, organiser, fitting),
)
posting = st.one_of(
    st.tuples(st.just("post"), latest, organiser), st.tuples(st.just("post"), latest, fitting)
)
crowd = st.one_of(change.filter(lambda op: op[0] not in ("set", "archive", "restore")), close)
crowds = st.tuples(moving, posting, posting, st.one_of(moving, crowd)).flatmap(st.permutations)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(crowd, max_size=3), at_once=crowds)
async def test_what_is_done_at_the_same_time_leaves_no_leg_that_the_roster_does_not_say(
    pool: Pool, before: list[tuple[Any, ...]], at_once: list[tuple[Any, ...]]
) -> None:
    """No model here: the database says which of them comes first. What its roster says then must hold."""
    both = await Both.fresh(pool, KEYS)
    await both.step(("start", COMMUNITY, 0, [1, *range(STAFF_COUNT, PEOPLE - 1)]))
    for op in before:
        await both.step(op)
    conversation = both.model.conversations[-1].id

    async def spoiling(op: tuple[Any, ...]) -> None:
        with contextlib.suppress(AssertionError):  # the model's prediction, which the others spoil
            await both.step(op)

    await asyncio.gather(*(spoiling(op) for op in at_once))
    await legs_agree_with_members(both.pool, conversation)
    wrong = await both.pool.fetch(
        "SELECT e.seq, m.joined_seq, m.removed_seq, d.state FROM entry e"
        " JOIN member m USING (conversation_id) JOIN leg l ON l.member_id = m.id LEFT JOIN delivery d"
        " ON d.leg_id = l.id AND d.entry_id = e.id"
        " WHERE e.conversation_id = $1 AND (d.id IS NOT NULL) <>"
        " (e.seq > m.joined_seq AND e.seq <= coalesce(m.removed_seq, e.seq))"
        # Who is added at this very moment has no room yet to have said it in; their own words come from one.
        " AND NOT (d.id IS NULL AND e.author_id = m.person_id)",
        conversation,
    )
    assert [tuple(row) for row in wrong] == [], "each has what was said while they were in it"
