import pytest

from policies.chat_settings import InForce, Level
from policies.contact import BookingEffects, Contact, before_contact, may_open, on_booking, welcome, whom
from policies.phrases import unknown_variables
from policies.vocabulary import Name

ON, OFF = InForce(True, Level.EVERYONE), InForce(False, Level.CLIENT)
AMINA, SARA = Name("Amina", "Yusuf"), Name("Sara", "Khan", "Dr.")


def test_the_first_booking_makes_the_thread_and_says_hello() -> None:
    assert on_booking(Contact(), has_thread=False, archived=False, direct=ON) == BookingEffects(
        True, True, False
    )


@pytest.mark.parametrize("has_thread", [True, False])
def test_a_welcome_is_sent_once(has_thread: bool) -> None:
    done = Contact(booked=True, welcomed=True)
    assert not on_booking(done, has_thread=has_thread, archived=False, direct=ON).send_welcome


def test_a_client_whose_chat_is_off_gets_no_welcome() -> None:
    assert not on_booking(Contact(), has_thread=False, archived=False, direct=OFF).send_welcome


def test_a_booking_makes_an_archived_client_active_again() -> None:
    assert on_booking(Contact(welcomed=True), has_thread=True, archived=True, direct=ON).make_active


def test_the_default_welcome_names_both_and_says_where_to_turn_when_urgent() -> None:
    words = welcome(None, client=AMINA, therapist=SARA, practice="Ruh")
    assert words.startswith("Hello Amina, and welcome. I’m Dr. Sara Khan.")
    assert "emergency" in words
    assert not unknown_variables(words)


def test_a_therapist_has_a_welcome_of_their_own() -> None:
    own = "Dear {client.first_name|friend}, I am {therapist.first_name}."
    assert welcome(own, client=AMINA, therapist=SARA, practice="Ruh") == "Dear Amina, I am Sara."
    assert welcome("  ", client=AMINA, therapist=SARA, practice="Ruh").startswith("Hello Amina")


def test_a_client_reaches_nobody_before_a_therapist_or_a_booking() -> None:
    refusal = may_open(Contact(), ON, "Ruh")
    assert refusal is not None
    assert refusal.words == before_contact("Ruh")
    for begun in (Contact(opened_by_staff=True), Contact(booked=True)):
        assert may_open(begun, ON, "Ruh") is None


def test_a_client_whose_chat_is_off_is_told_so() -> None:
    refusal = may_open(Contact(booked=True), OFF, "Ruh")
    assert refusal is not None
    assert refusal.code == "chat_off"


def test_the_assistant_asks_whom_by_number() -> None:
    assert whom([SARA, Name("Tom", "Reed")]).endswith("1. Dr. Sara Khan\n2. Tom Reed")
