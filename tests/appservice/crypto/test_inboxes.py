"""What lies in the inboxes of faces and masks: nobody syncs as them but now and then."""

from typing import Any

from appservice import mend
from appservice.context import Context
from bridge import puppets
from bridge.database import transaction
from bridge.sealing import Keyring
from tests.appservice.crypto.conftest import Scene

Json = dict[str, Any]


def context_of(scene: Scene, *inbox: Json) -> Context:
    """Whose homeserver has these events in each inbox."""

    async def sync(*_: object, **__: object) -> Json:
        return {"next_batch": "s1", "to_device": {"events": list(inbox)}}

    scene.server.sync = sync  # type: ignore[attr-defined]
    return Context(scene.pool, Keyring(bytes(32)), scene.server, scene.machine, scene.assistant, "ruh.test")  # type: ignore[arg-type]


async def due(scene: Scene) -> set[str]:
    async with transaction(scene.pool) as tx:
        found = await puppets.to_sync(tx, 3600, at_work=60, limit=10)
    return {puppet.user_id for puppet in found}


async def synced(scene: Scene, ago: str) -> None:
    await scene.pool.execute(
        "UPDATE puppet SET state = 'ready', synced_at = now() - $1::text::interval WHERE kind <> 'assistant'",
        ago,
    )


async def test_a_device_that_lost_its_keys_reads_on_without_our_next_word(scene: Scene) -> None:
    last = await scene.say("until Thursday")
    scene.server.inbox.clear()  # lost with the device's store
    scene.phone.sessions.clear()
    await scene.pool.execute("UPDATE megolm_share SET sent_at = sent_at - interval '1 minute'")
    keys = await scene.device_keys(scene.face)
    dummy = scene.phone.olm(keys, scene.one_time_key(scene.face), "m.dummy", {})
    await mend.empty_inbox(context_of(scene, dummy), scene.face)
    scene.phone.take(scene.server)
    assert scene.phone.read(last)["content"]["body"] == "until Thursday"


async def test_an_inbox_is_emptied_more_often_where_keys_were_shared_lately(scene: Scene) -> None:
    await synced(scene, "2 minutes")
    assert await due(scene) == set()
    await scene.say()
    assert await due(scene) == {scene.face.user_id}
    await synced(scene, "10 seconds")
    assert await due(scene) == set()
    await scene.pool.execute("UPDATE megolm_share SET sent_at = now() - interval '2 days'")
    await synced(scene, "59 minutes")
    assert await due(scene) == set()
    await synced(scene, "61 minutes")
    assert await due(scene) == {scene.face.user_id}
