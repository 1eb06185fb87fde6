"""Single requests: each message once whatever the connection does, and words for what can't be."""

import asyncio
import re
from datetime import timedelta
from uuid import uuid4

import pytest

from policies.content import MAX_TEXT
from portal import problems
from portal.services import EXTENSION
from tests.portal.scene import Scene

SECRET = "a-sentence-that-no-log-may-hold"


async def _messages(scene: Scene) -> int:
    async with scene.cast.pool.acquire() as connection:
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM entry WHERE conversation_id = $1 AND kind = 'message'", scene.thread
            )
        )


async def test_the_same_request_many_times_and_at_once_is_one_message(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    path, request_id = f"/chat/{scene.thread}/messages", str(uuid4())
    answers = await asyncio.gather(*(sara.post(path, text="Once", request_id=request_id) for _ in range(6)))
    assert {status for status, _ in answers} <= {200, 201}
    assert len({re.search(r'id="(m-[^"]+)"', body)[1] for _, body in answers}) == 1  # type: ignore[index]
    assert await _messages(scene) == 2


async def test_what_cannot_be_sent_is_said_in_words(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    path = f"/chat/{scene.thread}/messages"
    status, words = await sara.post(path, text="a" * (MAX_TEXT + 3))
    assert (status, "3 characters too long" in words) == (422, True)
    status, words = await sara.post(path, text="  \u200b ")
    assert (status, "nothing to send" in words) == (422, True)
    entry = f"{path}/{scene.entry}"
    status, words = await sara.post(f"{entry}/edit", text="a" * (MAX_TEXT + 1))
    assert (status, "1 character too long" in words, "a" * MAX_TEXT in words) == (422, True, True)
    status, words = await sara.post(f"/chat/{scene.thread}/title", title="t" * 121)
    assert (status, "up to 120 characters" in words) == (422, True)
    assert await _messages(scene) == 1


async def test_what_others_wrote_can_be_neither_edited_nor_deleted(scene: Scene) -> None:
    theirs = await scene.cast.say(scene.amina, scene.thread, "Mine")
    sara = await scene.visit(scene.sara)
    line = f"/chat/{scene.thread}/messages/{theirs}"
    assert (await sara.get(f"{line}/edit", fragment=True))[0] == 404
    assert (await sara.post(f"{line}/edit", text="Yours"))[0] == 403
    assert (await sara.post(f"{line}/delete"))[0] == 403
    assert "Mine" in (await sara.get(line, fragment=True))[1]


async def test_nothing_that_is_written_becomes_part_of_the_page(scene: Scene) -> None:
    evil = '<img src=x onerror=alert(1)><script>alert(1)</script> [x](javascript:alert(1)) "quoted" **b**'
    await scene.cast.say(scene.amina, scene.thread, evil)
    sara = await scene.visit(scene.sara)
    await sara.post(f"/chat/{scene.thread}/title", title="<b>title</b>")
    _, page = await sara.get(f"/chat/{scene.thread}")
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert 'href="javascript' not in page
    assert "<b>title" not in page
    assert "&lt;script&gt;" in page


async def test_older_pages_join_without_gap_or_overlap(scene: Scene) -> None:
    for n in range(110):
        await scene.cast.say(scene.amina, scene.thread, f"n{n}", timedelta(minutes=1))
    sara = await scene.visit(scene.sara)
    _, page = await sara.get(f"/chat/{scene.thread}", fragment=True)
    seen: list[int] = []
    for _ in range(4):
        seen = [int(seq) for seq in re.findall(r'data-seq="(\d+)"', page)] + seen
        more = re.search(r'data-url="([^"]+)"', page)
        if more is None:
            break
        _, page = await sara.get(more[1], fragment=True)
    assert seen == list(range(1, 112))


async def test_a_long_list_comes_in_pages(scene: Scene) -> None:
    for n in range(45):
        client = await scene.cast.client("Client", f"Number{n}", of=scene.sara)
        await scene.cast.thread(scene.sara, client)
    sara = await scene.visit(scene.sara)
    _, first = await sara.post("/chat/list")
    more = re.search(r'hx-vals="([^"]+)"', first)
    assert more
    before = re.search(r"\d{4}-[^&]+_[0-9a-f-]{36}", more[1])
    assert before
    _, rest = await sara.post("/chat/list", before=before[0].replace("\\u002b", "+"))
    ids = re.findall(r'id="row-([^"]+)"', first + rest)
    assert len(ids) == len(set(ids)) == 47, "with the first thread and the Client Care group"
    assert (await sara.post("/chat/list", before="nonsense"))[0] == 400


async def test_logs_hold_no_content_and_no_names(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    sara = await scene.visit(scene.sara)
    await sara.post(f"/chat/{scene.thread}/messages", text=SECRET)
    await sara.post("/people", query="Amina")
    await sara.post("/chat/list", query=SECRET)
    await sara.post(f"/chat/{scene.thread}/title", title=SECRET)
    await sara.get(f"/chat/{scene.thread}")
    logged = capsys.readouterr()
    assert SECRET not in logged.out + logged.err
    assert "Amina" not in logged.out + logged.err


async def test_without_a_database_the_page_says_so_and_tries_again_by_itself(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def acquire(self) -> None:
            raise ConnectionRefusedError("postgresql is away")

    sara = await scene.visit(scene.sara)
    monkeypatch.setattr(scene.app.extensions[EXTENSION], "pool", Away())
    answer = await sara.client.get(f"/chat/{scene.thread}")
    body = await answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == str(problems.RETRY_AFTER)
    assert f'http-equiv="refresh" content="{problems.RETRY_AFTER}"' in body
    assert "postgresql" not in body


async def test_what_breaks_unexpectedly_is_noted_without_its_words(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sara = await scene.visit(scene.sara)

    async def breaks(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("portal.reading.talk", breaks)
    status, body = await sara.get(f"/chat/{scene.thread}")
    assert (status, SECRET in body) == (500, False)
    logged = capsys.readouterr()
    assert "request_failed" in logged.out + logged.err
    assert SECRET not in logged.out + logged.err


async def test_a_body_that_is_too_large_is_refused(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    status, words = await sara.post(f"/chat/{scene.thread}/messages", text="a" * 400_000)
    assert (status, "larger than we can take" in words) == (413, True)
