"""Settings: one's own notifications, and the chat's switches with what they come to for a client."""

from typing import Any
from uuid import uuid4

import pytest

from bridge import chat_settings, client_groups, notifications
from bridge.database import transaction
from policies.chat_settings import Switch
from policies.notifying import Settings
from policies.vocabulary import Person, Role
from tests.portal.scene import Scene
from tests.portal.stage import COOKIE
from tests.portal.test_live import current, socket, told

DIRECT = {"switch": "direct_messaging", "level": "everyone"}


async def in_force(scene: Scene, client: Person, switch: Switch = Switch.DIRECT_MESSAGING) -> bool:
    async with transaction(scene.cast.pool) as tx:
        found = await chat_settings.in_force(tx, scene.cast.keyring, [client.id], switch)
    return found[client.id].on


async def grouped(scene: Scene, name: str, *clients: Person) -> Any:
    async with transaction(scene.cast.pool) as tx:
        group, _ = await client_groups.put(tx, scene.cast.keyring, platform_id=uuid4().hex, name=name)
        await client_groups.set_members(tx, group, [client.id for client in clients])
    return group


@pytest.fixture
async def ida(scene: Scene) -> Person:
    return await scene.cast.person(Role.CLIENT_CARE, "Ida", "Berg")


@pytest.mark.parametrize("role", [Role.CLIENT_CARE, Role.ADMINISTRATOR])
async def test_client_care_and_administrators_change_the_switches(scene: Scene, role: Role) -> None:
    visit = await scene.visit(await scene.cast.person(role, "Ida", "Berg"))
    question = (await visit.get("/settings/chat/off?switch=direct_messaging&level=everyone", True))[1]
    assert "Switch direct messaging off for everyone?" in question
    assert "1 client keeps what they could read, and" in question
    for _ in range(2):
        assert (await visit.post("/settings/chat", **DIRECT, on="0"))[0] == 201
    assert not await in_force(scene, scene.amina)
    assert (await visit.post("/settings/chat", **DIRECT, on="1"))[0] == 201
    assert await in_force(scene, scene.amina)


async def test_a_therapist_sees_what_holds_and_changes_nothing(scene: Scene, ida: Person) -> None:
    theirs = await scene.cast.client("Somebody", "Elses", of=scene.charlie)
    await grouped(scene, "Evening", scene.amina)
    await grouped(scene, "Not hers", theirs)
    sara = await scene.visit(scene.sara)
    status, page = await sara.get(f"/settings/chat?client={scene.amina.id}")
    assert status == 200
    assert "Direct messaging is on for everyone." in page
    assert "Evening" in page
    assert "Not hers" not in page
    assert '<button class="segment' not in page
    assert "Elses" not in (await sara.get(f"/settings/chat?client={theirs.id}"))[1]
    assert "Elses" not in (await sara.post("/settings/chat/clients", query="some"))[1]
    for answer in (
        await sara.post("/settings/chat", **DIRECT, on="0"),
        await sara.get("/settings/chat/off?switch=direct_messaging&level=everyone", True),
    ):
        assert (answer[0], "changed by Client Care or an administrator" in answer[1]) == (403, True)
    assert await in_force(scene, scene.amina)


async def test_the_nearest_setting_wins_and_the_page_says_which(scene: Scene, ida: Person) -> None:
    adam = await scene.cast.client("Adam", "Young", of=scene.sara)
    group = await grouped(scene, "Evening", scene.amina, adam)
    visit, where = await scene.visit(ida), f"/settings/chat?client={scene.amina.id}"
    switch = {"switch": "direct_messaging"}
    await visit.post("/settings/chat", **switch, level="client", subject=str(scene.amina.id), on="1")
    address = f"/settings/chat/off?switch=direct_messaging&level=group&subject={group}"
    question = (await visit.get(address, True))[1]
    assert "Switch direct messaging off for “Evening”?" in question
    assert "1 client keeps it on, by a nearer setting." in question
    await visit.post("/settings/chat", **switch, level="group", subject=str(group), on="0")
    page = (await visit.get(where))[1]
    assert "Direct messaging is on for this client." in page
    assert "Direct messaging on" in page  # among those with a setting of their own
    await visit.post("/settings/chat", **switch, level="client", subject=str(scene.amina.id), on="")
    assert "Direct messaging is off for the group “Evening”." in (await visit.get(where))[1]
    assert not await in_force(scene, adam)


async def test_what_no_page_of_ours_asks_is_refused(scene: Scene, ida: Person) -> None:
    visit, somebody = await scene.visit(ida), str(uuid4())
    for bad, status in (
        ({"switch": "video", "level": "everyone", "on": "0"}, 400),
        ({"switch": "direct_messaging", "level": "planet", "on": "0"}, 400),
        ({"switch": "direct_messaging", "level": "client", "on": "0"}, 400),
        ({"switch": "direct_messaging", "level": "everyone", "subject": somebody, "on": "0"}, 400),
        ({"switch": "direct_messaging", "level": "everyone", "on": ""}, 400),
        ({"switch": "direct_messaging", "level": "everyone", "on": "maybe"}, 400),
        ({"switch": "direct_messaging", "level": "client", "subject": somebody, "on": "0"}, 404),
        ({"switch": "direct_messaging", "level": "group", "subject": somebody, "on": "0"}, 404),
        ({"switch": "direct_messaging", "level": "client", "subject": str(scene.sara.id), "on": "0"}, 404),
    ):
        assert (await visit.post("/settings/chat", **bad))[0] == status, bad
    assert (await visit.client.post("/settings/chat", form=DIRECT)).status_code == 403
    outside = scene.app.test_client()
    for path in ("/settings", "/settings/chat"):
        assert (await outside.get(path)).status_code == 303
    for path in ("/settings/chat", "/settings/chat/clients", "/settings/notifications"):
        assert (await outside.post(path)).status_code == 401


async def test_ones_own_notifications_are_kept_switch_by_switch(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    assert (await sara.post("/settings/notifications", about="direct,community", direct="1"))[0] == 204
    assert (await sara.post("/settings/notifications", about="browser"))[0] == 204
    assert (await sara.post("/settings/notifications", about="nonsense", nonsense="1"))[0] == 204
    async with transaction(scene.cast.pool) as tx:
        kept = await notifications.settings(tx, scene.sara.id)
        charlies = await notifications.settings(tx, scene.charlie.id)
    assert kept == Settings(direct=True, community=False, email=True, browser=False)
    assert charlies == Settings()
    page = (await sara.get("/settings"))[1]
    assert page.count(" checked") == 2


async def test_a_page_is_told_to_notify_of_messages_only_and_only_if_wanted(scene: Scene) -> None:
    mark = await current(scene)
    query = {"conversation": "", "mark": mark, "notifies": "1"}
    cookie = {"Cookie": f"{COOKIE}={await scene.cast.session(scene.sara)}"}
    async with scene.app.test_client().websocket("/live", headers=cookie, query_string=query) as page:
        await scene.cast.say(scene.amina, scene.thread, "Are you there?")
        changes = await told(page)
        assert ["notify", str(scene.thread)] in changes
        await scene.cast.say(scene.sara, scene.thread, "Yes")
        assert all(change[0] != "notify" for change in await told(page))
        sara = await scene.visit(scene.sara)
        await sara.post(f"/chat/{scene.thread}/notifications")
        await scene.cast.say(scene.amina, scene.thread, "Good")
        assert all(change[0] != "notify" for change in await told(page))
    mark = await current(scene)
    async with socket(scene, scene.sara, mark) as quiet:
        await scene.cast.say(scene.amina, scene.thread, "And now?")
        assert all(change[0] != "notify" for change in await told(quiet))
