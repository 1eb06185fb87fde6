"""A changed identity is released by the organiser, for every conversation of that client, and recorded."""

import pytest

from bridge import conversations, identities, legs
from bridge.database import Pool, transaction
from bridge.errors import Invalid, NotAllowed, NotFound
from bridge.feed import Change, listen
from policies.content import Notice
from tests.support.thread import Thread, a_thread


@pytest.fixture
async def thread(pool: Pool) -> Thread:
    """The client's identity has changed and their leg is held."""
    thread = await a_thread(pool)
    await thread.open_leg()
    await thread.say("before")
    await change(thread, "pinned", "offered")
    return thread


async def user(thread: Thread) -> str:
    return str(await thread.pool.fetchval("SELECT user_id FROM leg WHERE id = $1", thread.leg))


async def change(thread: Thread, pinned: str | None, offered: str | None) -> None:
    async with transaction(thread.pool) as tx:
        await tx.execute(
            "INSERT INTO crypto_user (user_id, state, master_key, offered_master_key)"
            " VALUES ($1, 'changed', $2, $3)",
            await user(thread), pinned, offered,
        )  # fmt: skip
        await legs.set_hold(tx, thread.leg, identities.CHANGED)


async def shown(thread: Thread) -> list[identities.Offered]:
    async with transaction(thread.pool) as tx:
        return await identities.offered(tx, actor=thread.therapist.id, conversation=thread.id)


async def release(thread: Thread, actor: object = None) -> object:
    """By what the organiser is shown now."""
    try:
        seen = [one.mark for one in await shown(thread)]
    except Invalid:
        seen = []
    return await thread.act(identities.release, actor=actor or thread.therapist.id, seen=seen)


async def identity(thread: Thread) -> tuple[str, str | None, int]:
    row = await thread.pool.fetchrow(
        "SELECT state, master_key, version FROM crypto_user WHERE user_id = $1", await user(thread)
    )
    assert row is not None
    return row["state"], row["master_key"], row["version"]


async def test_releasing_pins_what_is_offered_and_lets_the_leg_go(thread: Thread) -> None:
    _, _, version = await identity(thread)
    assert await release(thread) == [thread.client.id]
    assert await identity(thread) == ("pinned", "offered", version + 1)
    assert await thread.pool.fetchval("SELECT hold FROM leg WHERE id = $1", thread.leg) is None


async def test_it_stands_in_the_journal_for_staff_and_in_the_audit_trail(thread: Thread) -> None:
    await release(thread)
    line = (await thread.lines())[-1]
    assert line.content == Notice("identity_released", {"person": str(thread.client.id)})
    assert line.author_id == thread.therapist.id
    assert ("notice", "pending") not in await thread.deliveries()
    row = await thread.pool.fetchrow(
        "SELECT actor_id, subject_id FROM audit WHERE action = 'identity_released'"
    )
    assert tuple(row) == (thread.therapist.id, thread.client.id)


async def test_the_appservice_hears_of_it(thread: Thread, database_url: str) -> None:
    feed = listen(database_url)
    assert (await anext(feed)).change is Change.REWAKE
    await release(thread)
    assert (await anext(feed)).change is Change.CONVERSATION
    await feed.aclose()  # type: ignore[attr-defined]


async def test_only_the_organiser_releases(thread: Thread) -> None:
    outsider = (await a_thread(thread.pool)).therapist
    with pytest.raises(NotFound):
        await release(thread, outsider.id)
    with pytest.raises(NotAllowed):
        await release(thread, thread.client.id)
    assert (await identity(thread))[0] == "changed"


async def test_a_second_release_is_told_that_there_is_nothing_to_do(thread: Thread) -> None:
    await release(thread)
    with pytest.raises(Invalid):
        await release(thread)


@pytest.mark.parametrize("hold", [None, "no_device", "left"])
async def test_other_reasons_to_wait_are_not_released(thread: Thread, hold: str | None) -> None:
    async with transaction(thread.pool) as tx:
        await legs.set_hold(tx, thread.leg, hold)
    with pytest.raises(Invalid):
        await release(thread)
    assert (await identity(thread))[0] == "changed"


async def test_an_identity_that_was_taken_away_is_none_afterwards(pool: Pool) -> None:
    thread = await a_thread(pool)
    await thread.open_leg()
    await change(thread, "pinned", None)
    await release(thread)
    assert (await identity(thread))[:2] == ("new", None)


async def test_what_the_client_has_with_somebody_else_goes_on_too(thread: Thread) -> None:
    other = await a_thread(thread.pool)
    await thread.pool.execute(
        "UPDATE leg SET user_id = $2, hold = $3 WHERE id = $1",
        other.leg,
        await user(thread),
        identities.CHANGED,
    )
    await release(thread)
    assert await thread.pool.fetchval("SELECT hold FROM leg WHERE id = $1", other.leg) is None


async def test_what_changed_again_since_it_was_shown_is_not_released(thread: Thread) -> None:
    before = await shown(thread)
    await thread.pool.execute("UPDATE crypto_user SET offered_master_key = 'another'")
    with pytest.raises(Invalid) as refused:
        await thread.act(identities.release, actor=thread.therapist.id, seen=[one.mark for one in before])
    assert refused.value.code == identities.CHANGED_AGAIN
    assert (await identity(thread))[:2] == ("changed", "pinned")
    assert await thread.pool.fetchval("SELECT hold FROM leg WHERE id = $1", thread.leg) == identities.CHANGED
    now = await shown(thread)
    assert now[0].code != before[0].code
    await thread.act(identities.release, actor=thread.therapist.id, seen=[one.mark for one in now])
    assert (await identity(thread))[:2] == ("pinned", "another")


@pytest.mark.parametrize(
    ("master_key", "devices", "said"),
    [(None, [], "no_device"), ("key", [], "no_device"), ("key", [False], "unsigned"),
     ("key", [False, True], "no_device"), (None, [False], "no_device")],
)  # fmt: skip
async def test_who_has_signed_in_without_verifying_waits_for_something_else(
    pool: Pool, master_key: str | None, devices: list[bool], said: str
) -> None:
    thread = await a_thread(pool)
    who = await user(thread)
    async with transaction(pool) as tx:
        await tx.execute(
            "INSERT INTO crypto_user (user_id, state, master_key) VALUES ($1, 'pinned', $2)", who, master_key
        )
        for n, signed in enumerate(devices):
            await tx.execute(
                "INSERT INTO crypto_device (user_id, device_id, curve25519, ed25519, signed)"
                " VALUES ($1, $2, $2, $2, $3)",
                who, str(n), signed,
            )  # fmt: skip
        await legs.set_hold(tx, thread.leg, "no_device")
        found = await conversations.one(tx, thread.keys, thread.therapist.id, thread.id)
        assert found.holds == ((thread.client.id, said),)
        assert await identities.unsigned(tx, [who]) == ({who} if said == "unsigned" else set())
