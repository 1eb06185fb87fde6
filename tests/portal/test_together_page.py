"""Two therapists and somebody of Client Care at work at the same time, each with their own page open."""

from datetime import UTC, datetime

from playwright.sync_api import Browser, Page, expect

from bridge import communities
from bridge.database import Transaction
from policies.vocabulary import ConversationId, Role
from tests.portal.stage import Stage, enter, page_of


def write(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".is-pending")).to_have_count(0)


def test_what_one_does_the_others_see(browser: Browser, stage: Stage) -> None:
    cast = stage.cast
    sara, david = stage.do(cast.therapist()), stage.do(cast.therapist("David", "Cohen"))
    ida = stage.do(cast.person(Role.CLIENT_CARE, "Ida", "Berg"))
    amina, adam = stage.do(cast.client(of=sara)), stage.do(cast.client("Adam", "Young", of=sara))

    async def start(tx: Transaction) -> ConversationId:
        made = await communities.start(
            tx, cast.keyring, actor=sara, others=[amina.id, adam.id, david.id], told=True,
            title="Mondays", at=datetime.now(UTC),
        )  # fmt: skip
        await tx.execute("UPDATE leg SET state = 'open', hold = NULL WHERE conversation_id = $1", made)
        return made

    group = stage.do(cast.in_transaction(start))
    with page_of(browser, stage) as saras, page_of(browser, stage) as davids, page_of(browser, stage) as idas:
        enter(saras, stage, sara, f"/chat/{group}")
        enter(davids, stage, david, f"/chat/{group}")
        # Client Care isn't in the group: she finds only the lines of the therapists to her team.
        enter(idas, stage, ida, "/chat?list")
        expect(idas.locator("#rows")).not_to_contain_text("Mondays")
        write(saras, "Shall we move to Tuesday?")
        write(davids, "Yes, please")
        stage.do(cast.say(adam, group, "Fine for me"))
        for page in (saras, davids):
            expect(page.locator(".message")).to_have_count(3)
            expect(page.get_by_role("log")).to_contain_text("Fine for me")
        line = davids.locator(".message.is-own")
        line.hover()
        line.get_by_role("button", name="Delete").click()
        davids.get_by_role("button", name="Delete message").click()
        expect(saras.get_by_role("log")).to_contain_text("Message deleted by Dr. David Cohen")
        idas.get_by_role("link", name="Deleted").click()
        card = idas.locator(".card-deleted", has_text="Yes, please")
        card.get_by_role("button", name="Restore …").click()
        idas.get_by_role("button", name="Restore message").click()
        for page in (saras, davids):
            expect(page.get_by_role("log")).to_contain_text("Restored by Client Care")
            expect(page.get_by_role("log")).to_contain_text("Yes, please")
        saras.get_by_role("button", name="Details").click()
        saras.get_by_role("button", name="Remove Dr. David Cohen").click()
        saras.get_by_role("button", name="Remove David").click()
        expect(saras.get_by_role("log")).to_contain_text("Dr. David Cohen was removed")
        # His page lets the conversation go by itself.
        expect(davids.locator(f"#row-{group}")).to_have_count(0)
        expect(davids).not_to_have_url(f"{stage.url}/chat/{group}")
        expect(davids.locator("body")).not_to_contain_text("Shall we move")
