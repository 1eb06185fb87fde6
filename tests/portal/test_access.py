"""Whoever may not gets the very same answer as for what does not exist; without a session one may sign in.

Sara's conversation with Amina is hers; Charlie, another therapist, tries every address of it.
"""

from uuid import UUID, uuid4

from tests.portal.scene import Scene

GETS = (
    "",
    "/older?before=9",
    "/latest",
    "/title",
    "/messages/{entry}",
    "/messages/{entry}/edit",
    "/files/{file}",
    "/release",
    "/members/{file}/add",
)
POSTS = ("/title", "/messages", "/messages/{entry}/edit", "/messages/{entry}/delete", "/release")


async def test_an_outsider_gets_the_same_answer_as_for_what_does_not_exist(scene: Scene) -> None:
    charlie = await scene.visit(scene.charlie)

    async def answers(conversation: UUID, entry: UUID) -> list[tuple[int, str]]:
        found = []
        for path in GETS:
            address = f"/chat/{conversation}{path.format(entry=entry, file=uuid4())}"
            found += [await charlie.get(address), await charlie.get(address, fragment=True)]
        for path in POSTS:
            address = f"/chat/{conversation}{path.format(entry=entry)}"
            found.append(await charlie.post(address, text="hello", title="mine", request_id=str(uuid4())))
        return found

    theirs = await answers(scene.thread, scene.entry)
    assert theirs == await answers(uuid4(), uuid4())
    assert {status for status, _ in theirs} == {404}
    assert all("For nobody else" not in body and "Amina" not in body for _, body in theirs)
    async with scene.cast.pool.acquire() as connection:
        assert await connection.fetchval("SELECT last_seq FROM conversation WHERE id = $1", scene.thread) == 1


async def test_an_entry_of_another_conversation_is_not_there(scene: Scene) -> None:
    """Being a member somewhere else opens nothing here."""
    jonas = await scene.cast.client("Jonas", "Weber", of=scene.charlie)
    own = await scene.cast.thread(scene.charlie, jonas)
    charlie = await scene.visit(scene.charlie)
    for path in ("/messages/{entry}", "/messages/{entry}/edit"):
        assert (await charlie.get(f"/chat/{own}{path.format(entry=scene.entry)}"))[0] == 404
    for path in ("/messages/{entry}/edit", "/messages/{entry}/delete"):
        assert (await charlie.post(f"/chat/{own}{path.format(entry=scene.entry)}", text="x"))[0] == 404
    reply = await charlie.post(f"/chat/{own}/messages", text="x", reply_to=str(scene.entry))
    assert reply[0] == 404


async def test_lists_and_searches_hold_only_what_is_ones_own(scene: Scene) -> None:
    charlie, sara = await scene.visit(scene.charlie), await scene.visit(scene.sara)
    for query in ("", "amina", "yusuf"):
        assert "Amina" not in (await charlie.post("/chat/list", query=query))[1]
        assert "Amina" not in (await charlie.post("/people", query=query))[1]
        assert "Amina" in (await sara.post("/chat/list", query=query))[1]
        assert "Amina" in (await sara.post("/people", query=query))[1]
    assert (await charlie.post("/chat/new", person=str(scene.amina.id)))[0] == 404
    assert (await charlie.post("/chat/new", person=str(uuid4())))[0] == 404


async def test_filters_that_no_page_has_are_refused(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    for given in ({"visibility": "hidden"}, {"which": "secret"}, {"before": "yesterday"}):
        assert (await sara.post("/chat/list", **given))[0] == 400


async def test_without_a_session_pages_lead_to_sign_in_and_fragments_say_so(scene: Scene) -> None:
    client = scene.app.test_client()
    for path in (
        "/chat",
        *(f"/chat/{scene.thread}{p.format(entry=scene.entry, file=uuid4())}" for p in GETS),
    ):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/sign-in")
        assert (await client.get(path, headers={"HX-Request": "true"})).status_code == 401
    for path in (
        "/chat/list",
        "/people",
        "/chat/new",
        "/sign-out",
        *(f"/chat/{scene.thread}{p}" for p in POSTS),
    ):
        assert (await client.post(path.format(entry=scene.entry))).status_code == 401


async def test_a_request_without_the_pages_token_or_from_another_site_changes_nothing(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    path = f"/chat/{scene.thread}/messages"
    for headers in (
        {},
        {"X-CSRF-Token": "guess"},
        {"X-CSRF-Token": sara.csrf, "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": sara.csrf, "Origin": "https://elsewhere.example"},
    ):
        answer = await sara.client.post(path, form={"text": "hello"}, headers=headers)
        assert answer.status_code == 403
    assert (await sara.post(path, text="hello"))[0] == 201


async def test_every_answer_forbids_framing_foreign_scripts_and_storing(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    for path in ("/chat?list", f"/chat/{scene.thread}", "/sign-in", "/nowhere", f"/chat/{uuid4()}"):
        headers = (await sara.client.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


async def test_somebody_who_was_archived_is_signed_out(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    async with scene.cast.pool.acquire() as connection:
        await connection.execute("UPDATE person SET status = 'archived' WHERE id = $1", scene.sara.id)
    assert (await sara.get(f"/chat/{scene.thread}", fragment=True))[0] == 401
