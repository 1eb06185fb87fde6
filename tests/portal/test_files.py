"""Files that clients sent: for whoever may read the message, as data and never as a page."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from bridge import attachments, messages
from bridge.attachments import Wanted
from policies.content import Attachment, AttachmentKind
from portal.files import _bytes
from portal.services import EXTENSION
from tests.portal.scene import Scene

POOL = 10
PICTURE = bytes(range(256)) * 6000  # more than one sealed chunk


async def send(
    scene: Scene, kind: AttachmentKind, name: str, mime: str, data: bytes | None = PICTURE
) -> UUID:
    """The client's message with a file; `data` None: it is still on its way."""
    content = Attachment(kind, name, mime, len(PICTURE), 800, 600)
    keyring = scene.cast.keyring
    posted = await scene.cast.in_transaction(
        lambda tx: messages.post(
            tx,
            keyring,
            author=scene.amina.id,
            conversation=scene.thread,
            content=content,
            at=datetime.now(UTC),
        )
    )
    await scene.cast.in_transaction(
        lambda tx: attachments.want(tx, keyring, scene.thread, posted.entry_id, {})
    )
    found: list[Wanted] = await scene.cast.in_transaction(lambda tx: attachments.due(tx, keyring, 50))
    wanted = next(one for one in found if one.entry_id == posted.entry_id)
    if data is not None:
        await scene.cast.in_transaction(lambda tx: attachments.store(tx, keyring, wanted, data))
    return wanted.id


async def test_a_picture_is_shown_in_place_with_its_space_reserved(scene: Scene) -> None:
    file = await send(scene, AttachmentKind.IMAGE, "beach.png", "image/png")
    sara = await scene.visit(scene.sara)
    address = f"/chat/{scene.thread}/files/{file}"
    _, page = await sara.get(f"/chat/{scene.thread}")
    assert f'src="{address}"' in page
    assert 'width="800" height="600"' in page
    answer = await sara.client.get(address)
    assert await answer.get_data() == PICTURE
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Content-Disposition"].startswith("inline")


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [("bytes=0-", 0, None), ("bytes=1048570-1048585", 1048570, 1048586), ("bytes=5-5", 5, 6)],
)
async def test_players_may_ask_for_parts(scene: Scene, given: str, start: int, end: int | None) -> None:
    file = await send(scene, AttachmentKind.VOICE, "voice.ogg", "audio/ogg")
    sara = await scene.visit(scene.sara)
    answer = await sara.client.get(f"/chat/{scene.thread}/files/{file}", headers={"Range": given})
    assert await answer.get_data() == PICTURE[start:end]
    last = (end or len(PICTURE)) - 1
    if end is not None:
        assert answer.status_code == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{last}/{len(PICTURE)}"


async def test_what_could_run_is_only_ever_downloaded(scene: Scene) -> None:
    sara = await scene.visit(scene.sara)
    for name, mime in (("x.svg", "image/svg+xml"), ("x.html", "text/html"), ('"ü\r\n.js', "text/javascript")):
        file = await send(scene, AttachmentKind.FILE, name, mime)
        answer = await sara.client.get(f"/chat/{scene.thread}/files/{file}")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''")


async def test_a_file_is_for_members_and_only_while_its_message_is_there(scene: Scene) -> None:
    file = await send(scene, AttachmentKind.IMAGE, "beach.png", "image/png")
    charlie, sara = await scene.visit(scene.charlie), await scene.visit(scene.sara)
    address = f"/chat/{scene.thread}/files/{file}"
    assert (await charlie.get(address))[0] == 404
    own = await scene.cast.thread(scene.charlie, await scene.cast.client("Jonas", "Weber", of=scene.charlie))
    assert (await charlie.get(f"/chat/{own}/files/{file}"))[0] == 404
    async with scene.cast.pool.acquire() as connection:
        await connection.execute("UPDATE entry SET deleted_at = now() WHERE kind = 'message'")
    assert (await sara.get(address))[0] == 404


async def test_a_file_on_its_way_says_so(scene: Scene) -> None:
    await send(scene, AttachmentKind.FILE, "diary.pdf", "application/pdf", data=None)
    sara = await scene.visit(scene.sara)
    _, page = await sara.get(f"/chat/{scene.thread}")
    assert "diary.pdf" in page
    assert "Still loading" in page


@pytest.mark.parametrize(
    "given", ["bytes=5-2", "bytes=" + "9" * 5000 + "-", "bytes=0-" + "9" * 5000, "bytes=٣-٤"]
)
async def test_parts_that_no_player_asks_for_are_no_parts(scene: Scene, given: str) -> None:
    file = await send(scene, AttachmentKind.VIDEO, "walk.mp4", "video/mp4")
    sara = await scene.visit(scene.sara)
    answer = await sara.client.get(f"/chat/{scene.thread}/files/{file}", headers={"Range": given})
    assert (answer.status_code, await answer.get_data() == PICTURE) == (200, True)


async def test_slow_downloads_leave_the_database_to_the_others(scene: Scene) -> None:
    """A page of pictures on a slow line: as many as the pool has connections, all half way."""
    file = await send(scene, AttachmentKind.IMAGE, "beach.png", "image/png")
    sara = await scene.visit(scene.sara)
    wired = scene.app.extensions[EXTENSION]
    slow = [_bytes(wired, scene.sara.id, file, 0, len(PICTURE)) for _ in range(POOL)]
    halves = [await anext(part) for part in slow]
    async with asyncio.timeout(10):
        assert (await sara.get(f"/chat/{scene.thread}", fragment=True))[0] == 200
    rests = [b"".join([data async for data in part]) for part in slow]
    assert {half + rest for half, rest in zip(halves, rests, strict=True)} == {PICTURE}
