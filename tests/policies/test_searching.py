"""A search finds what somebody means, on whatever keyboard they have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.searching import folded_words, matches


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("José-María O’Neill", ("jose", "maria", "oneill")),
        ("ŁUKASZ Đặng", ("lukasz", "dang")),
        ("Straße, Æsir", ("strasse", "aesir")),
        ("  ", ()),
        ("محمد علي", ("محمد", "علي")),
    ],
)
def test_words_are_told_without_case_and_accents(text: str, words: tuple[str, ...]) -> None:
    assert folded_words(text) == words


@given(st.text(max_size=40))
def test_any_text_finds_itself_and_folding_twice_is_folding_once(text: str) -> None:
    words = folded_words(text)
    assert matches(words, words)
    assert folded_words(" ".join(words)) == words


def test_every_wanted_word_has_to_begin_one() -> None:
    words = folded_words("Amina Yusuf")
    assert matches(folded_words("yus am"), words)
    assert not matches(folded_words("mina"), words)
    assert not matches(folded_words("amina x"), words)
