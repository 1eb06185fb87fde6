"""Client Care's deleted messages, and the administrator's audit trail; refused to everybody else."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from bridge import audit, messages
from bridge.audit import Did
from bridge.database import transaction
from policies.vocabulary import EntryId, Role
from portal import care, trail
from portal.trail import WORDS
from tests.portal.scene import Scene, Visit


async def deleted(scene: Scene, text: str = "For nobody else") -> EntryId:
    entry = await scene.cast.say(scene.sara, scene.thread, text)
    async with transaction(scene.cast.pool) as tx:
        await messages.delete(
            tx, scene.cast.keyring, author=scene.sara.id, conversation=scene.thread, entry=entry,
            at=datetime.now(UTC),
        )  # fmt: skip
    return entry


async def somebody(scene: Scene, role: Role, first: str = "Ida") -> Visit:
    return await scene.visit(await scene.cast.person(role, first, "Berg"))


async def test_client_care_sees_what_was_deleted_and_brings_it_back(scene: Scene) -> None:
    entry = await deleted(scene, "See you on **Thursday**")
    ida, sara = await somebody(scene, Role.CLIENT_CARE), await scene.visit(scene.sara)
    page = (await ida.get("/deleted"))[1]
    assert "<strong>Thursday</strong>" in page
    assert "“<bdi>Amina Yusuf</bdi>”" in page
    assert "deleted by its author" in page
    assert "You deleted this message" in (await sara.get(f"/chat/{scene.thread}"))[1]
    assert (await ida.post(f"/deleted/{entry}/restore"))[0] == 303
    assert "Thursday" not in (await ida.get("/deleted?restored=1"))[1]
    timeline = (await sara.get(f"/chat/{scene.thread}"))[1]
    assert "<strong>Thursday</strong>" in timeline
    assert "Restored by Client Care" in timeline
    status, words = await ida.post(f"/deleted/{entry}/restore")
    assert (status, "isn’t deleted any more" in words) == (422, True)
    async with transaction(scene.cast.pool) as tx:
        did = [row.action for row in await audit.page(tx, conversation=scene.thread)]
    assert Did.SAW_DELETED in did
    assert Did.RESTORED in did


@pytest.mark.parametrize("role", [Role.THERAPIST, Role.TEAM_MEMBER, Role.ADMINISTRATOR])
async def test_nobody_else_sees_or_restores_a_deleted_message(scene: Scene, role: Role) -> None:
    entry = await deleted(scene)
    visit = await somebody(scene, role)
    for answer in (
        await visit.get("/deleted"),
        await visit.post(f"/deleted/{entry}/restore"),
        await visit.post(f"/deleted/{uuid4()}/restore"),
    ):
        assert answer[0] == 403
        assert "Client Care" in answer[1]
        assert "For nobody else" not in answer[1]
    assert 'href="/deleted"' not in (await visit.get("/chat?list"))[1]
    outside = scene.app.test_client()
    assert (await outside.get("/deleted")).status_code == 303
    assert (await outside.post(f"/deleted/{entry}/restore")).status_code == 401
    ida = await somebody(scene, Role.CLIENT_CARE)
    assert (await ida.client.post(f"/deleted/{entry}/restore")).status_code == 403


async def test_deleted_messages_are_paged(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(care, "PAGE", 2)
    entries = [await deleted(scene, f"Message {n}") for n in range(3)]
    ida = await somebody(scene, Role.CLIENT_CARE)
    first = (await ida.get("/deleted"))[1]
    assert [f"d-{entry}" in first for entry in entries] == [False, True, True]
    more = re.search(r'href="(/deleted\?before=[^"]+)"', first)
    assert more
    rest = (await ida.get(more[1]))[1]
    assert [f"d-{entry}" in rest for entry in entries] == [True, False, False]
    for bad in ("yesterday", "1_2", "1e400_", f"nan_{uuid4()}", "x" * 99):
        assert (await ida.get(f"/deleted?before={bad}"))[0] == 400, bad


async def test_the_trail_says_who_did_what_and_nothing_of_what_was_said(scene: Scene) -> None:
    alex = await somebody(scene, Role.ADMINISTRATOR, "Alex")
    sara = await scene.visit(scene.sara)
    await sara.post(f"/chat/{scene.thread}/messages", text="A secret", request_id=str(uuid4()))
    await sara.post(f"/chat/{scene.thread}/title", title="Hidden title")
    page = (await alex.get("/audit"))[1]
    for words in ("Wrote a message", "Changed a title", "Dr. Sara Khan", scene.thread.hex[:8]):
        assert words in page
    for content in ("A secret", "Hidden title", "For nobody else"):
        assert content not in page
    only = (await alex.get(f"/audit?action=renamed&actor={scene.sara.id}"))[1]
    rows = only.split("<tbody")[1]
    assert "Changed a title" in rows
    assert "Wrote a message" not in rows
    assert (
        "Nothing of this kind has been recorded." in (await alex.get(f"/audit?actor={scene.charlie.id}"))[1]
    )
    here = (await alex.get(f"/audit?conversation={scene.thread}"))[1].split("<tbody")[1]
    assert "Signed in" not in here


async def test_the_chain_can_be_checked_and_says_where_it_breaks(scene: Scene) -> None:
    alex = await somebody(scene, Role.ADMINISTRATOR, "Alex")
    assert "Nothing is linked yet" in (await alex.post("/audit/check"))[1]
    async with transaction(scene.cast.pool) as tx:
        linked = await audit.link(tx, scene.cast.keyring)
    assert linked
    assert f"All {linked[0]:,} entries hold." in (await alex.post("/audit/check"))[1]
    assert str(linked[1]) in (await alex.get("/audit"))[1]
    async with scene.cast.pool.acquire() as connection:
        await connection.execute("ALTER TABLE audit DISABLE TRIGGER ALL")
        await connection.execute("UPDATE audit SET action = 'read' WHERE place = 2")
    broken = (await alex.post("/audit/check"))[1]
    assert "The trail doesn’t hold: entry 2 was altered" in broken


@pytest.mark.parametrize("role", [Role.THERAPIST, Role.TEAM_MEMBER, Role.CLIENT_CARE])
async def test_the_trail_is_the_administrators_alone(scene: Scene, role: Role) -> None:
    visit = await somebody(scene, role)
    for answer in (await visit.get("/audit"), await visit.post("/audit/check")):
        assert (answer[0], "for administrators only" in answer[1]) == (403, True)
    outside = scene.app.test_client()
    assert (await outside.get("/audit")).status_code == 303
    assert (await outside.post("/audit/check")).status_code == 401
    alex = await somebody(scene, Role.ADMINISTRATOR, "Alex")
    assert (await alex.client.post("/audit/check")).status_code == 403


async def test_the_trail_is_paged_and_odd_filters_are_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "PAGE", 3)
    alex = await somebody(scene, Role.ADMINISTRATOR, "Alex")
    address, seen = "/audit?action=wrote", 0
    for n in range(4):
        await scene.cast.say(scene.amina, scene.thread, str(n), timedelta(minutes=n))
    for _ in range(9):
        page = (await alex.get(address))[1]
        seen += page.split("<tbody")[1].count("Wrote a message")
        more = re.search(r'href="(/audit\?[^"]*before=[^"]+)"', page)
        if more is None:
            break
        address = more[1].replace("&amp;", "&")
    assert seen == 5
    for bad in ("action=danced", "before=-1", "before=x", f"before={10**30}", "actor=me", "conversation=1"):
        assert (await alex.get(f"/audit?{bad}"))[0] == 400, bad


def test_everything_that_is_recorded_has_words() -> None:
    assert set(WORDS) == set(Did)
