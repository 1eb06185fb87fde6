"""The activation page in a browser, first of all on a phone (P2)."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from bridge import accounts, activation
from bridge.database import transaction
from policies.vocabulary import Person
from tests.portal.stage import Stage, page_of
from tests.portal.test_accessible import findings

PASSWORD = "blue teapot sings"


@pytest.fixture
def phone(browser: Browser, stage: Stage) -> Iterator[Page]:
    with page_of(browser, stage, viewport={"width": 360, "height": 740}, color_scheme="dark") as opened:
        yield opened


async def _link(stage: Stage, person: Person) -> str:
    async with transaction(stage.cast.pool) as tx:
        return f"/activate/{(await activation.issue(tx, person.id)).token}"


async def _bring(stage: Stage, person: Person) -> str:
    """What the appservice does; returns the Matrix ID."""
    async with transaction(stage.cast.pool) as tx:
        due = [due for due in await accounts.claim_due(tx, 100) if due.person_id == person.id]
        await accounts.finish(tx, due[0])
    return due[0].user_id


def test_on_a_phone_a_client_chooses_a_password_and_copies_their_details(phone: Page, stage: Stage) -> None:
    client = stage.do(stage.cast.client())
    hosts: set[str] = set()
    phone.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    phone.goto(stage.url + stage.do(_link(stage, client)))
    field = phone.get_by_label("New password")
    field.fill("1234567890")
    expect(phone.get_by_role("status")).to_contain_text("first that anybody would try")
    phone.get_by_role("button", name="Set password").click()
    expect(phone.get_by_role("alert")).to_contain_text("first that anybody would try")
    field.fill(PASSWORD)
    expect(phone.get_by_role("status")).to_have_text("Strong.")
    phone.get_by_role("button", name="Show").click()
    expect(field).to_have_attribute("type", "text")
    phone.get_by_role("button", name="Set password").click()
    expect(phone.get_by_role("heading", name="Setting up your account")).to_be_visible()

    user_id = stage.do(_bring(stage, client))
    expect(phone.get_by_role("heading", name="Your account is ready")).to_be_visible()
    phone.context.grant_permissions(["clipboard-read", "clipboard-write"])
    phone.get_by_role("button", name="Copy Matrix ID").click()
    expect(phone.get_by_role("button", name="Copied Matrix ID")).to_be_visible()
    assert phone.evaluate("navigator.clipboard.readText()") == user_id
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    assert findings(phone) == []
    phone.reload()
    expect(phone.get_by_text(user_id)).to_be_visible()
    assert hosts == {stage.url.split("/")[2]}


def test_without_scripts_the_page_works_all_the_same(browser: Browser, stage: Stage) -> None:
    client = stage.do(stage.cast.client())
    with page_of(browser, stage, java_script_enabled=False) as page:
        page.goto(stage.url + stage.do(_link(stage, client)))
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_role("button", name="Set password").click()
        expect(page.get_by_role("heading", name="Setting up your account")).to_be_visible()
        user_id = stage.do(_bring(stage, client))
        expect(page.get_by_text(user_id)).to_be_visible(timeout=10_000)  # the page asks again by itself


def test_a_therapist_goes_on_to_sign_in(browser: Browser, stage: Stage) -> None:
    therapist = stage.do(stage.cast.therapist())
    with page_of(browser, stage) as page:
        page.goto(stage.url + stage.do(_link(stage, therapist)))
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_role("button", name="Set password").click()
        page.get_by_role("link", name="Go to sign in").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
