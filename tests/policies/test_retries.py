import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.retries import TABLE, Again, GiveUp, Trouble, after_failure, classify

jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
OUTAGES = [Trouble.UNREACHABLE, Trouble.RATE_LIMITED, Trouble.SERVER_ERROR, Trouble.UNAUTHORISED]


@given(st.sampled_from(OUTAGES), st.integers(min_value=1, max_value=10**6), jitters)
def test_an_outage_never_makes_a_message_be_given_up(trouble: Trouble, attempts: int, jitter: float) -> None:
    decided = after_failure(trouble, attempts, jitter=jitter)
    assert isinstance(decided, Again)
    assert 0 < decided.delay <= TABLE[trouble].ceiling


@given(st.sampled_from(OUTAGES), st.integers(min_value=1, max_value=40), jitters)
def test_waits_grow(trouble: Trouble, attempts: int, jitter: float) -> None:
    sooner, later = (after_failure(trouble, n, jitter=jitter) for n in (attempts, attempts + 1))
    assert isinstance(sooner, Again)
    assert isinstance(later, Again)
    assert sooner.delay <= later.delay


def test_a_refusal_is_tried_a_few_times_and_then_told() -> None:
    decided = [after_failure(Trouble.REFUSED, n, jitter=0.5) for n in range(1, 8)]
    assert [isinstance(one, GiveUp) for one in decided] == [False] * 5 + [True] * 2
    assert isinstance(decided[-1], GiveUp)
    assert "could not be delivered" in decided[-1].words


def test_what_cannot_be_right_is_not_tried_again() -> None:
    assert isinstance(after_failure(Trouble.INVALID, 1, jitter=0), GiveUp)


def test_the_homeserver_is_not_asked_earlier_than_it_wants() -> None:
    assert after_failure(Trouble.RATE_LIMITED, 1, jitter=0, retry_after=90) == Again(90)
    assert after_failure(Trouble.RATE_LIMITED, 1, jitter=0, retry_after=0.1) == Again(0.5)


@pytest.mark.parametrize(
    ("status", "errcode", "trouble"),
    [
        (None, None, Trouble.UNREACHABLE),
        (408, None, Trouble.UNREACHABLE),
        (502, None, Trouble.UNREACHABLE),
        (503, "M_UNKNOWN", Trouble.UNREACHABLE),
        (500, "M_UNKNOWN", Trouble.SERVER_ERROR),
        (429, "M_LIMIT_EXCEEDED", Trouble.RATE_LIMITED),
        (401, "M_UNKNOWN_TOKEN", Trouble.UNAUTHORISED),
        (403, "M_FORBIDDEN", Trouble.REFUSED),
        (404, "M_NOT_FOUND", Trouble.REFUSED),
        (413, "M_TOO_LARGE", Trouble.INVALID),
        (400, "M_BAD_JSON", Trouble.INVALID),
    ],
)
def test_answers_are_told_apart(status: int | None, errcode: str | None, trouble: Trouble) -> None:
    assert classify(status, errcode) is trouble
