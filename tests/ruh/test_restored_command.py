"""After an older database was put back nothing is encrypted with a ratchet that has turned back."""

import pytest

from appservice.lease import Lease
from bridge import activation, sessions
from bridge.database import Pool, transaction
from ruh.main import _parser
from ruh.upkeep import StillRunning, restored
from tests.ruh.test_audit_command import settings
from tests.support.thread import NOW, Thread, a_thread


async def a_backup(pool: Pool) -> Thread:
    """With a session to a room, shared with a device, one to that device, a link and somebody signed in."""
    thread = await a_thread(pool)
    async with transaction(pool) as tx:
        puppet = await tx.fetchval("SELECT id FROM puppet WHERE kind = 'face'")
        await tx.execute("INSERT INTO crypto_user (user_id) VALUES ('@c')")
        await tx.execute(
            "INSERT INTO megolm_outbound (leg_id, puppet_id, room_id, user_id, session_id, pickle)"
            " VALUES ($1, $2, '!r', '@c', 's', 'p')",
            thread.leg, puppet,
        )  # fmt: skip
        await tx.execute(
            "INSERT INTO megolm_share (leg_id, puppet_id, device_id, curve25519, key_sealed)"
            " VALUES ($1, $2, 'D', 'k', 'x')",
            thread.leg, puppet,
        )  # fmt: skip
        await tx.execute("INSERT INTO olm_session VALUES ($1, 'k', 's', 'p', now())", puppet)
        await activation.issue(tx, thread.client.id)
        await sessions.begin(tx, thread.therapist.id, NOW)
    return thread


async def count(pool: Pool) -> dict[str, int]:
    tables = ("megolm_outbound", "megolm_share", "olm_session", "activation", "portal_session", "person")
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


async def test_ratchets_links_and_sign_ins_are_begun_anew_and_nothing_else(
    pool: Pool, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_backup(pool)
    before = await count(pool)
    assert await restored(settings(database_url)) == 0
    assert await count(pool) == {**dict.fromkeys(before, 0), "person": before["person"]}
    assert "1 sessions to rooms" in capsys.readouterr().out


async def test_it_is_refused_while_an_appservice_is_at_work(pool: Pool, database_url: str) -> None:
    await a_backup(pool)
    before = await count(pool)
    async with Lease(database_url, 0):
        with pytest.raises(StillRunning):
            await restored(settings(database_url))
    assert await count(pool) == before


def test_it_is_a_command() -> None:
    assert _parser().parse_args(["restored"]).run.__name__ == "_restored"
