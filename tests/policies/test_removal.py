"""What a removal waits for, and how it is told."""

from datetime import UTC, datetime, timedelta

from policies.removal import LATER, SOON, Progress, Step, behind, look_again_in, words

KICKED = datetime(2026, 11, 23, 9, tzinfo=UTC)
SOON_AFTER, DAYS_AFTER = KICKED + timedelta(seconds=30), KICKED + timedelta(days=3)


def test_a_device_that_asked_for_news_since_has_heard() -> None:
    assert behind([KICKED + timedelta(minutes=2)], KICKED, DAYS_AFTER) == 0


def test_a_device_that_was_last_seen_before_has_not() -> None:
    assert behind([KICKED - timedelta(days=1), KICKED, KICKED + timedelta(hours=1)], KICKED, DAYS_AFTER) == 2


def test_the_two_clocks_may_differ_by_a_little() -> None:
    assert behind([KICKED + timedelta(seconds=1)], KICKED, DAYS_AFTER) == 1


def test_a_device_that_was_never_seen_is_waited_for_no_longer_than_it_takes_to_note_one() -> None:
    assert behind([None], KICKED, SOON_AFTER) == 1
    assert behind([None], KICKED, DAYS_AFTER) == 0


def test_who_has_no_device_is_not_waited_for() -> None:
    assert behind([], KICKED, SOON_AFTER) == 0


def test_devices_are_looked_at_often_at_first() -> None:
    assert look_again_in(KICKED, SOON_AFTER) == SOON
    assert look_again_in(KICKED, DAYS_AFTER) == LATER


def test_the_panel_tells_each_step_as_it_happens() -> None:
    assert words(Progress(Step.REDACT)) == ("Removed",)
    assert words(Progress(Step.REDACT, events=240, redacted=80)) == (
        "Removed",
        "80 of 240 messages taken back",
    )
    waiting = Progress(Step.WAIT, events=240, redacted=240, kicked_at=KICKED, devices_waiting=1)
    assert words(waiting) == (
        "Removed",
        "240 of 240 messages taken back",
        "out of the chat",
        "waiting for 1 phone or computer",
    )


def test_at_the_end_it_is_said_what_a_device_that_was_away_may_still_hold() -> None:
    done = Progress(Step.DONE, events=3, redacted=3, kicked_at=KICKED, devices_waiting=2, media_deleted=1)
    assert words(done) == (
        "Removed",
        "3 of 3 messages taken back",
        "out of the chat",
        "2 phones or computers have not been online and may still show what was loaded before",
        "1 file deleted",
        "deleted for good",
    )


def test_without_devices_that_lag_behind_nothing_is_said_of_them() -> None:
    assert words(Progress(Step.DONE, events=0, devices_waiting=0))[-2:] == (
        "out of the chat",
        "deleted for good",
    )


def test_who_left_by_themselves_keeps_what_they_had() -> None:
    told = words(Progress(Step.DONE, keeps_copy=True))
    assert told == ("Left by themselves", "what they had stays with them")


def test_who_was_removed_before_their_room_was_made_had_received_nothing() -> None:
    told = words(Progress(Step.DONE, had_room=False))
    assert told == ("Removed", "they had not received anything")
