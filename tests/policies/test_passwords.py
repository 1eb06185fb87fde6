"""Passwords: what is refused, and in which words the rest is weighed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.passwords import MAX_BYTES, MIN_LENGTH, Strength, check, normalised, strength
from policies.vocabulary import Refusal


@pytest.mark.parametrize(
    ("password", "code", "said"),
    [
        ("", "too_short", "10 more characters"),
        ("ninechars", "too_short", "one more character"),
        ("x" * 65, "too_long", "up to 64"),
        ("ü" * 40, "too_long", "up to 64"),
        ("good words\x00here", "unusable", "typed everywhere"),
        ("1234567890", "guessed", "That password is among the first that anybody would try"),
        ("aaaaaaaaaaaa", "guessed", "first"),
        ("zyxwvutsrq", "guessed", "first"),
        ("Password12", "guessed", "first"),
        ("P@ssw0rd12", "guessed", "first"),
        ("abcabcabcabc", "guessed", "first"),
        ("therapist2024", "guessed", "first"),
    ],
)
def test_a_password_that_cannot_be_is_refused_in_words(password: str, code: str, said: str) -> None:
    refused = check(password)
    assert isinstance(refused, Refusal)
    assert refused.code == code
    assert said in refused.words


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("8273645192", Strength.WEAK),
        ("Password123!", Strength.WEAK),
        ("correct horse battery staple", Strength.FAIR),
        ("x7#kQ9!mVz", Strength.FAIR),
        ("blue teapot sings", Strength.STRONG),
        ("грустный кот поёт", Strength.STRONG),
        ("日本語のパスワード長い", Strength.FAIR),
    ],
)
def test_strength_is_said_and_the_password_taken(password: str, expected: Strength) -> None:
    assert strength(password) is expected
    assert check(password) is None


@given(st.text(max_size=120))
def test_every_password_is_either_taken_or_refused_for_a_reason(password: str) -> None:
    refused = check(password)
    if refused is None:
        assert len(normalised(password)) >= MIN_LENGTH
        assert len(normalised(password).encode()) <= MAX_BYTES
    else:
        assert refused.words


def test_the_same_password_from_two_keyboards_is_one() -> None:
    assert normalised("café au lait noir") == normalised("cafe\u0301 au lait noir")
