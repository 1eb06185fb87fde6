"""Us to clients: exactly the devices that may read can read, and no index is ever used twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import vodozemac

from appservice.crypto import Hold
from appservice.crypto.errors import ShareOutdated
from appservice.homeserver import Unavailable
from bridge.database import transaction
from tests.appservice.crypto.conftest import CLIENT, ROOM, Scene, add_puppet
from tests.appservice.crypto.peer import Peer, identity


async def test_a_shared_session_reads_on_the_device(scene: Scene) -> None:
    content = await scene.say("good morning")
    (key,) = scene.phone.take(scene.server)
    assert (key["type"], key["sender"], key["recipient"]) == ("m.room_key", scene.face.user_id, CLIENT)
    inside = scene.phone.read(content)
    assert (inside["type"], inside["content"]["body"], inside["room_id"]) == (
        "m.room.message",
        "good morning",
        ROOM,
    )


async def test_a_second_message_asks_the_homeserver_nothing(scene: Scene) -> None:
    await scene.say()
    before = (scene.server.queries, scene.server.claims, scene.server.sends)
    second = await scene.say("second")
    assert (scene.server.queries, scene.server.claims, scene.server.sends) == before == (1, 1, 1)
    scene.phone.take(scene.server)
    assert scene.phone.read(second)["content"]["body"] == "second"


async def test_another_process_goes_on_with_the_session(scene: Scene) -> None:
    await scene.say()
    other = scene.another_process()
    await scene.share(other)
    content = await scene.encrypt("from there", other)
    assert scene.server.sends == 1
    scene.phone.take(scene.server)
    assert scene.phone.read(content)["content"]["body"] == "from there"


async def test_the_relation_stands_in_clear_as_well(scene: Scene) -> None:
    await scene.share()
    relation = {"rel_type": "m.replace", "event_id": "$1"}
    async with transaction(scene.pool) as tx:
        (content,) = await scene.machine.encrypt(
            tx, leg_id=scene.leg_id, room_id=ROOM, puppet=scene.face,
            events=[("m.room.message", {"body": "x", "m.relates_to": relation})],
        )  # fmt: skip
    assert content["m.relates_to"] == relation


async def test_without_a_device_the_message_is_held_until_there_is_one(scene: Scene) -> None:
    scene.server.peers.clear()
    assert await scene.share() == Hold("no_device", "none")
    assert await scene.share() == Hold("no_device", "none")
    assert scene.server.queries == 1
    scene.server.peers.append(scene.phone)
    await scene.devices_changed()
    content = await scene.say()
    scene.phone.take(scene.server)
    assert scene.phone.read(content)


async def test_nobody_encrypts_without_having_shared(scene: Scene) -> None:
    with pytest.raises(ShareOutdated):
        await scene.encrypt()


async def test_a_new_device_reads_from_now_on(scene: Scene) -> None:
    first = await scene.say("first")
    tablet = Peer(CLIENT, "TABLET")
    scene.server.peers.append(tablet)
    await scene.devices_changed()
    with pytest.raises(ShareOutdated):
        await scene.encrypt()
    second = await scene.say("second")
    for device in (scene.phone, tablet):
        device.take(scene.server)
        assert device.read(second)["content"]["body"] == "second"
    assert first["session_id"] == second["session_id"]
    with pytest.raises(ValueError, match="unknown message index"):
        tablet.read(first)


async def test_a_device_that_is_gone_cannot_read_what_follows(scene: Scene) -> None:
    tablet = Peer(CLIENT, "TABLET")
    scene.server.peers.append(tablet)
    first = await scene.say()
    tablet.take(scene.server)
    assert tablet.read(first)
    scene.server.peers.remove(tablet)
    await scene.devices_changed()
    second = await scene.say("second")
    assert second["session_id"] != first["session_id"]
    assert tablet.take(scene.server) == []
    scene.phone.take(scene.server)
    assert scene.phone.read(second)["content"]["body"] == "second"


async def test_the_session_changes_after_a_hundred_messages(scene: Scene) -> None:
    ids = [(await scene.say())["session_id"]]
    async with transaction(scene.pool) as tx:
        await scene.machine.encrypt(
            tx, leg_id=scene.leg_id, room_id=ROOM, puppet=scene.face, events=[("m", {})] * 98
        )
    ids.append((await scene.encrypt("the hundredth"))["session_id"])
    with pytest.raises(ShareOutdated):
        await scene.encrypt()
    ids.append((await scene.say())["session_id"])
    assert ids[0] == ids[1] != ids[2]


async def test_the_session_changes_after_seven_days(scene: Scene) -> None:
    first = await scene.say()
    await scene.pool.execute("UPDATE megolm_outbound SET created_at = created_at - interval '7 days'")
    with pytest.raises(ShareOutdated):
        await scene.encrypt()
    assert (await scene.say())["session_id"] != first["session_id"]


async def test_a_changed_identity_gets_nothing_until_it_is_released(scene: Scene) -> None:
    scene.server.identities[CLIENT] = scene.phone.identity = identity()
    first = await scene.say()
    scene.server.identities[CLIENT] = scene.phone.identity = identity()
    await scene.devices_changed()
    with pytest.raises(ShareOutdated):
        await scene.encrypt()
    assert await scene.share() == Hold("identity_changed")
    assert await scene.share(scene.another_process()) == Hold("identity_changed")
    with pytest.raises(ShareOutdated):
        await scene.encrypt()
    async with transaction(scene.pool) as tx:
        await scene.machine.release_identity(tx, CLIENT)
    scene.phone.take(scene.server)
    content = await scene.say("again")
    scene.phone.take(scene.server)
    assert scene.phone.read(content)["content"]["body"] == "again"
    assert scene.phone.read(first)


async def test_an_unsigned_device_of_somebody_with_an_identity_gets_no_key(scene: Scene) -> None:
    scene.server.identities[CLIENT] = scene.phone.identity = identity()
    stranger = Peer(CLIENT, "STRANGER")
    scene.server.peers.append(stranger)
    await scene.say()
    assert stranger.take(scene.server) == []
    assert len(scene.phone.take(scene.server)) == 1
    assert scene.server.withheld == {(CLIENT, "STRANGER"): "m.unverified"}


async def test_only_unsigned_devices_hold_the_message(scene: Scene) -> None:
    scene.server.identities[CLIENT] = identity()
    assert await scene.share() == Hold("no_device", "unsigned")


async def test_a_device_without_one_time_keys_does_not_hold_up_the_others(scene: Scene) -> None:
    tablet = Peer(CLIENT, "TABLET")
    scene.server.peers.append(tablet)
    scene.server.exhausted.add("TABLET")
    await scene.say()
    assert (len(scene.phone.take(scene.server)), tablet.take(scene.server)) == (1, [])
    scene.server.exhausted.clear()
    await scene.pool.execute("UPDATE megolm_outbound SET retry_at = now()")
    second = await scene.say()
    tablet.take(scene.server)
    assert tablet.read(second)


async def test_nobody_with_a_one_time_key_holds_the_message(scene: Scene) -> None:
    scene.server.exhausted.add("PHONE")
    assert await scene.share() == Hold("no_device", "no_one_time_key")
    assert await scene.pool.fetchval("SELECT count(*) FROM megolm_outbound") == 0
    scene.server.exhausted.clear()
    assert await scene.say()


async def test_a_one_time_key_that_its_device_did_not_sign_is_not_used(scene: Scene) -> None:
    forger = Peer(CLIENT, "PHONE")

    def tamper(answer: dict[str, object]) -> dict[str, object]:
        if "one_time_keys" in answer:
            answer["one_time_keys"] = {CLIENT: {"PHONE": forger.one_time_key()}}
        return answer

    scene.server.tamper = tamper
    assert await scene.share() == Hold("no_device", "no_one_time_key")


async def test_a_share_that_was_stored_is_sent_again_after_a_crash(scene: Scene) -> None:
    scene.server.broken.add("send_to_device")
    with pytest.raises(Unavailable):
        await scene.share()
    with pytest.raises(ShareOutdated):
        await scene.encrypt()
    stored = await scene.pool.fetchval("SELECT txn_id FROM megolm_share")
    scene.server.broken.clear()
    other = scene.another_process()
    await scene.share(other)
    content = await scene.encrypt(machine=other)
    assert scene.server.transactions == {stored: 1}
    scene.phone.take(scene.server)
    assert scene.phone.read(content)


async def test_a_crash_after_sending_sends_the_same_again(scene: Scene) -> None:
    await scene.share()
    (first,) = scene.server.inbox[CLIENT, "PHONE"]
    scene.server.forgetful = True
    await scene.pool.execute("UPDATE megolm_outbound SET shared_version = NULL")
    await scene.pool.execute("UPDATE megolm_share SET sent_at = NULL, content = $1", first)
    await scene.share(scene.another_process())
    assert list(scene.server.transactions.values()) == [2]
    assert scene.server.inbox[CLIENT, "PHONE"] == [first, first]


async def test_two_processes_never_use_one_index_twice(scene: Scene) -> None:
    machines = [scene.another_process() for _ in range(3)]

    async def talk(n: int) -> list[str]:
        said = []
        for _ in range(10):
            await scene.share(machines[n])
            content = await scene.encrypt(f"from {n}", machines[n])
            said.append(content["ciphertext"])
        return said

    said = [text for texts in await asyncio.gather(*map(talk, range(3))) for text in texts]
    scene.phone.take(scene.server)
    (session,) = scene.phone.heard.values()
    indices = [session.decrypt(vodozemac.MegolmMessage.from_base64(text)).message_index for text in said]
    assert sorted(indices) == list(range(30))


async def test_an_index_whose_transaction_failed_is_used_by_the_next(scene: Scene) -> None:
    await scene.share()
    with suppress(ZeroDivisionError):
        async with transaction(scene.pool) as tx:
            await scene.machine.encrypt(
                tx, leg_id=scene.leg_id, room_id=ROOM, puppet=scene.face, events=[("m", {"body": "lost"})]
            )
            raise ZeroDivisionError
    content = await scene.encrypt("kept")
    scene.phone.take(scene.server)
    assert scene.phone.read(content)["content"]["body"] == "kept"
    assert await scene.pool.fetchval("SELECT next_index FROM megolm_outbound") == 1


async def test_two_puppets_share_sessions_of_their_own(scene: Scene) -> None:
    mask = await add_puppet(scene.pool, "mask")
    await scene.machine.provision(scene.pool, mask)
    await asyncio.gather(scene.share(), scene.share(puppet=mask))
    senders = {key["sender"] for key in scene.phone.take(scene.server)}
    assert senders == {scene.face.user_id, mask.user_id}
    assert scene.server.queries >= 1


async def test_two_processes_that_share_at_once_agree_on_a_session(scene: Scene) -> None:
    machines = [scene.another_process() for _ in range(4)]
    states = await asyncio.gather(*(scene.share(machine) for machine in machines))
    assert len({state.session_id for state in states}) == 1


async def test_a_device_that_lost_its_session_gets_the_key_again(scene: Scene) -> None:
    """It says so by an m.dummy over a new Olm session; what it missed it can then read."""
    first = await scene.say("first")
    scene.server.inbox.clear()  # lost with the device's store
    scene.phone.sessions.clear()
    await scene.pool.execute("UPDATE megolm_share SET sent_at = sent_at - interval '1 minute'")
    keys = await scene.device_keys(scene.face)
    dummy = scene.phone.olm(keys, scene.one_time_key(scene.face), "m.dummy", {})
    received = await scene.receive(dummy, puppet=scene.face)
    assert received.reshare == {scene.leg_id}
    await scene.share()
    scene.phone.take(scene.server)
    assert scene.phone.read(first)["content"]["body"] == "first"
    assert scene.phone.read(await scene.encrypt("next"))["content"]["body"] == "next"


async def test_a_broken_olm_session_is_replaced_once_an_hour(scene: Scene) -> None:
    await scene.know()
    machine = scene.machine
    assert await machine.replace_olm_session(scene.pool, scene.assistant, CLIENT, "PHONE")
    assert [inside["type"] for inside in scene.phone.take(scene.server)] == ["m.dummy"]
    assert not await machine.replace_olm_session(scene.pool, scene.assistant, CLIENT, "PHONE")
    assert not await machine.replace_olm_session(scene.pool, scene.assistant, CLIENT, "NONE")
    await scene.pool.execute("UPDATE olm_replacement SET at = at - interval '61 minutes'")
    scene.server.broken.add("claim_keys")
    with pytest.raises(Unavailable):
        await machine.replace_olm_session(scene.pool, scene.assistant, CLIENT, "PHONE")
    scene.server.broken.clear()
    assert await machine.replace_olm_session(scene.pool, scene.assistant, CLIENT, "PHONE")


async def test_nothing_secret_stands_in_the_tables(scene: Scene) -> None:
    await scene.say()
    session_key = scene.phone.take(scene.server)[0]["content"]["session_key"]
    for table in ("megolm_outbound", "megolm_share", "crypto_account", "olm_session"):
        dump = str(await scene.pool.fetch(f"SELECT * FROM {table}"))
        assert session_key not in dump
        assert session_key.encode().hex() not in dump
