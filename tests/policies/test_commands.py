import pytest

from policies.commands import Command, chosen, help_alone, help_among, hint, parse
from policies.contact import Way, brought, where_to_ask
from policies.content import Notice
from policies.notices import for_client, for_staff
from policies.vocabulary import Name

SARA = Name("Sara", "Khan", "Dr.")


@pytest.mark.parametrize("text", ["!start", " !START\n", "!Start"])
def test_a_command_is_known_however_it_is_typed(text: str) -> None:
    assert parse(text) is Command.START


@pytest.mark.parametrize(
    "text", ["", "start", "! start", "!", "!help me, please", "“!help”", "!stop", "!start!"]
)
def test_everything_else_is_just_a_message(text: str) -> None:
    assert parse(text) is None


def test_a_choice_is_the_number_of_something_offered() -> None:
    assert [chosen(text, 3) for text in ("1", " 2. ", "3)", "٢")] == [0, 1, 2, 1]
    assert [chosen(text, 3) for text in ("0", "4", "-1", "two", "", "1 2", "9" * 99)] == [None] * 7


def test_every_answer_says_where_to_turn_when_it_is_urgent() -> None:
    for words in (help_alone("Ruh"), help_among(["Dr. Sara Khan", "A.Y."], "Ruh"), hint()):
        assert "emergency" in words
    assert "read by Dr. Sara Khan and A.Y." in help_among(["Dr. Sara Khan", "A.Y."], "Ruh")


@pytest.mark.parametrize("way", Way)
def test_whoever_is_brought_to_their_thread_is_told_with_whom(way: Way) -> None:
    words = brought(SARA, way)
    assert "Dr. Sara Khan" in words
    assert "{" not in words


def test_a_name_with_braces_stays_a_name() -> None:
    assert "{0}" in brought(Name("{0}", "Khan"), Way.FOUND)


def test_several_are_named_where_a_number_would_reach_the_others() -> None:
    assert "– Dr. Sara Khan\n– Tom Reed" in where_to_ask([SARA, Name("Tom", "Reed")])


def test_a_command_and_its_answer_are_nothing_to_the_team() -> None:
    answer = Notice("answered", {"words": "Hello"})
    assert (for_client(answer), for_staff(answer, str)) == ("Hello", None)
    assert (for_client(Notice("command")), for_staff(Notice("command"), str)) == (None, None)
