"""Whose device is whose: only what is properly signed counts, and an identity is pinned on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appservice.crypto.device_lists import assess
from appservice.crypto.devices import choose, pin
from appservice.crypto.model import Device, Hold
from bridge.database import transaction
from tests.appservice.crypto.conftest import CLIENT, Scene
from tests.appservice.crypto.peer import KeyServer, Peer, identity

Json = dict[str, Any]
SOMEBODY = identity()


async def answer_for(*peers: Peer, signed: bool = True) -> Json:
    server = KeyServer(*peers)
    if signed and peers[0].identity:
        server.identities[CLIENT] = peers[0].identity
    return await server.query_keys(None, [CLIENT])  # type: ignore[arg-type]


async def test_a_signed_device_and_its_identity_are_recognised() -> None:
    phone = Peer(CLIENT, "PHONE", identity())
    assert phone.identity
    proven = assess(CLIENT, await answer_for(phone))
    assert proven.master_key == phone.identity.master.public
    assert proven.devices == (Device(CLIENT, "PHONE", phone.curve25519, phone.ed25519, signed=True),)


def _change(**parts: Any) -> Callable[[Json], None]:
    return lambda keys: keys.update(parts)


TAMPERED: list[Callable[[Json], None]] = [
    _change(user_id="@other:ruh.test"),
    _change(device_id="OTHER"),
    _change(algorithms=[]),
    _change(algorithms=5),
    _change(keys={}),
    _change(signatures={}),
    _change(signatures=7),
    _change(extra="unsigned addition"),
    lambda keys: keys["keys"].update({"curve25519:PHONE": Peer(CLIENT, "X").curve25519}),
    lambda keys: keys["keys"].update({"ed25519:PHONE": Peer(CLIENT, "X").ed25519}),
    lambda keys: keys["keys"].update({"curve25519:PHONE": keys["keys"]["curve25519:PHONE"] + "="}),
]


@pytest.mark.parametrize("tamper", TAMPERED)
async def test_tampered_device_keys_are_refused(tamper: Callable[[Json], None]) -> None:
    answer = await answer_for(Peer(CLIENT, "PHONE"))
    tamper(answer["device_keys"][CLIENT]["PHONE"])
    proven = assess(CLIENT, answer)
    assert (proven.devices, proven.refused) == ((), 1)


@pytest.mark.parametrize(
    "answer", [{}, {"device_keys": 5}, {"device_keys": {CLIENT: {"A": None, "\x00": {}}}}]
)
def test_an_answer_of_another_shape_proves_nothing(answer: Json) -> None:
    assert assess(CLIENT, answer).devices == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_no_answer_whatever_its_shape_breaks_the_check(data: st.DataObject) -> None:
    """Any part of an honest answer replaced by any JSON."""
    phone = Peer(CLIENT, "PHONE", SOMEBODY)
    keys = SOMEBODY.upload(CLIENT)
    answer: Json = {
        "device_keys": {CLIENT: {"PHONE": phone.device_keys()}},
        "master_keys": {CLIENT: keys["master_key"]},
        "self_signing_keys": {CLIENT: keys["self_signing_key"]},
    }
    place = answer
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[name], dict) and place[name] and data.draw(st.booleans()):
            place = place[name]
        else:
            place[name] = data.draw(json_values)
            break
    proven = assess(CLIENT, answer)
    assert all(device.curve25519 == phone.curve25519 for device in proven.devices)


async def test_a_self_signing_key_counts_only_if_the_master_key_signed_it() -> None:
    answer = await answer_for(Peer(CLIENT, "PHONE", identity()))
    answer["self_signing_keys"][CLIENT]["signatures"] = {}
    proven = assess(CLIENT, answer)
    assert proven.master_key is not None
    assert [device.signed for device in proven.devices] == [False]


async def test_another_users_keys_prove_nothing() -> None:
    answer = await answer_for(Peer(CLIENT, "PHONE", identity()))
    proven = assess(
        "@other:ruh.test", {part: {"@other:ruh.test": keys[CLIENT]} for part, keys in answer.items()}
    )
    assert (proven.master_key, proven.devices) == (None, ())


def test_an_identity_is_pinned_on_first_use_and_never_replaced() -> None:
    assert pin(None, None) == ("new", None)
    assert pin(None, "A") == ("pinned", "A")
    assert pin("A", "A") == ("pinned", "A")
    assert pin("A", "B") == ("changed", "A")
    assert pin("A", None) == ("changed", "A")


def test_with_an_identity_only_signed_devices_may_have_keys() -> None:
    signed, unsigned = Device(CLIENT, "A", "a", "a", True), Device(CLIENT, "B", "b", "b", False)
    assert choose({"state": "new", "master_key": None}, [signed, unsigned]).devices == (signed, unsigned)
    assert choose({"state": "pinned", "master_key": "M"}, [signed, unsigned]).devices == (signed,)
    assert choose({"state": "pinned", "master_key": "M"}, [unsigned]).hold == Hold("no_device", "unsigned")
    assert choose({"state": "changed", "master_key": "M"}, []).hold == Hold("identity_changed")
    assert choose(None, []).hold == Hold("no_device", "none")


async def test_a_device_whose_keys_change_is_another_device(scene: Scene) -> None:
    await scene.know()
    scene.server.peers[:] = [Peer(CLIENT, "PHONE")]
    await scene.know()
    async with transaction(scene.pool) as tx:
        assert (await scene.machine.recipients(tx, CLIENT)).hold == Hold("no_device", "none")
    scene.server.peers[:] = [scene.phone]
    await scene.know()
    async with transaction(scene.pool) as tx:
        (device,) = (await scene.machine.recipients(tx, CLIENT)).devices
    assert device.curve25519 == scene.phone.curve25519


async def test_the_version_moves_only_when_who_may_read_moves(scene: Scene) -> None:
    async def version() -> int:
        return int(await scene.pool.fetchval("SELECT version FROM crypto_user WHERE user_id = $1", CLIENT))

    await scene.know()
    first = await version()
    await scene.know()
    assert await version() == first
    scene.server.identities[CLIENT] = identity()  # the phone is not signed by it
    await scene.know()
    assert await version() == first + 1


async def test_a_change_during_the_query_is_looked_at_again(scene: Scene) -> None:
    tablet = Peer(CLIENT, "TABLET")
    await scene.know()
    asked = scene.server.query_keys

    async def slow(acting: Any, user_ids: list[str]) -> Json:
        answer = await asked(acting, user_ids)
        scene.server.peers.append(tablet)
        await scene.devices_changed()
        scene.server.query_keys = asked  # type: ignore[method-assign]
        return answer

    scene.server.query_keys = slow  # type: ignore[method-assign,assignment]
    await scene.devices_changed()
    await scene.share()
    assert tablet.take(scene.server) != []


async def test_changes_of_people_we_do_not_know_cost_nothing(scene: Scene) -> None:
    async with transaction(scene.pool) as tx:
        await scene.machine.devices_changed(tx, ["@unknown:ruh.test"])
    assert await scene.pool.fetchval("SELECT count(*) FROM crypto_user") == 0
