"""Our own devices: saved before they are uploaded, the same after a crash, never without keys."""

from __future__ import annotations

from typing import Any

import pytest

from appservice.crypto.canonical import is_signed
from appservice.crypto.device_lists import assess
from appservice.homeserver import Unavailable
from tests.appservice.crypto.conftest import Scene, add_puppet
from tests.appservice.crypto.peer import Peer


def uploads(scene: Scene, part: str) -> list[dict[str, Any]]:
    return [upload[part] for upload in scene.server.uploads if part in upload]


async def test_a_device_is_signed_by_the_identity_that_is_uploaded_with_it(scene: Scene) -> None:
    identity = next(upload for upload in scene.server.uploads if "master_key" in upload)
    device = uploads(scene, "device_keys")[0]
    user_id = device["user_id"]
    answer = {
        "device_keys": {user_id: {device["device_id"]: device}},
        "master_keys": {user_id: identity["master_key"]},
        "self_signing_keys": {user_id: identity["self_signing_key"]},
    }
    assert [found.signed for found in assess(user_id, answer).devices] == [True]


async def test_every_one_time_key_is_signed_by_its_device(scene: Scene) -> None:
    device = uploads(scene, "device_keys")[0]
    ed25519 = device["keys"][f"ed25519:{device['device_id']}"]
    parts = (uploads(scene, "one_time_keys")[0], uploads(scene, "fallback_keys")[0])
    keys = [key for part in parts for key in part.values()]
    assert len(keys) == 51
    assert all(is_signed(key, device["user_id"], device["device_id"], ed25519) for key in keys)


async def test_a_second_provision_does_nothing(scene: Scene) -> None:
    before = len(scene.server.uploads)
    await scene.machine.provision(scene.pool, scene.face)
    await scene.another_process().provision(scene.pool, scene.face)
    assert len(scene.server.uploads) == before


@pytest.mark.parametrize("step", ["register_user", "ensure_device", "upload_signing_keys", "upload_keys"])
async def test_a_provision_that_failed_goes_on_with_the_same_keys(scene: Scene, step: str) -> None:
    mask = await add_puppet(scene.pool, "mask")
    scene.server.broken.add(step)
    with pytest.raises(Unavailable):
        await scene.machine.provision(scene.pool, mask)
    made = await scene.pool.fetchval("SELECT ed25519 FROM crypto_account WHERE puppet_id = $1", mask.id)
    scene.server.broken.clear()
    await scene.another_process().provision(scene.pool, mask)
    device = uploads(scene, "device_keys")[-1]
    assert made in (None, device["keys"][f"ed25519:{mask.device_id}"])
    assert len(uploads(scene, "one_time_keys")[-1]) == 10


async def test_one_time_keys_are_topped_up_when_half_are_gone(scene: Scene) -> None:
    machine, before = scene.machine, len(scene.server.uploads)
    await machine.one_time_keys(scene.pool, scene.face, {"signed_curve25519": 25}, ["signed_curve25519"])
    assert len(scene.server.uploads) == before
    await machine.one_time_keys(scene.pool, scene.face, {"signed_curve25519": 24}, ["signed_curve25519"])
    assert len(uploads(scene, "one_time_keys")[-1]) == 26
    await machine.one_time_keys(scene.pool, scene.face, {}, None)  # an absent count is none left
    assert len(uploads(scene, "one_time_keys")[-1]) == 50


async def test_no_one_time_key_is_uploaded_twice(scene: Scene) -> None:
    scene.server.broken.add("upload_keys")
    with pytest.raises(Unavailable):
        await scene.machine.one_time_keys(scene.pool, scene.face, {}, None)
    scene.server.broken.clear()
    await scene.another_process().one_time_keys(scene.pool, scene.face, {}, None)
    ids = [key["key"] for upload in uploads(scene, "one_time_keys") for key in upload.values()]
    assert len(ids) == len(set(ids))


async def test_a_used_fallback_key_is_replaced_and_still_opens_for_a_while(scene: Scene) -> None:
    ((_, old),) = uploads(scene, "fallback_keys")[0].items()
    enough = {"signed_curve25519": 50}
    scene.server.broken.add("upload_keys")
    for _ in range(3):  # the homeserver keeps handing out the old one meanwhile
        with pytest.raises(Unavailable):
            await scene.machine.one_time_keys(scene.pool, scene.face, enough, [])
    scene.server.broken.clear()
    await scene.machine.one_time_keys(scene.pool, scene.face, enough, [])
    ((_, new),) = uploads(scene, "fallback_keys")[-1].items()
    assert new["key"] != old["key"]
    keys = await scene.device_keys(scene.face)
    for fallback in (old, new):
        peer = Peer("@c1:ruh.test", "D")
        event = peer.olm(keys, fallback["key"], "m.room_key", peer.room_key("!r:ruh.test"))
        assert len((await scene.receive(event, puppet=scene.face)).sessions) == 1
