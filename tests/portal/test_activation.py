"""Activation links as their readers, their mail scanners and strangers meet them (P2)."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from quart import Quart

from bridge import accounts, activation, people, sessions
from bridge.config import PortalSettings, load
from bridge.database import Pool, transaction
from policies.vocabulary import Person, PersonStatus
from portal import activation as activation_page
from portal.app import create_app
from portal.passwords import Passwords
from tests.support.people import pair
from tests.support.platform import KEYS, SETTINGS

PASSWORD = "blue teapot sings"


@pytest.fixture
async def app(pool: Pool, database_url: str) -> AsyncIterator[Quart]:
    app = create_app(load(PortalSettings, SETTINGS | {"RUH_DATABASE_URL": database_url}), pool)
    async with app.test_app():
        yield app


class Browser:
    def __init__(self, app: Quart) -> None:
        self.client = app.test_client()

    async def __call__(self, method: str, path: str, **form: str) -> Any:
        response = await self.client.open(path, method=method, form=form or None)
        return SimpleNamespace(
            status=response.status_code,
            headers=response.headers,
            text=re.sub(r"\s+", " ", await response.get_data(as_text=True)),
        )


async def link_for(pool: Pool, person: Person, **more: Any) -> str:
    async with transaction(pool) as tx:
        return f"/activate/{(await activation.issue(tx, person.id, **more)).token}"


async def make_ready(pool: Pool) -> str:
    """What the appservice does: bring the account to the homeserver. Returns the password that it brought."""
    async with transaction(pool) as tx:
        (due,) = await accounts.claim_due(tx, 1)
        password = await accounts.open_password(tx, KEYS, due)
        await accounts.finish(tx, due)
    assert password is not None
    return password


async def user_id_of(pool: Pool, person: Person) -> str:
    return str(await pool.fetchval("SELECT user_id FROM account WHERE person_id = $1", person.id))


async def test_a_client_sets_a_password_waits_and_reads_how_to_sign_in(app: Quart, pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    assert "Set password" in (await browser("GET", link)).text
    posted = await browser("POST", link, password=PASSWORD)
    assert (posted.status, posted.headers["Location"]) == (303, link)
    assert "Setting up your account" in (await browser("GET", link)).text
    assert await make_ready(pool) == PASSWORD
    shown = (await browser("GET", link)).text
    user_id = await user_id_of(pool, client)
    for expected in ("https://matrix.ruh.test", user_id, "Element X", "FluffyChat", "<svg", "recovery key"):
        assert expected in shown
    assert "encrypted between your device and the Ruh service" in shown
    assert (await browser("GET", link)).text == shown


async def test_opening_the_link_uses_nothing_up(app: Quart, pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    link = await link_for(pool, client)
    for method in ("GET", "HEAD", "GET"):
        scanned = await Browser(app)(method, link)
        assert scanned.status == 200
        assert client.name.first not in scanned.text
    assert (await Browser(app)("POST", link, password=PASSWORD)).status == 303


async def test_the_page_tells_its_address_to_nobody(app: Quart, pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    page = await Browser(app)("GET", await link_for(pool, client))
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert '<meta name="referrer" content="no-referrer">' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "'self'" in page.headers["Content-Security-Policy"]
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page.text)


async def test_the_token_stands_in_no_log(app: Quart, pool: Pool, capfd: pytest.CaptureFixture[str]) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    for method, form in (
        ("GET", {}),
        ("POST", {"password": "short"}),
        ("POST", {"password": PASSWORD}),
        ("GET", {}),
    ):
        await browser(method, link, **form)
    logged = "".join(capfd.readouterr())
    assert "activated" in logged
    assert link.rpartition("/")[2] not in logged
    assert PASSWORD not in logged


async def test_a_staff_member_sets_a_password_and_is_signed_out_elsewhere(app: Quart, pool: Pool) -> None:
    therapist, _ = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        await sessions.begin(tx, therapist.id, datetime.now(UTC))
    link, browser = await link_for(pool, therapist), Browser(app)
    assert "your e-mail address and this password" in (await browser("GET", link)).text
    assert (await browser("POST", link, password=PASSWORD)).status == 303
    assert 'href="/sign-in"' in (await browser("GET", link)).text
    async with transaction(pool) as tx:
        found = await people.find_staff_by_email(tx, KEYS, "sara@ruh.test")
    assert found is not None
    assert await Passwords().verify(found[1], PASSWORD)
    assert await pool.fetchval("SELECT count(*) FROM portal_session") == 0


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "10 more characters"),
        ("short", "5 more"),
        ("x" * 2000, "too long"),
        ("1234567890", "first that anybody"),
    ],
)
async def test_a_password_that_will_not_do_leaves_the_link_as_it_was(
    app: Quart, pool: Pool, password: str, words: str
) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    refused = await browser("POST", link, password=password)
    assert refused.status == 422
    assert words in refused.text
    assert not password or password not in refused.text
    assert (await browser("POST", link, password=PASSWORD)).status == 303


async def test_two_presses_on_the_button_set_one_password_and_both_go_on(app: Quart, pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    await browser("GET", link)
    pressed = await asyncio.gather(*(browser("POST", link, password=PASSWORD) for _ in range(4)))
    assert {answer.status for answer in pressed} == {303}
    assert "Setting up your account" in (await browser("GET", link)).text


async def test_a_used_link_tells_a_stranger_nothing_and_sets_no_second_password(
    app: Quart, pool: Pool
) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    await browser("GET", link)
    await browser("POST", link, password=PASSWORD)
    assert await make_ready(pool) == PASSWORD
    stranger = Browser(app)
    await stranger("POST", link, password="another teapot sings")
    for path in (link, f"{link}?k=", f"{link}?k=wrong", f"{link}?k=%C3%BC"):
        seen = await stranger("GET", path)
        assert (seen.status, "done its work" in seen.text) == (410, True)
        assert await user_id_of(pool, client) not in seen.text
    assert (await stranger("POST", f"{link}/strength", password="x")).status == 410
    assert await pool.fetchval("SELECT password_sealed FROM account") is None


async def test_the_code_opens_the_page_on_another_device(
    app: Quart, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:

    drawn: list[str] = []
    monkeypatch.setattr(activation_page, "_qr", lambda address: drawn.append(address) or "")
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    await browser("GET", link)
    await browser("POST", link, password=PASSWORD)
    await make_ready(pool)
    await browser("GET", link)
    address = drawn[0].removeprefix("https://chat.ruh.test")
    assert await user_id_of(pool, client) in (await Browser(app)("GET", address)).text


async def test_the_help_goes_after_a_day(app: Quart, pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    await browser("GET", link)
    await browser("POST", link, password=PASSWORD)
    await pool.execute("UPDATE activation SET used_at = now() - interval '25 hours'")
    assert (await browser("GET", link)).status == 410


async def test_a_long_wait_is_said_to_be_long(app: Quart, pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    await browser("GET", link)
    await browser("POST", link, password=PASSWORD)
    await pool.execute("UPDATE activation SET used_at = now() - interval '1 minute'")
    assert "longer than usual" in (await browser("GET", link)).text


async def test_links_that_do_not_work_say_why(app: Quart, pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    old = await link_for(pool, client, lifetime=timedelta(seconds=-1))
    replaced = await link_for(pool, therapist)
    archived = await link_for(pool, therapist)
    async with transaction(pool) as tx:
        await people.update(tx, KEYS, therapist.id, status=PersonStatus.ARCHIVED)
    for path, status, words in (
        (old, 410, "too old"),
        (replaced, 404, "newer link"),
        (archived, 404, "ask Ruh for a new link"),
        ("/activate/made-up", 404, "newer link"),
        ("/activate/%00", 404, "newer link"),
    ):
        for method in ("GET", "POST"):
            seen = await Browser(app)(method, path, **({"password": PASSWORD} if method == "POST" else {}))
            assert seen.status == status, path
            assert words in seen.text
            assert seen.headers["Referrer-Policy"] == "no-referrer"


async def test_strength_is_said_to_whom_the_link_activates(app: Quart, pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    link, browser = await link_for(pool, client), Browser(app)
    assert (await browser("POST", f"{link}/strength", password=PASSWORD)).text == "Strong."
    assert "at least 10" in (await browser("POST", f"{link}/strength", password="a")).text
    assert (await browser("POST", "/activate/made-up/strength", password="a")).status == 404
