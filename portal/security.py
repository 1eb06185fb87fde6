"""Who asks, and that it is really their page that asks.

Every answer forbids scripts of others, framing and guessing of types; what has content is never stored.
A request that changes something needs the session's token and comes from our own pages.
"""

import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import ParamSpec, TypeVar
from urllib.parse import quote, urlsplit
from uuid import UUID

from quart import Response, abort, g, redirect, request
from werkzeug.wrappers import Response as PlainResponse

from bridge import sessions
from bridge.config import PortalSettings
from bridge.errors import NotAllowed
from bridge.sessions import Session
from policies import access
from policies.access import Action
from policies.vocabulary import Person, Refusal
from portal.services import services

CSP = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Answer = Response | PlainResponse
"""Quart's own, or what `redirect` gives."""

P = ParamSpec("P")
R = TypeVar("R")


def secure(response: Answer) -> Answer:
    """On every answer; a view that set one of these itself keeps it."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    settings = services().settings
    if settings.secure_cookies:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def cookie_name(settings: PortalSettings, what: str = "") -> str:
    """With the prefix, the browser takes the cookie over https and from this very host only. Without it there
    is the port: browsers send a host's cookies to all of its ports, where another portal may run."""
    name = f"ruh-{what}" if what else "ruh"
    if settings.secure_cookies:
        return f"__Host-{name}"
    port = urlsplit(settings.portal_url).port
    return name if port is None else f"{name}-{port}"


def set_cookie(response: Answer, name: str, value: str, max_age: int | None = None) -> None:
    settings = services().settings
    response.set_cookie(
        name, value, max_age=max_age, secure=bool(settings.secure_cookies), httponly=True, samesite="Lax"
    )


def delete_cookie(response: Answer, name: str) -> None:
    secure = bool(services().settings.secure_cookies)
    response.delete_cookie(name, secure=secure, httponly=True, samesite="Lax")


def idle_time() -> timedelta:
    return timedelta(minutes=services().settings.session_idle_minutes)


async def find_session(token: str | None, *, touch: bool = True) -> tuple[Session, Person] | None:
    """Who is signed in with this cookie."""
    if not token:
        return None
    wired, now = services(), datetime.now(UTC)
    async with wired.pool.acquire() as connection:
        return await sessions.find(connection, wired.keyring, token, at=now, idle=idle_time(), touch=touch)


def is_fragment() -> bool:
    """Asked for by a page that is open already (htmx, or a module), not by the browser's address line."""
    return request.headers.get("HX-Request") == "true"


def is_unattended() -> bool:
    """The page asks by itself while its reader does nothing: that keeps nobody signed in (S1)."""
    return request.headers.get("X-Unattended") == "1"


def from_elsewhere() -> bool:
    """True for a request that another site's page caused."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    return not is_our_origin(request.headers.get("Origin"), request.host)


def is_our_origin(origin: str | None, host: str) -> bool:
    """None: the browser says none, as for an address typed in. A proxy may ask us under another name."""
    ours = {host, urlsplit(services().settings.portal_url).netloc}
    return origin is None or urlsplit(origin).netloc in ours


def signed_in(view: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R | Answer]]:
    """Only with a session: others go and sign in, and come back. Sets `g.session` and `g.me`."""

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Answer:
        token = request.cookies.get(cookie_name(services().settings))
        found = await find_session(token, touch=not is_unattended())
        if found is None:
            if is_fragment() or request.method != "GET":
                abort(401)
            ended = "ended=1&" if token else ""
            return redirect(f"/sign-in?{ended}next={quote(request.path)}", 303)
        g.session, g.me = found
        if request.method != "GET" and not await _is_ours(g.session):
            abort(403)
        return await view(*args, **kwargs)

    return guarded


def require(action: Action) -> None:
    """Of who is signed in, for what concerns no conversation. Raises NotAllowed with the policy's words."""
    verdict = access.decide(action, g.me.role)
    if isinstance(verdict, Refusal):
        raise NotAllowed(verdict.code, verdict.words)


async def _is_ours(session: Session) -> bool:
    if from_elsewhere():
        return False
    given = request.headers.get("X-CSRF-Token") or (await request.form).get("csrf", "")
    return same(given, session.csrf)


def same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def local_path(address: str | None) -> str:
    """Where to go after signing in: a path of ours, whatever the address said."""
    if not address or not address.startswith("/") or address.startswith(("//", "/\\")):
        return "/chat"
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or any(c in address for c in "\\\r\n\t"):
        return "/chat"
    return address


def text(words: str, status: int = 200) -> Response:
    return Response(words, status, content_type="text/plain; charset=utf-8")


def identity(value: str) -> UUID | None:
    """An id that came from outside, None if it is none."""
    try:
        return UUID(value)
    except ValueError:
        return None
