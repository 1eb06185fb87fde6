"""`ruh audit verify` says how many links hold, and ends with 1 at the first that doesn't."""

import base64
import re

import pytest

from bridge import audit
from bridge.audit import Did
from bridge.config import CommonSettings, load
from bridge.database import Pool, transaction
from bridge.sealing import Keyring
from ruh.main import _parser
from ruh.upkeep import KeyMissing, verify_audit

MASTER = b"v" * 32


def settings(database_url: str, master: bytes = MASTER) -> CommonSettings:
    return load(
        CommonSettings,
        {
            "RUH_DATABASE_URL": database_url,
            "RUH_MASTER_KEY": base64.b64encode(master).decode(),
            "RUH_SERVER_NAME": "ruh.test",
            "RUH_HOMESERVER_PUBLIC_URL": "https://matrix.ruh.test",
        },
    )


async def a_chain(pool: Pool) -> None:
    async with transaction(pool) as tx:
        for did in (Did.SIGNED_IN, Did.READ, Did.SIGNED_OUT):
            await audit.record(tx, did)
        await audit.link(tx, Keyring(MASTER))


async def test_a_whole_chain_is_said_to_be_whole_with_the_end_to_note(
    pool: Pool, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_chain(pool)
    assert await verify_audit(settings(database_url), None) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 links of the audit trail hold; 0 rows are waiting")
    (command,) = re.findall(r"`ruh (.*)`", said)
    given = _parser().parse_args(command.split())
    assert await verify_audit(settings(database_url), given.noted) == 0


async def test_a_broken_link_is_named_and_the_exit_code_says_so(
    pool: Pool, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_chain(pool)
    await pool.execute(
        "ALTER TABLE audit DISABLE TRIGGER ALL; UPDATE audit SET action = 'left' WHERE place = 2"
    )
    assert await verify_audit(settings(database_url), None) == 1
    assert "1 links of the audit trail hold" in (said := capsys.readouterr().out)
    assert "Link 2 doesn't: its row is not what was linked." in said


async def test_another_master_key_is_no_broken_chain(pool: Pool, database_url: str) -> None:
    await a_chain(pool)
    with pytest.raises(KeyMissing):
        await verify_audit(settings(database_url, b"x" * 32), None)
