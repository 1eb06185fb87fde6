"""The members panel and what is done with a conversation as a whole: asked first, by whom it may be."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from bridge import communities
from bridge.database import transaction
from policies.vocabulary import ConversationId, Person, Role
from tests.portal.scene import Scene, Visit

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


class Group:
    """Sara's community chat with Amina, Adam and her colleague Tom."""

    def __init__(self, scene: Scene, adam: Person, tom: Person, id_: ConversationId) -> None:
        self.scene, self.adam, self.tom, self.id = scene, adam, tom, id_
        self.address = f"/chat/{id_}"

    async def sql(self, query: str) -> object:
        async with self.scene.cast.pool.acquire() as connection:
            return await connection.fetchval(query, self.id)

    async def visit(self, person: Person) -> Visit:
        return await self.scene.visit(person)

    def remove(self, person: Person) -> str:
        return f"{self.address}/members/{person.id}/remove"


@pytest.fixture
async def group(scene: Scene) -> Group:
    adam = await scene.cast.client("Adam", "Young", of=scene.sara)
    tom = await scene.cast.person(Role.TEAM_MEMBER, "Tom", "Reed")
    async with transaction(scene.cast.pool) as tx:
        made = await communities.start(
            tx, scene.cast.keyring, actor=scene.sara, others=[scene.amina.id, adam.id, tom.id], told=True,
            at=NOW,
        )  # fmt: skip
        await tx.execute("UPDATE leg SET state = 'open', hold = NULL WHERE conversation_id = $1", made)
    await scene.cast.say(scene.sara, made, "Welcome")
    await scene.cast.say(tom, made, "From me too")
    await scene.cast.say(adam, made, "Hello")
    await scene.cast.carried(made)
    return Group(scene, adam, tom, made)


ASKED = ("/members/add", "/members/{adam}/remove", "/close")
DONE = (
    "/members/offered", "/members/preview", "/members", "/members/{adam}/remove", "/members/{adam}/invite",
    "/close",
)  # fmt: skip
ANY_MEMBERS = ("/archive", "/notifications", "/leave")


async def test_only_the_organiser_is_shown_what_changes_a_roster(group: Group, scene: Scene) -> None:
    for person, sees in ((scene.sara, True), (group.tom, False)):
        page = (await (await group.visit(person)).get(group.address))[1]
        for name in ("Dr. Sara Khan", "Amina Yusuf", "Adam Young", "Tom Reed"):
            assert name in page
        assert (f'data-asks="{group.remove(group.adam)}"' in page) is sees
        assert ("/members/add" in page) is sees
        assert (f"{group.address}/close" in page) is sees
        assert (f"{group.address}/leave" in page) is not sees


async def test_a_member_who_isnt_the_organiser_is_refused_in_words(group: Group) -> None:
    tom = await group.visit(group.tom)
    answers = [await tom.get(group.address + path.format(adam=group.adam.id), True) for path in ASKED]
    answers += [
        await tom.post(group.address + path.format(adam=group.adam.id), people=str(uuid4()), told="1")
        for path in DONE
    ]
    for status, words in answers:
        assert status == 403
        assert "Only the person who started this conversation can" in words
    assert (
        await group.sql("SELECT count(*) FROM member WHERE conversation_id = $1 AND removed_at IS NULL") == 4
    )


async def test_an_outsider_gets_the_answer_for_what_does_not_exist(group: Group, scene: Scene) -> None:
    charlie = await group.visit(scene.charlie)

    async def answers(address: str) -> list[tuple[int, str]]:
        gets = [await charlie.get(address + p.format(adam=group.adam.id)) for p in (*ASKED, "/leave")]
        posts = [
            await charlie.post(address + p.format(adam=group.adam.id), people=str(scene.amina.id), told="1")
            for p in (*DONE, *ANY_MEMBERS)
        ]
        return gets + posts

    theirs = await answers(group.address)
    assert theirs == await answers(f"/chat/{uuid4()}")
    assert {status for status, _ in theirs} == {404}


async def test_without_session_or_token_nothing_changes(group: Group, scene: Scene) -> None:
    sara = await group.visit(scene.sara)
    for path in (*DONE, *ANY_MEMBERS):
        address = group.address + path.format(adam=group.adam.id)
        assert (await scene.app.test_client().post(address)).status_code == 401
        assert (await sara.client.post(address, form={"csrf": "guess"})).status_code == 403


async def test_a_removal_says_in_numbers_what_it_does_and_is_followed(group: Group, scene: Scene) -> None:
    sara = await group.visit(scene.sara)
    question = (await sara.get(group.remove(group.adam), True))[1]
    assert "This removes 2 messages from Adam’s chat app" in question
    assert "offline may still show what it loaded before" in question
    assert "last client" not in question
    for _ in range(2):
        assert (await sara.post(group.remove(group.adam)))[0] == 204
    assert await group.sql("SELECT count(*) FROM revocation WHERE conversation_id = $1") == 1
    await group.sql("UPDATE leg SET room_id = '!x' WHERE conversation_id = $1 AND state = 'ended'")
    await group.sql("UPDATE revocation SET events = 2, redacted = 1 WHERE conversation_id = $1")
    page = (await sara.get(group.address))[1]
    assert "1 of 2 messages taken back" in page
    assert "Adam Young was removed" in page
    # What he wrote keeps his name.
    assert "Adam Young:" in page or ">Adam Young<" in page


async def test_a_colleague_who_is_removed_loses_the_conversation(group: Group, scene: Scene) -> None:
    sara, tom = await group.visit(scene.sara), await group.visit(group.tom)
    assert "Tom can’t open this conversation any more" in (await sara.get(group.remove(group.tom), True))[1]
    assert (await sara.post(group.remove(group.tom)))[0] == 204
    assert (await tom.get(group.address))[0] == 404
    assert "Welcome" not in (await tom.post("/chat/list"))[1]


async def test_removing_the_last_client_closes_and_that_is_said_before(group: Group, scene: Scene) -> None:
    sara = await group.visit(scene.sara)
    await sara.post(group.remove(group.adam))
    question = (await sara.get(group.remove(scene.amina), True))[1]
    assert "Amina is the last client in it, so the community chat closes for everybody." in question
    await sara.post(group.remove(scene.amina))
    page = (await sara.get(group.address))[1]
    assert "This conversation is closed. It can still be read" in page
    assert 'id="message-box"' not in page
    assert (await sara.post(f"{group.address}/messages", text="Hello?"))[0] == 403


async def test_adding_asks_whether_clients_know_of_each_other(group: Group, scene: Scene) -> None:
    leila = await scene.cast.client("Leila", "Haddad", of=scene.sara)
    sara, people = await group.visit(scene.sara), str(leila.id)
    offered = (await sara.post(f"{group.address}/members/offered", query=""))[1]
    assert "Leila Haddad" in offered
    assert "Adam Young" not in offered
    question = (await sara.post(f"{group.address}/members/preview", people=people))[1]
    assert "Leila Haddad can read what is written from now on, and nothing from before." in question
    assert "I have told Leila Haddad, and the clients who are in it" in question
    status, words = await sara.post(f"{group.address}/members", people=people)
    assert (status, "told that others take part" in words) == (403, True)
    for _ in range(2):
        assert (await sara.post(f"{group.address}/members", people=people, told="1"))[0] == 204
    assert await group.sql("SELECT count(*) FROM member WHERE conversation_id = $1") == 5


async def test_a_one_to_one_thread_takes_colleagues_and_no_second_client(group: Group, scene: Scene) -> None:
    sara, thread = await group.visit(scene.sara), f"/chat/{scene.thread}"
    offered = (await sara.post(f"{thread}/members/offered", query=""))[1]
    assert "Tom Reed" in offered
    assert "Adam Young" not in offered
    status, words = await sara.post(f"{thread}/members", people=str(group.adam.id), told="1")
    assert (status, "with one client" in words) == (403, True)
    assert (await sara.post(f"{thread}/members", people=str(group.tom.id)))[0] == 204
    assert (await (await group.visit(group.tom)).get(thread))[0] == 200


async def test_leaving_is_for_everybody_but_the_organiser(group: Group, scene: Scene) -> None:
    sara, tom = await group.visit(scene.sara), await group.visit(group.tom)
    for answer in (await sara.get(f"{group.address}/leave", True), await sara.post(f"{group.address}/leave")):
        assert answer[0] == 403
        assert "You started this conversation" in answer[1]
    assert "Leave this conversation?" in (await tom.get(f"{group.address}/leave", True))[1]
    assert (await tom.post(f"{group.address}/leave"))[0] == 201
    assert (await tom.get(group.address))[0] == 404


async def test_closing_says_how_many_are_told(group: Group, scene: Scene) -> None:
    sara = await group.visit(scene.sara)
    question = (await sara.get(f"{group.address}/close", True))[1]
    assert "2 clients are told, and can still read it." in question
    for _ in range(2):
        assert (await sara.post(f"{group.address}/close"))[0] == 204
    assert "2 clients" not in (await sara.get(group.address))[1]
    assert await group.sql("SELECT closed_by FROM conversation WHERE id = $1") == scene.sara.id


async def test_the_client_care_group_keeps_itself(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    async with scene.cast.pool.acquire() as connection:
        care = await connection.fetchval(
            "SELECT id FROM conversation WHERE kind = 'client_care' AND organiser_id = $1", scene.sara.id
        )
    for path, words in (("members/add", "follow the Client Care team"), ("close", "always open")):
        status, said = await sara.get(f"/chat/{care}/{path}", True)
        assert (status, words in said) == (403, True)


async def test_putting_away_and_muting_are_ones_own(group: Group, scene: Scene) -> None:
    sara, tom = await group.visit(scene.sara), await group.visit(group.tom)
    assert (await tom.post(f"{group.address}/archive", away="1"))[0] == 204
    assert "You archived this conversation" in (await tom.get(group.address))[1]
    assert "You archived this conversation" not in (await sara.get(group.address))[1]
    assert str(group.id) not in (await tom.post("/chat/list"))[1]
    assert (await tom.post(f"{group.address}/archive", away="0"))[0] == 204
    assert str(group.id) in (await tom.post("/chat/list"))[1]
    assert (await tom.post(f"{group.address}/notifications"))[0] == 204
    assert await group.sql("SELECT count(*) FROM member WHERE conversation_id = $1 AND muted") == 1
    assert (await tom.post(f"{group.address}/notifications", on="1"))[0] == 204
    assert await group.sql("SELECT count(*) FROM member WHERE conversation_id = $1 AND muted") == 0


async def test_somebody_who_left_in_their_app_is_invited_again(group: Group, scene: Scene) -> None:
    sara = await group.visit(scene.sara)
    await scene.cast.hold(scene.thread, "left")
    page = (await sara.get(f"/chat/{scene.thread}"))[1]
    invite = f"/chat/{scene.thread}/members/{scene.amina.id}/invite"
    assert f'data-invite="{invite}"' in page
    assert (await sara.post(invite))[0] == 204
    status, words = await sara.post(invite)
    assert (status, "invited again" in words) == (403, True)


async def test_nobody_takes_the_place_of_a_threads_client(group: Group, scene: Scene) -> None:
    """Amina's thread stays hers: whatever is sent into it by itself, her next welcome say, is for her."""
    sara, thread = await group.visit(scene.sara), f"/chat/{scene.thread}"
    assert (await sara.post(f"{thread}/members/{scene.amina.id}/remove"))[0] == 204
    status, words = await sara.post(f"{thread}/members", people=str(group.adam.id), told="1")
    assert (status, "another client" in words) == (403, True)
    assert (await sara.post(f"{thread}/members", people=str(scene.amina.id)))[0] == 204
