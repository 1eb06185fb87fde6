import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.vocabulary import ALLOWED, Member, Name, Refusal
from tests.policies.builders import person


def test_a_full_name_has_its_title_and_no_gaps() -> None:
    assert Name("Sara", "Khan", "Dr.").full == "Dr. Sara Khan"
    assert Name(" Madonna ", "").full == "Madonna"


@pytest.mark.parametrize(
    ("first", "last", "initials"),
    [
        ("Sara", "Khan", "S.K."),
        ("émile", "o'Brien", "É.O."),
        ("e\u0301mile", "Zola", "É.Z."),
        ("’t", "Hooft", "T.H."),
        ("Madonna", "", "M."),
        ("श्री", "देवी", "श.दे."),
        ("ßara", "ǆ", "S.Ǆ."),
        ("", "", "?"),
        ("—", "🙂", "?"),
    ],
)
def test_initials_are_what_a_reader_sees_first(first: str, last: str, initials: str) -> None:
    assert Name(first, last).initials == initials


def test_right_to_left_initials_keep_their_dots_and_disturb_nobody() -> None:
    assert Name("أمينة", "يوسف").initials == "\u2068أ.ي.\u2069"
    assert Name("Amina", "Yusuf").initials.isascii()


@given(st.text(max_size=30), st.text(max_size=30))
def test_initials_say_at_most_two_letters(first: str, last: str) -> None:
    letters = [c for c in Name(first, last).initials if unicodedata.category(c)[0] in "LN"]
    assert len(letters) <= 2


def test_a_title_is_no_part_of_the_initials() -> None:
    assert Name("Sara", "Khan", "Dr.").initials == "S.K."


def test_a_member_has_what_was_said_between_joining_and_leaving() -> None:
    member = Member(person("Amina Yusuf"), joined_seq=3, removed_seq=5)
    assert [seq for seq in range(8) if member.may_have(seq)] == [4, 5]
    assert not member.is_current


def test_a_refusal_is_false_and_a_yes_is_true() -> None:
    assert ALLOWED
    assert not Refusal("no", "No.")
