"""Every address of a conversation, of a blast and of the API, tried by everybody who must not (S4).

The addresses come from the app's own map: one that is added tomorrow is tried as well.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from werkzeug.routing.rules import Rule

from bridge import blasts, communities, lobby, roster
from bridge.database import transaction
from policies.content import Text
from policies.vocabulary import ConversationId, Person, Role
from tests.portal.scene import Scene, Visit
from tests.support.thread import NOW

OPEN_TO_ALL = {
    "/", "/favicon.ico", "/sign-in", "/how-to-sign-in", "/static/<build>/<path:name>", "/live",
    "/activate/<token>", "/activate/<token>/strength", "/api/v1/openapi.json",
}  # fmt: skip
"""What has a door of its own, or nobody's secrets."""


@dataclass
class Practice:
    scene: Scene
    conversations: dict[str, UUID]
    """Sara's, of every kind and state; none of them anybody's who tries here."""
    blast: UUID
    entry: UUID
    adam: Person
    outsiders: dict[str, Person]


@pytest.fixture
async def practice(scene: Scene) -> Practice:
    cast, keys, sara = scene.cast, scene.cast.keyring, scene.sara
    adam = await cast.client("Adam", "Young", of=sara)
    outsiders = {
        "another therapist": scene.charlie,
        "a former member": await cast.person(Role.TEAM_MEMBER, "Tom", "Reed"),
        "client care": await cast.person(Role.CLIENT_CARE, "Maya", "Rose"),
        "an administrator": await cast.person(Role.ADMINISTRATOR, "Ada", "Moss"),
    }
    tom = outsiders["a former member"]
    async with transaction(cast.pool) as tx:
        others = [scene.amina.id, adam.id, tom.id]
        group = await communities.start(tx, keys, actor=sara, others=others, told=True, at=NOW)
        closed = await communities.start(tx, keys, actor=sara, others=others[:2], told=True, at=NOW)
        await roster.close(tx, keys, actor=sara.id, conversation=closed, at=NOW)
        await tx.execute(
            "UPDATE member SET archived_at = now() WHERE person_id = $1 AND conversation_id = $2",
            sara.id, scene.thread,
        )  # fmt: skip
        blast = await blasts.send(tx, keys, actor=sara.id, clients=[adam.id], content=Text("Closed"), at=NOW)
        await blasts.next_recipient(tx, keys, at=NOW)
        user_id = await tx.fetchval("SELECT user_id FROM account WHERE person_id = $1", scene.amina.id)
        await lobby.opened(tx, keys, user_id=user_id, room_id="!x:ruh.test", at=NOW)
    entry = await cast.say(sara, group, "For this group alone")
    async with transaction(cast.pool) as tx:
        await roster.remove(tx, keys, actor=sara.id, conversation=group, person=tom.id, at=NOW)
    rows = await cast.pool.fetch("SELECT id, kind FROM conversation WHERE kind IN ('blast', 'lobby')")
    named: dict[str, UUID] = {row["kind"]: row["id"] for row in rows}
    named |= {"archived": scene.thread, "community": group, "closed": ConversationId(closed)}
    return Practice(scene, named, blast, entry, adam, outsiders)


def rules(scene: Scene, *arguments: str) -> Iterator[tuple[str, Rule]]:
    for rule in scene.app.url_map.iter_rules():
        if not arguments or set(arguments) & rule.arguments:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield method, rule


async def ask(visit: Visit, method: str, rule: Rule, **ids: UUID) -> tuple[int, str]:
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(ids.get(found[1]) or uuid4()), rule.rule)
    if method == "GET":
        return await visit.get(f"{path}?before=99", fragment=True)
    return await visit.post(path, text="x", title="x", people=str(ids.get("person")), told="1", on="1")


@pytest.mark.parametrize("who", ["another therapist", "a former member", "client care", "an administrator"])
async def test_whoever_is_outside_gets_the_answer_for_what_does_not_exist(
    practice: Practice, who: str
) -> None:
    scene, pool = practice.scene, practice.scene.cast.pool
    visit = await scene.visit(practice.outsiders[who])
    before = await pool.fetch("SELECT id, last_seq, title_sealed FROM conversation ORDER BY id")
    tried = 0
    for name, conversation in practice.conversations.items():
        for method, rule in rules(scene, "conversation"):
            theirs = await ask(
                visit, method, rule, conversation=conversation, entry=practice.entry, person=practice.adam.id
            )
            nowhere = await ask(visit, method, rule, conversation=uuid4())
            assert (theirs[0], theirs) == (404, nowhere), (name, method, rule.rule)
            tried += 1
    for method, rule in rules(scene, "blast"):
        theirs = await ask(visit, method, rule, blast=practice.blast)
        assert (theirs[0], theirs) == (404, await ask(visit, method, rule)), (method, rule.rule)
    assert tried > 100
    assert before == await pool.fetch("SELECT id, last_seq, title_sealed FROM conversation ORDER BY id")


async def test_without_a_session_or_the_token_no_address_does_anything(practice: Practice) -> None:
    """A page leads to where one signs in; everything else says that one isn't."""
    visit = Visit(practice.scene.app.test_client(), "guessed")
    for method, rule in rules(practice.scene):
        if rule.rule in OPEN_TO_ALL:
            continue
        status, body = await ask(
            visit, method, rule, conversation=practice.scene.thread, entry=practice.entry,
            person=practice.adam.id, blast=practice.blast,
        )  # fmt: skip
        assert status == 401, (method, rule.rule)
        assert "Amina" not in body
        assert "Closed" not in body


async def test_with_a_session_and_a_wrong_token_nothing_is_changed(practice: Practice) -> None:
    visit = await practice.scene.visit(practice.scene.sara)
    visit.csrf = "guessed"
    for method, rule in rules(practice.scene):
        if rule.rule in OPEN_TO_ALL or rule.rule.startswith("/api/") or method == "GET":
            continue
        status, _ = await ask(
            visit, method, rule, conversation=practice.scene.thread, entry=practice.scene.entry,
            person=practice.scene.amina.id, blast=practice.blast,
        )  # fmt: skip
        assert status == 403, (method, rule.rule)
