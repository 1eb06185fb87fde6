"""Links: one use, within their time, the newest only; and looking is free."""

import asyncio
from datetime import timedelta

import pytest

from bridge import activation, people
from bridge.activation import Found
from bridge.database import Pool, transaction
from bridge.errors import LinkExpired, LinkUnknown, LinkUsed, RuhError
from policies.vocabulary import PersonStatus
from tests.support.people import keyring, pair

KEYS = keyring()


async def test_looking_at_a_link_does_not_use_it_up(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        link = await activation.issue(tx, client.id)
        for _ in range(3):
            assert (await activation.find(tx, link.token)).used_at is None
        used = await activation.use(tx, link.token)
        assert (used.person_id, used.expires_at) == (client.id, link.expires_at)
        assert (await activation.find(tx, link.token)).used_at is not None


async def test_a_link_is_used_once(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        link = await activation.issue(tx, client.id)
        await activation.use(tx, link.token)
        with pytest.raises(LinkUsed):
            await activation.use(tx, link.token)


async def test_of_ten_uses_at_the_same_instant_one_succeeds(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        link = await activation.issue(tx, client.id)

    async def use() -> Found:
        async with transaction(pool) as tx:
            return await activation.use(tx, link.token)

    outcomes = await asyncio.gather(*(use() for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, Found) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, LinkUsed) for outcome in outcomes) == 9


async def test_a_newer_link_takes_the_place_of_the_older(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        older = await activation.issue(tx, client.id)
        newer = await activation.issue(tx, client.id)
        with pytest.raises(LinkUnknown):
            await activation.use(tx, older.token)
        assert (await activation.use(tx, newer.token)).person_id == client.id


async def test_two_links_made_at_the_same_instant_leave_one(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)

    async def issue() -> str:
        async with transaction(pool) as tx:
            return (await activation.issue(tx, client.id)).token

    tokens = await asyncio.gather(*(issue() for _ in range(6)))
    async with transaction(pool) as tx:
        found = [await _works(tx, token) for token in tokens]
    assert found.count(True) == 1


async def _works(tx: object, token: str) -> bool:
    try:
        await activation.find(tx, token)  # type: ignore[arg-type]
    except RuhError:
        return False
    return True


async def test_an_old_link_says_that_it_is_old(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        link = await activation.issue(tx, client.id, lifetime=timedelta(seconds=-1))
        for act in (activation.find, activation.use):
            with pytest.raises(LinkExpired):
                await act(tx, link.token)


async def test_a_used_link_is_still_found_after_its_time(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        link = await activation.issue(tx, client.id)
        await activation.use(tx, link.token)
        await tx.execute("UPDATE activation SET expires_at = now() - interval '1 second'")
        assert (await activation.find(tx, link.token)).used_at is not None


async def test_the_table_does_not_hold_the_token(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        link = await activation.issue(tx, client.id)
        row = await tx.fetchrow("SELECT * FROM activation")
    assert len(link.token) >= 43
    assert link.token not in repr(dict(row))


@pytest.mark.parametrize("token", ["", "x", "\x00", "ü" * 500, "../../etc", "A" * 43])
async def test_a_made_up_token_opens_nothing(pool: Pool, token: str) -> None:
    async with transaction(pool) as tx:
        with pytest.raises(LinkUnknown):
            await activation.find(tx, token)
        with pytest.raises(LinkUnknown):
            await activation.use(tx, token)


async def test_archived_staff_can_not_activate_and_archived_clients_can(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        links = [await activation.issue(tx, person.id) for person in (therapist, client)]
        for person in (therapist, client):
            await people.update(tx, KEYS, person.id, status=PersonStatus.ARCHIVED)
        with pytest.raises(LinkUnknown):
            await activation.use(tx, links[0].token)
        assert (await activation.use(tx, links[1].token)).person_id == client.id
