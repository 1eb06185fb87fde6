"""Signing in and out. A wrong password's answer never tells whether the account exists, by words or by time.

Attempts are counted before the password is looked at, per account and per address; who has to wait is told
how long.
"""

import math
import secrets
from datetime import UTC, datetime, timedelta

import structlog
from quart import Blueprint, Response, current_app, g, redirect, request

from bridge import audit, people, sessions
from bridge.audit import Did
from bridge.database import transaction
from policies.vocabulary import Person
from portal.passwords import Passwords
from portal.security import (
    Answer,
    cookie_name,
    delete_cookie,
    find_session,
    from_elsewhere,
    local_path,
    same,
    set_cookie,
    signed_in,
)
from portal.services import services
from portal.templating import render

blueprint = Blueprint("sign_in", __name__)
log = structlog.get_logger()

WRONG = "That e-mail address and password don’t belong together. Please check both and try again."
STALE = "This page was open for too long. Please sign in once more."
_FORM = "sign-in"


@blueprint.get("/")
async def home() -> Answer:
    return redirect("/chat", 303)


@blueprint.get("/sign-in")
async def form() -> Answer:
    token = request.cookies.get(cookie_name(services().settings))
    if await find_session(token) is not None:
        return redirect(local_path(request.args.get("next")), 303)
    return _page(ended="ended" in request.args, signed_out="out" in request.args)


@blueprint.post("/sign-in")
async def sign_in() -> Answer:
    given = await request.form
    form_token = request.cookies.get(cookie_name(services().settings, _FORM), "")
    if from_elsewhere() or not form_token or not same(given.get("csrf", ""), form_token):
        return _page(error=STALE, email=given.get("email", ""), status=403)
    email, password = given.get("email", "").strip()[:254], given.get("password", "")[:1024]
    person, words = await _try(email, password)
    if person is None:
        return _page(error=words, email=email, status=429 if words != WRONG else 401)
    return await _let_in(person)


async def _try(email: str, password: str) -> tuple[Person | None, str]:
    wired = services()
    now = datetime.now(UTC)
    async with transaction(wired.pool) as tx:
        attempt = await sessions.attempt_of(
            tx, wired.keyring, people.normalised(email), request.remote_addr or ""
        )
        wait = await sessions.wait(tx, attempt, now)
        if wait is not None:
            log.info("sign_in_refused", reason="too_many")
            return None, _too_many(wait)
        await sessions.note(tx, attempt, now)
        found = await people.find_staff_by_email(tx, wired.keyring, email)
    passwords: Passwords = current_app.extensions["passwords"]
    right = await passwords.verify(found[1] if found else None, password)
    async with transaction(wired.pool) as tx:
        if found is None or not right:
            # Only what was looked at: how often somebody knocks who has to wait, nobody bounds.
            await audit.record(tx, Did.SIGN_IN_REFUSED, subject=found[0].id if found else None)
        else:
            await sessions.succeeded(tx, attempt, now)
    if found is None or not right:
        log.info("sign_in_refused", reason="wrong")
        return None, WRONG
    return found[0], ""


def _too_many(wait: timedelta) -> str:
    minutes = max(1, math.ceil(wait.total_seconds() / 60))
    return (
        "There were too many attempts to sign in. "
        f"Please try again in {minutes} minute{'' if minutes == 1 else 's'}."
    )


async def _let_in(person: Person) -> Answer:
    """Always a new session id: one that was planted before is worth nothing."""
    wired, now = services(), datetime.now(UTC)
    name = cookie_name(wired.settings)
    async with transaction(wired.pool) as tx:
        if old := request.cookies.get(name):
            await sessions.end(tx, old)
        token = await sessions.begin(tx, person.id, now)
        await audit.record(tx, Did.SIGNED_IN, actor=person.id)
        await sessions.end_idle(tx, now, timedelta(minutes=wired.settings.session_idle_minutes))
    log.info("signed_in", person=str(person.id))
    response = redirect(local_path((await request.form).get("next")), 303)
    set_cookie(response, name, token)
    delete_cookie(response, cookie_name(wired.settings, _FORM))
    return response


@blueprint.post("/sign-out")
@signed_in
async def sign_out() -> Answer:
    name = cookie_name(services().settings)
    async with transaction(services().pool) as tx:
        await sessions.end(tx, request.cookies.get(name, ""))
        await audit.record(tx, Did.SIGNED_OUT, actor=g.me.id)
    response = redirect("/sign-in?out=1", 303)
    delete_cookie(response, name)
    return response


def _page(
    *, error: str = "", email: str = "", ended: bool = False, signed_out: bool = False, status: int = 200
) -> Response:
    form_cookie = cookie_name(services().settings, _FORM)
    token = request.cookies.get(form_cookie) or secrets.token_urlsafe(24)
    body = render(
        "sign_in.html",
        csrf=token,
        next=local_path(request.args.get("next")),
        error=error,
        email=email,
        ended=ended,
        signed_out=signed_out,
        idle_minutes=services().settings.session_idle_minutes,
    )
    response = Response(body, status, content_type="text/html; charset=utf-8")
    set_cookie(response, form_cookie, token, max_age=24 * 3600)
    return response
