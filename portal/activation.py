"""The page behind an activation link: a password is set once, then it is said how to sign in (P2).

Opening the page uses nothing up. The token is a secret in an address: it is sent to nobody (no referrer),
stands in no log, and what follows its use is shown for a day to the browser that opened the link before.
"""

import asyncio
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import segno
import structlog
from markupsafe import Markup
from quart import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from bridge import accounts, activation, people, sessions
from bridge.activation import Found
from bridge.database import Transaction, transaction
from bridge.errors import LinkExpired, LinkUnknown, LinkUsed, RuhError
from bridge.sealing import standing_key
from policies import passwords
from policies.vocabulary import PersonId
from portal.passwords import hash_password
from portal.services import services
from portal.templating import render

HELP_FOR = timedelta(hours=24)
"""How long after its use a link still shows how to sign in."""
PATIENCE = timedelta(seconds=20)
"""After this long the waiting page no longer says that it takes a few seconds."""
MAX_FIELD = 1024
COOKIE = "ruh-activation"

blueprint = Blueprint("activation", __name__, url_prefix="/activate")
log = structlog.get_logger()


@blueprint.after_request
async def _keep_to_ourselves(response: Response) -> Response:
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


@blueprint.get("/<token>")
async def form(token: str) -> Response:
    async with transaction(services().pool) as tx:
        found = await activation.find(tx, token)
        proof = await _proof(tx, token)
        if found.used_at is not None:
            return await _after_use(tx, token, found, proof)
    response = _form(found)
    response.set_cookie(
        COOKIE,
        proof,
        max_age=int((activation.LIFETIME + HELP_FOR).total_seconds()),
        path=f"/activate/{quote(token)}",
        secure=bool(services().settings.secure_cookies),
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.post("/<token>")
async def set_password(token: str) -> Response | AnyResponse:
    """The token is what only the person has, so another site's page can't post here for them."""
    password = (await request.form).get("password", "")
    refused = passwords.check(password[:MAX_FIELD])
    async with transaction(services().pool) as tx:
        found = await activation.find(tx, token)
    if found.used_at is None and refused is not None:
        return _form(found, refused.words, 422)
    if found.used_at is None:
        # Of two presses on the button one sets it; both end where it is said how to go on.
        try:
            await _set(token, found, password)
        except LinkUsed:
            log.info("activation_pressed_twice", person=str(found.person_id))
    return redirect(f"/activate/{quote(token)}", 303)


@blueprint.post("/<token>/strength")
async def strength(token: str) -> Response:
    """In words, while typing. For whoever has a link that still activates."""
    async with transaction(services().pool) as tx:
        found = await activation.find(tx, token)
    if found.used_at is not None:
        raise LinkUsed
    said = passwords.strength((await request.form).get("password", "")[:MAX_FIELD])
    return Response(said.value, content_type="text/plain; charset=utf-8")


@blueprint.errorhandler(RuhError)
async def _kindly(error: RuhError) -> Response:
    kinds: dict[type[RuhError], tuple[str, int]] = {
        LinkUsed: ("used", 410),
        LinkExpired: ("expired", 410),
        LinkUnknown: ("unknown", 404),
    }
    if type(error) not in kinds:
        raise error
    kind, status = kinds[type(error)]
    return _page("activation_problem.html", status, kind=kind)


async def _set(token: str, found: Found, password: str) -> None:
    """Uses the link up; raises LinkUsed when somebody was faster."""
    wired, plain = services(), passwords.normalised(password)
    hashed = await asyncio.to_thread(hash_password, plain) if found.role.is_staff else ""
    async with transaction(wired.pool) as tx:
        await activation.use(tx, token)
        if found.role.is_staff:
            await people.set_password_hash(tx, found.person_id, hashed)
            await sessions.end_all(tx, found.person_id)
        else:
            await accounts.request_password(tx, wired.keyring, found.person_id, plain)
    log.info("activated", person=str(found.person_id))


async def _after_use(tx: Transaction, token: str, found: Found, proof: str) -> Response:
    shown = request.args.get("k") or request.cookies.get(COOKIE, "")
    if not hmac.compare_digest(shown.encode("utf-8", "replace"), proof.encode()) or _since(found) > HELP_FOR:
        raise LinkUsed
    if found.role.is_staff:
        return _page("activation_staff.html")
    ready = await _ready(tx, found.person_id)
    if ready is None:
        return _page("activation_wait.html", slow=_since(found) > PATIENCE)
    here = f"{services().settings.portal_url}/activate/{quote(token)}?k={proof}"
    return _page("activation_help.html", account=ready, qr=_qr(here))


@dataclass(frozen=True, slots=True)
class ReadyAccount:
    """What a client types into an app."""

    homeserver: str
    user_id: str

    @property
    def username(self) -> str:
        return self.user_id[1:].partition(":")[0]


async def _ready(tx: Transaction, person_id: PersonId) -> ReadyAccount | None:
    account = await accounts.find(tx, person_id)
    if account is None or not account.ready:
        return None
    return ReadyAccount(services().settings.homeserver_public_url, account.user_id)


async def _proof(tx: Transaction, token: str) -> str:
    """What shows that a browser had the link before it was used; nothing to keep, and nothing to guess."""
    key = await standing_key(tx, services().keyring, "directory")
    return key.lookup("activation page", token)[:16].hex()


def _qr(address: str) -> Markup:
    """This very page, for the phone that the app will be on: its addresses can be copied there.

    No app reads a homeserver's address from a code, and an address at somebody else's site would tell them
    who is a client here.
    """
    svg = segno.make(address, error="m", micro=False).svg_inline(border=3, omitsize=True, light="#fff")
    return Markup(svg)  # noqa: S704  drawn by segno, from numbers


def _since(found: Found) -> timedelta:
    return datetime.now(UTC) - (found.used_at or datetime.now(UTC))


def _form(found: Found, error: str = "", status: int = 200) -> Response:
    return _page(
        "activation.html", status, staff=found.role.is_staff, error=error, min_length=passwords.MIN_LENGTH
    )


def _page(template: str, status: int = 200, **values: object) -> Response:
    return Response(render(template, **values), status, content_type="text/html; charset=utf-8")
