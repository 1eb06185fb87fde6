"""What a reader sees when something is wrong: what happened and what to do next, never how it broke.

A page gets a page, a fragment gets words. A conversation of others, one that doesn't exist and an address
that never was get the very same answer (S4).
"""

import structlog
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from bridge.database import UNREACHABLE
from bridge.errors import Invalid, NotAllowed, NotFound, RuhError
from portal.security import is_fragment, text
from portal.templating import render

log = structlog.get_logger()

RETRY_AFTER = 5

_WORDS = {
    400: (
        "That didn’t work",
        "Something was missing in what your browser sent. Please go back and try again.",
    ),
    401: ("Please sign in", "You are not signed in any more."),
    403: ("That isn’t possible", "Your page may be out of date. Please reload it and try again."),
    404: ("We can’t find this", "There is nothing here, or it isn’t yours. The link may be old."),
    405: ("That didn’t work", "This address can’t be used like that."),
    413: ("That is too large", "What was sent is larger than we can take."),
    500: ("Something went wrong", "It was our mistake, and it has been noted. Please try again."),
    503: ("One moment please", "Ruh is not reachable for a moment. Nothing is lost."),
}


def install(app: Quart) -> None:
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(RuhError, _ours)
    app.register_error_handler(Exception, _unexpected)
    for kind in UNREACHABLE:
        app.register_error_handler(kind, _unreachable)


def answer(status: int, words: str | None = None) -> Response:
    heading, usual = _WORDS.get(status, _WORDS[400 if status < 500 else 500])
    if is_fragment():
        return text(words or usual, status)
    retry_after = RETRY_AFTER if status == 503 else None
    body = render(
        "error.html",
        heading=heading,
        words=words or usual,
        retry_after=retry_after,
        action="Back to your conversations",
        action_url="/chat",
    )
    response = Response(body, status, content_type="text/html; charset=utf-8")
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response


async def _http(error: HTTPException) -> Response:
    return answer(error.code or 500)


async def _ours(error: RuhError) -> Response:
    match error:
        case NotFound():
            return answer(404)
        case NotAllowed():
            return answer(403, error.message)
        case Invalid():
            return answer(422, error.message)
    log.error("request_failed", error=type(error).__name__, endpoint=request.endpoint)
    return answer(500, error.message)


async def _unreachable(error: Exception) -> Response:
    log.warning("database_unreachable", error=type(error).__name__, endpoint=request.endpoint)
    return answer(503)


async def _unexpected(error: Exception) -> Response:
    # The traceback's lines name our code; its message could hold what somebody wrote.
    log.error("request_failed", error=type(error).__name__, endpoint=request.endpoint, where=_where(error))
    return answer(500)


def _where(error: BaseException) -> str:
    trace, found = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        found = f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
