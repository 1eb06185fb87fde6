"""Signing in: the right people, not too often, and back to where they were."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart, Response

from bridge import sessions
from bridge.database import Pool, transaction
from policies.vocabulary import Person
from portal.app import create_app
from portal.security import cookie_name, local_path
from portal.sign_in import WRONG
from tests.portal.stage import PASSWORD, Cast, settings


@pytest.fixture
def cast(pool: Pool) -> Cast:
    return Cast(pool)


@pytest.fixture
async def app(pool: Pool, database_url: str) -> AsyncIterator[Quart]:
    made = create_app(settings(database_url), pool)
    async with made.test_app():
        yield made


class Form:
    """A browser at the sign-in page."""

    def __init__(self, app: Quart) -> None:
        self.client: Any = app.test_client()

    async def submit(self, email: str, password: str, **more: str) -> tuple[Response, str]:
        page = await (await self.client.get("/sign-in")).get_data(as_text=True)
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token
        form = {"email": email, "password": password, "csrf": token[1], **more}
        answer = await self.client.post("/sign-in", form=form)
        return answer, await answer.get_data(as_text=True)


async def test_the_right_password_signs_in_with_a_new_session_and_leads_back(app: Quart, cast: Cast) -> None:
    sara = await cast.therapist()
    form = Form(app)
    form.client.set_cookie("localhost", "ruh-8080", "planted-by-somebody")
    answer, _ = await form.submit((await cast.email_of(sara)).upper(), PASSWORD, next="/chat/abc")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/chat/abc")
    cookie = next(c for c in answer.headers.getlist("Set-Cookie") if c.startswith("ruh-8080="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "planted" not in cookie


async def test_a_wrong_password_an_unknown_address_and_a_client_get_the_same_words(
    app: Quart, cast: Cast
) -> None:
    sara = await cast.therapist()
    for email, password in (
        (await cast.email_of(sara), "not it"),
        ("nobody@ruh.test", PASSWORD),
        ("", ""),
        ("x" * 5000, "y" * 100_000),
    ):
        answer, body = await Form(app).submit(email, password)
        assert (answer.status_code, WRONG in body) == (401, True)


async def test_after_five_failures_an_account_waits_even_with_the_right_password(
    app: Quart, cast: Cast
) -> None:
    sara, email = await cast.therapist(), ""
    email = await cast.email_of(sara)
    form = Form(app)
    for _ in range(sessions.LIMITS["account"]):
        assert (await form.submit(email, "guess"))[0].status_code == 401
    answer, body = await form.submit(email, PASSWORD)
    assert answer.status_code == 429
    assert "try again in 15 minutes" in body
    other = await cast.therapist("David", "Cohen")
    assert (await form.submit(await cast.email_of(other), PASSWORD))[0].status_code == 303


async def test_failures_are_counted_per_address_and_forgotten_after_a_while(pool: Pool, cast: Cast) -> None:
    now = datetime.now(UTC)
    async with transaction(pool) as tx:
        for n in range(sessions.LIMITS["address"]):
            attempt = await sessions.attempt_of(tx, cast.keyring, f"{n}@ruh.test", "192.0.2.1")
            assert await sessions.wait(tx, attempt, now) is None
            await sessions.note(tx, attempt, now)
        attempt = await sessions.attempt_of(tx, cast.keyring, "new@ruh.test", "192.0.2.1")
        assert await sessions.wait(tx, attempt, now + timedelta(minutes=5)) == timedelta(minutes=10)
        assert await sessions.wait(tx, attempt, now + sessions.WINDOW) is None
        elsewhere = await sessions.attempt_of(tx, cast.keyring, "new@ruh.test", "192.0.2.2")
        assert await sessions.wait(tx, elsewhere, now) is None


async def test_a_session_goes_on_with_use_and_ends_without(pool: Pool, cast: Cast) -> None:
    sara, start, idle = await cast.therapist(), datetime.now(UTC), timedelta(minutes=30)
    async with transaction(pool) as tx:
        token = await sessions.begin(tx, sara.id, start)
        for minutes in (20, 45, 70):
            at = start + timedelta(minutes=minutes)
            assert await sessions.find(tx, cast.keyring, token, at=at, idle=idle) is not None
        later = start + timedelta(minutes=95)
        assert await sessions.find(tx, cast.keyring, token, at=later, idle=idle, touch=False) is not None
        assert (
            await sessions.find(tx, cast.keyring, token, at=start + timedelta(minutes=101), idle=idle) is None
        )
        kept = await tx.fetchrow("SELECT * FROM portal_session")
        assert token not in str(dict(kept))


async def test_signing_out_ends_the_session_for_good(app: Quart, cast: Cast, pool: Pool) -> None:
    sara = await cast.therapist()
    client = app.test_client()
    client.set_cookie("localhost", "ruh-8080", await cast.session(sara))
    page = await (await client.get("/chat?list")).get_data(as_text=True)
    csrf = re.search(r'data-csrf="([^"]+)"', page)
    assert csrf
    answer = await client.post("/sign-out", form={"csrf": csrf[1]})
    assert answer.headers["Location"].startswith("/sign-in")
    async with transaction(pool) as tx:
        assert await tx.fetchval("SELECT count(*) FROM portal_session") == 0


async def test_the_form_must_come_from_our_own_page(app: Quart, cast: Cast) -> None:
    sara = await cast.therapist()
    form = {"email": await cast.email_of(sara), "password": PASSWORD, "csrf": "made-up"}
    answer = await app.test_client().post("/sign-in", form=form)
    assert answer.status_code == 403


def test_only_a_path_of_ours_is_gone_back_to() -> None:
    assert local_path("/chat/1?list") == "/chat/1?list"
    for address in (
        None,
        "",
        "chat",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/\n/evil",
    ):
        assert local_path(address) == "/chat"


async def test_the_cookie_is_for_https_alone_where_the_portal_is(
    pool: Pool, database_url: str, cast: Cast
) -> None:
    sara: Person = await cast.therapist()
    app = create_app(settings(database_url, RUH_PORTAL_URL="https://chat.ruh.test"), pool)
    async with app.test_app():
        answer, _ = await Form(app).submit(await cast.email_of(sara), PASSWORD)
    cookies = answer.headers.getlist("Set-Cookie")
    assert any(c.startswith("__Host-ruh=") and "Secure" in c for c in cookies)
    assert all(c.startswith("__Host-") and "Secure" in c for c in cookies), "the form's own as well"
    assert "Strict-Transport-Security" in answer.headers


def test_two_portals_of_one_host_leave_each_others_sign_in_alone() -> None:
    """Browsers send a host's cookies to all of its ports: two `ruh up` side by side share them."""
    first, second = (settings("postgresql://x", port) for port in (8080, 8090))
    for what in ("", "sign-in"):
        assert cookie_name(first, what) != cookie_name(second, what)
