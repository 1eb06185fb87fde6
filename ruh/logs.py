"""Logs go to standard error, an action and ids a line: for a person at a terminal, as JSON elsewhere."""

import logging
import sys
import traceback

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def where_it_failed(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An exception becomes its type and the places in the code: its message and the values in its frames
    can hold names, messages and keys (S5)."""
    failure = event.pop("exc_info", None)
    error = sys.exc_info()[1] if failure is True else failure
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = type(error).__name__
        event["places"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    return event


def configure(level: str) -> None:
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            where_it_failed,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries: only what is wrong. Their lines at INFO carry addresses and paths.
    logging.basicConfig(level=max(LEVELS[level], logging.WARNING), stream=sys.stderr, force=True)
    logging.getLogger("pogo_core").setLevel(logging.ERROR)  # it warns of every migration that it applies
