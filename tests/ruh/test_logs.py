"""A log line says where it went wrong, never what was in it (S5)."""

import sys

from ruh.logs import where_it_failed


def test_an_exceptions_message_stays_out_of_the_log() -> None:
    try:
        raise ValueError("I slept badly")
    except ValueError:
        event = where_it_failed(None, "error", {"event": "event_failed", "exc_info": True})
        given = where_it_failed(None, "error", {"event": "event_failed", "exc_info": sys.exc_info()[1]})
    assert event == given
    assert event["error"] == "ValueError"
    assert event["places"][0].startswith("test_logs.py:")
    assert "slept" not in str(event)
