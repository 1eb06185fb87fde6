"""Who hears of a message, and the words of the e-mail about it (N1, N2)."""

from dataclasses import replace

import pytest

from policies import mails
from policies.mails import Mail
from policies.notifying import NOTHING, Settings, Wanted, again_in, wanted
from policies.vocabulary import ConversationKind, Role

ALL = Settings()


@pytest.mark.parametrize("kind", list(ConversationKind))
def test_staff_hear_of_everything_until_they_say_otherwise(kind: ConversationKind) -> None:
    assert wanted(Role.THERAPIST, kind, ALL, muted=False) == Wanted(email=True, browser=True)


@pytest.mark.parametrize(
    ("off", "quiet"),
    [
        ("direct", {ConversationKind.DIRECT, ConversationKind.BLAST}),
        ("community", {ConversationKind.COMMUNITY}),
    ],
)
def test_each_switch_is_for_its_own_kinds(off: str, quiet: set[ConversationKind]) -> None:
    settings = replace(ALL, **{off: False})
    silent = {
        kind for kind in ConversationKind if wanted(Role.THERAPIST, kind, settings, muted=False) == NOTHING
    }
    assert silent == quiet


@pytest.mark.parametrize("kind", list(ConversationKind))
def test_one_conversation_can_be_muted(kind: ConversationKind) -> None:
    assert wanted(Role.CLIENT_CARE, kind, ALL, muted=True) == NOTHING


def test_email_and_browser_are_chosen_apart() -> None:
    settings = replace(ALL, browser=False)
    assert wanted(Role.THERAPIST, ConversationKind.DIRECT, settings, muted=False) == Wanted(True, False)


def test_a_client_has_no_page_and_no_switch() -> None:
    nothing = Settings(False, False, False, False)
    assert wanted(Role.CLIENT, ConversationKind.COMMUNITY, nothing, muted=False) == Wanted(True, False)


def test_a_mail_is_tried_for_some_hours_and_then_given_up() -> None:
    pauses = [again_in(attempts) for attempts in range(1, 12)]
    assert pauses[9:] == [None, None]
    hours = sum(pause.total_seconds() for pause in pauses if pause) / 3600
    assert 2 < hours < 6


@pytest.mark.parametrize(
    "mail", [mails.to_client("Ruh & Co", "https://x/?a&b"), mails.to_staff("Ruh & Co", "https://x/?a&b")]
)
def test_a_mail_leads_to_where_one_reads_and_escapes_what_it_is_given(mail: Mail) -> None:
    assert "Ruh & Co" in mail.subject
    assert "https://x/?a&b\n" in mail.text
    assert 'href="https://x/?a&amp;b"' in mail.html
    assert "Ruh &amp; Co" in mail.html
    assert "Ruh & Co" not in mail.html


def test_a_subject_is_one_line() -> None:
    assert mails.to_client("Ruh\r\nBcc: everybody@example.org", "https://x").subject.count("\n") == 0
