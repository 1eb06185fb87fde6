"""Beginning something with several: whom one may choose, what is confirmed, and that it begins once."""

import asyncio
import re
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from bridge import blasts, chat_settings, client_groups, people
from bridge.database import transaction
from policies.chat_settings import Level, Switch
from policies.vocabulary import ConversationId, Person, PersonStatus, Role
from tests.portal.scene import Scene, Visit

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def listed(*people: Person) -> str:
    return ",".join(str(person.id) for person in people)


async def group(scene: Scene, name: str, *members: Person) -> UUID:
    async with transaction(scene.cast.pool) as tx:
        made, _ = await client_groups.put(tx, scene.cast.keyring, platform_id=uuid4().hex, name=name)
        await client_groups.set_members(tx, made, [member.id for member in members])
    return made


async def switch_off(scene: Scene, client: Person, *switches: Switch) -> None:
    async with transaction(scene.cast.pool) as tx:
        for switch in switches:
            await chat_settings.change(
                tx, actor=scene.sara.id, switch=switch, level=Level.CLIENT, subject=client.id, on=False
            )


async def conversations(scene: Scene, kind: str) -> int:
    async with scene.cast.pool.acquire() as connection:
        found: int = await connection.fetchval("SELECT count(*) FROM conversation WHERE kind = $1", kind)
    return found


async def sent_blast(scene: Scene, visit: Visit, *clients: Person, carried: int = 99) -> str:
    """Its address."""
    act = str(uuid4())
    answer = await visit.client.post(
        "/blasts", form={"people": listed(*clients), "text": "Closed on Monday", "request_id": act},
        headers={"X-CSRF-Token": visit.csrf, "HX-Request": "true", "Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    assert answer.status_code == 201
    for _ in range(carried):
        async with transaction(scene.cast.pool) as tx:
            if not await blasts.next_recipient(tx, scene.cast.keyring, at=NOW):
                break
    return str(answer.headers["Location"])


async def test_new_offers_ones_clients_their_groups_and_the_team(scene: Scene) -> None:
    adam = await scene.cast.client("Adam", "Young", of=scene.sara)
    theirs = await scene.cast.client("Somebody", "Elses", of=scene.charlie)
    await group(scene, "Evening", scene.amina, theirs)
    await group(scene, "Nobody of hers", theirs)
    await group(scene, "Empty")
    status, page = await (await scene.visit(scene.sara)).post("/people", query="")
    assert status == 200
    for name in ("Adam Young", "Amina Yusuf", "Evening", "Dr. Charlie Brown", "All my active clients"):
        assert name in page
    for name in ("Elses", "Nobody of hers", "Empty", str(theirs.id)):
        assert name not in page
    assert f'data-members="{scene.amina.id}"' in page
    found = (await (await scene.visit(scene.sara)).post("/people", query="ada"))[1]
    assert str(adam.id) in found
    assert str(scene.amina.id) not in found


async def test_a_client_whose_chat_is_off_is_shown_greyed_with_the_reason(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    await switch_off(scene, scene.amina, Switch.DIRECT_MESSAGING)
    page = (await sara.post("/people", query="amina"))[1]
    assert "Amina’s direct messaging is off. A community chat is possible." in page
    assert "aria-disabled" not in page
    await switch_off(scene, scene.amina, Switch.COMMUNITY_CHAT)
    assert 'aria-disabled="true"' in (await sara.post("/people", query="amina"))[1]


async def test_an_administrator_is_offered_colleagues_only_and_refused_the_rest(scene: Scene) -> None:
    alex = await scene.visit(await scene.cast.person(Role.ADMINISTRATOR, "Alex", "Marsh"))
    page = (await alex.post("/people", query=""))[1]
    assert "Amina" not in page
    assert "Dr. Sara Khan" in page
    people = listed(scene.amina, scene.sara)
    for path in ("/chat/new", "/new/community/preview", "/new/community", "/blasts"):
        status, words = await alex.post(path, people=people, person=str(scene.amina.id), text="x", told="1")
        assert (status, "started by therapists and the team" in words) == (403, True), path
    assert (await alex.post("/new/staff", people=listed(scene.sara)))[0] == 201


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/new/staff", {}),
        ("/new/community/preview", {}),
        ("/new/community", {"told": "1"}),
        ("/new/blast", {}),
        ("/new/blast/preview", {"text": "x"}),
        ("/blasts", {"text": "x"}),
    ],
)
async def test_somebody_elses_client_and_nobody_are_refused_alike(
    scene: Scene, path: str, more: dict[str, str]
) -> None:
    charlie = await scene.visit(scene.charlie)
    theirs = await charlie.post(path, people=f"{scene.amina.id}", **more)
    assert theirs == await charlie.post(path, people=str(uuid4()), **more)
    assert theirs[0] == 422
    assert "Amina" not in theirs[1]
    assert (await charlie.client.post(path, form={"people": str(scene.amina.id)})).status_code == 403


async def test_a_community_chat_needs_the_confirmation_and_begins_once(scene: Scene) -> None:
    adam = await scene.cast.client("Adam", "Young", of=scene.sara)
    sara, people, act = await scene.visit(scene.sara), listed(scene.amina, adam), str(uuid4())
    preview = (await sara.post("/new/community/preview", people=people))[1]
    assert "I have told each of these 2 clients that others take part" in preview
    assert "Amina Yusuf" in preview
    assert "Adam Young" in preview
    status, words = await sara.post("/new/community", people=people, request_id=act)
    assert (status, words) == (
        403, "Please confirm first that every client has been told that others take part."
    )  # fmt: skip
    for _ in range(2):
        assert (await sara.post("/new/community", people=people, told="1", title="Mondays", request_id=act))[
            0
        ] == 201
    assert await conversations(scene, "community") == 1
    async with scene.cast.pool.acquire() as connection:
        told = await connection.fetchrow("SELECT told_by, told_at FROM conversation WHERE kind = 'community'")
    assert told["told_by"] == scene.sara.id
    assert told["told_at"] is not None
    assert "Mondays" in (await sara.post("/chat/list"))[1]


async def test_who_cannot_join_is_left_out_of_the_preview_and_named(scene: Scene) -> None:
    adam = await scene.cast.client("Adam", "Young", of=scene.sara)
    await switch_off(scene, adam, Switch.COMMUNITY_CHAT)
    sara = await scene.visit(scene.sara)
    page = (await sara.post("/new/community/preview", people=listed(scene.amina, adam)))[1]
    assert "Adam’s community chat is off. Adam Young is left out." in page
    assert f'data-person="{adam.id}"' not in page
    status, words = await sara.post("/new/community", people=listed(scene.amina, adam), told="1")
    assert (status, words) == (403, "Adam’s community chat is off.")


async def test_a_blast_is_previewed_with_every_name_and_goes_out_once(scene: Scene) -> None:
    adam = await scene.cast.client("Adam", "Young", of=scene.sara)
    sara, act = await scene.visit(scene.sara), str(uuid4())
    page = (await sara.post("/new/blast", all="1", without=str(adam.id)))[1]
    assert "Amina Yusuf" in page
    assert "Adam" not in page
    people = listed(scene.amina, adam)
    preview = (await sara.post("/new/blast/preview", people=people, text="**Closed**", title="Monday"))[1]
    assert "Send this to 2 clients?" in preview
    assert "<strong>Closed</strong>" in preview
    for _ in range(2):
        assert (await sara.post("/blasts", people=people, text="Closed", request_id=act))[0] == 201
    async with scene.cast.pool.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM blast") == 1
    assert (await sara.post("/new/blast/preview", people=people, text=" "))[0] == 422
    assert (await sara.post("/new/blast/preview", people=people, text="x", title="t" * 200))[0] == 422


async def test_a_blast_names_whom_it_will_skip(scene: Scene) -> None:
    await switch_off(scene, scene.amina, Switch.DIRECT_MESSAGING)
    page = (await (await scene.visit(scene.sara)).post("/new/blast", people=listed(scene.amina)))[1]
    assert "Amina’s direct messaging is off, so this blast will skip Amina." in page


async def test_a_blasts_page_is_its_senders_alone(scene: Scene) -> None:
    sara, charlie = await scene.visit(scene.sara), await scene.visit(scene.charlie)
    address = await sent_blast(scene, sara, scene.amina)
    elsewhere = f"/blasts/{uuid4()}"
    for path in ("", "/progress"):
        for fragment in (False, True):
            theirs = await charlie.get(address + path, fragment)
            assert theirs == await charlie.get(elsewhere + path, fragment)
            assert theirs[0] == 404
    for path in ("/stop", "/archive"):
        assert (await charlie.post(address + path))[0] == 404
        assert (await scene.app.test_client().post(address + path)).status_code == 401
        assert (await sara.client.post(address + path)).status_code == 403
    assert (await sara.get(address))[0] == 200


async def test_stopping_leaves_the_rest_out_and_says_so(scene: Scene) -> None:
    clients = [await scene.cast.client(f"Client{n}", "Doe", of=scene.sara) for n in range(3)]
    sara = await scene.visit(scene.sara)
    address = await sent_blast(scene, sara, *clients, carried=1)
    assert "Reaching 1 of 3 people" in (await sara.get(f"{address}/progress"))[1]
    for _ in range(2):
        status, page = await sara.post(f"{address}/stop")
        assert status == 200
        assert "Stopped. 1 of 3 people got it." in page
        assert len(re.findall("you stopped the blast", page)) == 2


async def test_a_finished_blast_says_what_became_of_it_for_each(scene: Scene) -> None:
    adam = await scene.cast.client("Adam", "Young", of=scene.sara)
    sara = await scene.visit(scene.sara)
    address = await sent_blast(scene, sara, scene.amina, adam, carried=0)
    await switch_off(scene, adam, Switch.DIRECT_MESSAGING)
    for _ in range(2):
        async with transaction(scene.cast.pool) as tx:
            await blasts.next_recipient(tx, scene.cast.keyring, at=NOW)
    page = (await sara.get(address))[1]
    assert "Sent to 1 of 2 people" in page
    assert "Waiting: Amina hasn’t signed in to chat yet" in page
    assert "Skipped: Adam’s chat is off" in page
    thread = re.search(r'href="/chat/([0-9a-f-]{36})" hx-get', page)
    assert thread
    async with scene.cast.pool.acquire() as connection:
        await connection.execute("UPDATE leg SET hold = NULL, state = 'open'")
    conversation = ConversationId(UUID(thread[1]))
    await scene.cast.carried(conversation)
    assert "Delivered" in (await sara.get(f"{address}/progress"))[1]
    await scene.cast.say(scene.amina, conversation, "Thank you")
    assert "Answered" in (await sara.get(f"{address}/progress"))[1]


async def test_a_chat_of_several_colleagues_begins_once(scene: Scene) -> None:
    tom = await scene.cast.person(Role.TEAM_MEMBER, "Tom", "Reed")
    sara, act = await scene.visit(scene.sara), str(uuid4())
    for _ in range(2):
        assert (await sara.post("/new/staff", people=listed(tom, scene.charlie), request_id=act))[0] == 201
    assert await conversations(scene, "staff") == 1
    status, words = await sara.post("/new/staff", people=listed(tom, scene.amina))
    assert (status, words) == (
        403, "This conversation is for the team only, so clients can’t be part of it."
    )  # fmt: skip


async def test_a_blast_of_somebody_who_left_the_practice_reaches_nobody_more(scene: Scene) -> None:
    clients = [await scene.cast.client(f"Client{n}", "Doe", of=scene.sara) for n in range(3)]
    await sent_blast(scene, await scene.visit(scene.sara), *clients, carried=1)
    async with transaction(scene.cast.pool) as tx:
        await people.update(tx, scene.cast.keyring, scene.sara.id, status=PersonStatus.ARCHIVED)
    for _ in range(3):
        async with transaction(scene.cast.pool) as tx:
            await blasts.next_recipient(tx, scene.cast.keyring, at=NOW)
    states = await scene.cast.pool.fetch("SELECT state FROM blast_recipient ORDER BY place")
    assert [row["state"] for row in states] == ["started", "stopped", "stopped"]
    assert await scene.cast.pool.fetchval("SELECT state FROM blast") == "stopped"


async def test_stopping_waits_for_who_is_being_reached_and_neither_fails(scene: Scene) -> None:
    clients = [await scene.cast.client(f"Client{n}", "Doe", of=scene.sara) for n in range(2)]
    sara, pool = await scene.visit(scene.sara), scene.cast.pool
    address = await sent_blast(scene, sara, *clients, carried=0)
    async with transaction(pool) as reaching:
        await reaching.execute("SELECT FROM blast_recipient WHERE place = 0 FOR UPDATE")
        stopping = asyncio.create_task(sara.post(f"{address}/stop"))
        await asyncio.sleep(0.3)
        # As `next_recipient` does, with the recipient in its hands.
        await reaching.execute("SELECT FROM blast FOR SHARE")
        await reaching.execute("UPDATE blast_recipient SET state = 'started' WHERE place = 0")
    status, page = await stopping
    assert (status, "Stopped. 1 of 2 people got it." in page) == (200, True)
