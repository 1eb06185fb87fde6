"""Settings in a browser: what is in force, and switching off after a question."""

from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from policies.vocabulary import Role
from tests.portal.stage import Stage, enter, page_of
from tests.portal.test_accessible import SIZES, findings


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_settings_pages(
    browser: Browser, stage: Stage, size: str, scheme: Literal["light", "dark"]
) -> None:
    ida = stage.do(stage.cast.person(Role.CLIENT_CARE, "Ida", "Berg"))
    last = f"Y{size}{scheme}"
    stage.do(stage.cast.client("Adam", last))
    width, height = SIZES[size]
    with page_of(browser, stage, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
        enter(page, stage, ida)
        page.goto("/settings")
        assert findings(page) == []
        page.get_by_role("link", name="Chat", exact=True).last.click()
        page.get_by_label("Search clients").fill(last)
        page.get_by_role("link", name=f"Adam {last}").click()
        expect(page.get_by_text("Direct messaging is on for everyone.")).to_be_visible()
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        switch = page.get_by_role("group", name=f"Direct messaging, Adam {last}")
        switch.get_by_role("button", name="Off").click()
        dialog = page.locator("#ask-dialog")
        expect(dialog).to_contain_text("They keep what they could read")
        assert findings(page) == []
        dialog.get_by_role("button", name="Switch off").click()
        expect(page.get_by_text("Direct messaging is off for this client.")).to_be_visible()
        switch.get_by_role("button", name="Not set here").click()
        expect(page.get_by_text("Direct messaging is on for everyone.")).to_be_visible()
