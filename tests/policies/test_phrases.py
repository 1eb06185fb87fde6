import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.phrases import check_phrase, expand, unknown_variables, values_for
from policies.vocabulary import Name

AMINA, SARA = Name("Amina", "Yusuf"), Name("Sara", "Khan", "Dr.")
VALUES = values_for(client=AMINA, therapist=SARA, practice="Ruh")
NOBODY = values_for(client=Name("", ""), therapist=None, practice="Ruh")


@pytest.mark.parametrize(
    ("text", "filled", "without"),
    [
        ("Hello {client.first_name|there}!", "Hello Amina!", "Hello there!"),
        ("Hello {client.first_name}, welcome.", "Hello Amina, welcome.", "Hello, welcome."),
        ("{ client.full_name | you }", "Amina Yusuf", "you"),
        ("From {therapist.name|us} at {practice.name}", "From Dr. Sara Khan at Ruh", "From us at Ruh"),
        ("{client.first_name|}bye", "Aminabye", "bye"),
        ("a {b} {client} {} {{x}} {therapist.nam}", "a {b} {client} {} {{x}} {therapist.nam}", None),
    ],
)
def test_variables_become_values_or_their_fallback(text: str, filled: str, without: str | None) -> None:
    assert expand(text, VALUES) == filled
    assert expand(text, NOBODY) == (filled if without is None else without)


def test_a_value_is_never_read_as_a_variable() -> None:
    values = values_for(client=Name("{therapist.name}", "X"), therapist=SARA, practice="Ruh")
    assert expand("Hello {client.first_name}", values) == "Hello {therapist.name}"


@given(st.text().filter(lambda text: "{" not in text))
def test_text_without_variables_stays_as_it_is(text: str) -> None:
    assert expand(text, VALUES) == text


def test_a_misspelt_variable_is_found_before_a_client_reads_it() -> None:
    assert unknown_variables("{client.name} {client.name} {x|y} {client.first_name}") == ["client.name", "x"]
    refusal = check_phrase("Hello {client.frist_name}")
    assert refusal is not None
    assert "{client.frist_name}" in refusal.words
    assert check_phrase("Hello {client.first_name|there}") is None
