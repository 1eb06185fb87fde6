"""Accounts that are wanted: who takes them when, and what becomes of a password on its way."""

import asyncio
from datetime import timedelta

import pytest

from bridge import accounts
from bridge.accounts import Account, DueAccount
from bridge.database import Pool, transaction
from bridge.errors import PersonUnknown
from bridge.sealing import Keyring
from policies.vocabulary import Person
from tests.support.people import keyring, make, pair

KEYS = keyring()


async def _claim(pool: Pool) -> list[DueAccount]:
    async with transaction(pool) as tx:
        return await accounts.claim_due(tx, 10)


async def _ask(pool: Pool, person: Person, password: str) -> None:
    async with transaction(pool) as tx:
        await accounts.request_password(tx, KEYS, person.id, password)


async def _password(pool: Pool, due: DueAccount) -> str | None:
    async with transaction(pool) as tx:
        return await accounts.open_password(tx, KEYS, due)


async def _finish(pool: Pool, due: DueAccount) -> None:
    async with transaction(pool) as tx:
        await accounts.finish(tx, due)


async def _account(pool: Pool, person: Person) -> Account:
    async with transaction(pool) as tx:
        account = await accounts.find(tx, person.id)
    assert account is not None
    return account


async def test_a_new_client_is_due_and_is_taken_once(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    claims = await asyncio.gather(*(_claim(pool) for _ in range(5)))
    assert [due.person_id for claim in claims for due in claim] == [client.id]
    async with transaction(pool) as tx:
        assert await accounts.find(tx, therapist.id) is None


async def test_an_account_is_ready_once_its_password_is_there(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    (due,) = await _claim(pool)
    await _finish(pool, due)
    assert not (await _account(pool, client)).ready
    await _ask(pool, client, "correct horse")
    (due,) = await _claim(pool)
    assert due.made
    assert await _password(pool, due) == "correct horse"
    await _finish(pool, due)
    assert (await _account(pool, client)).ready
    assert await _claim(pool) == []


async def test_the_password_stands_sealed_and_goes_when_it_is_there(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    await _ask(pool, client, "correct horse")
    sealed = await pool.fetchval("SELECT password_sealed FROM account")
    assert b"correct horse" not in sealed
    (due,) = await _claim(pool)
    await _finish(pool, due)
    assert await pool.fetchval("SELECT password_sealed FROM account") is None


async def test_a_newer_password_is_not_lost_to_the_older_ones_success(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    await _ask(pool, client, "older password")
    (older,) = await _claim(pool)
    await _ask(pool, client, "newer password")
    assert await _claim(pool) == []  # not before the older one has landed
    await _finish(pool, older)
    assert not (await _account(pool, client)).ready
    (newer,) = await _claim(pool)
    assert await _password(pool, newer) == "newer password"


async def test_a_failure_waits_and_a_new_password_does_not(pool: Pool) -> None:
    _, client = await pair(pool, KEYS)
    (due,) = await _claim(pool)
    async with transaction(pool) as tx:
        await accounts.postpone(tx, due, "RUH_UNREACHABLE", timedelta(minutes=5))
        assert 290 < (await accounts.seconds_until_due(tx) or 0) <= 300
    assert await _claim(pool) == []
    assert (await _account(pool, client)).error == "RUH_UNREACHABLE"
    await _ask(pool, client, "correct horse")
    assert [d.attempts for d in await _claim(pool)] == [1]


async def test_a_process_that_died_leaves_the_account_to_the_next(pool: Pool) -> None:
    await pair(pool, KEYS)
    await _claim(pool)
    assert await _claim(pool) == []
    await pool.execute("UPDATE account SET next_attempt_at = next_attempt_at - $1::interval", accounts.LEASE)
    assert [due.attempts for due in await _claim(pool)] == [2]


async def test_who_waits_for_a_password_goes_before_who_is_only_to_be_made(pool: Pool) -> None:
    _, first = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        second = await make(tx, KEYS)
    await _ask(pool, second, "correct horse")
    async with transaction(pool) as tx:
        (due,) = await accounts.claim_due(tx, 1)
    assert due.person_id == second.id != first.id


async def test_staff_and_closed_accounts_take_no_password(pool: Pool) -> None:
    therapist, client = await pair(pool, KEYS)
    await pool.execute("UPDATE account SET state = 'deactivated'")
    for person in (therapist, client):
        with pytest.raises(PersonUnknown):
            await _ask(pool, person, "correct horse")
    assert await _claim(pool) == []


async def test_a_password_opens_only_for_whom_it_was_sealed(pool: Pool) -> None:
    from dataclasses import replace

    from bridge.errors import SealBroken

    therapist, client = await pair(pool, KEYS)
    await _ask(pool, client, "correct horse")
    (due,) = await _claim(pool)
    with pytest.raises(SealBroken):
        await _password(pool, replace(due, person_id=therapist.id))
    async with transaction(pool) as tx:
        with pytest.raises(SealBroken):
            await accounts.open_password(tx, Keyring(b"x" * 32), due)
