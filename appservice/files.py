"""Fetches the files that clients sent, decrypts them and seals them for the portal."""

import asyncio

import structlog
from nio.crypto.attachments import decrypt_attachment
from nio.exceptions import EncryptionError

from appservice.backoff import gives_up, wait
from appservice.context import Context
from appservice.homeserver import HomeserverError
from bridge import attachments
from bridge.attachments import Wanted
from bridge.database import transaction

log = structlog.get_logger()
LIMIT = 100 * 2**20  # bytes


async def fetch_due(context: Context) -> int:
    """The files that are wanted now, one after the other; returns how many there were."""
    async with transaction(context.pool) as tx:
        due = await attachments.due(tx, context.keyring)
    for wanted in due:
        await _fetch(context, wanted)
    return len(due)


async def _fetch(context: Context, wanted: Wanted) -> None:
    again: float | None
    try:
        data = await context.homeserver.download_media(wanted.source["url"], context.acting, limit=LIMIT)
        data = await asyncio.to_thread(_decrypt, wanted.source, data)
    except HomeserverError as error:
        code, again = error.errcode, None
        if not gives_up(error, wanted.attempts + 1):
            again = wait(error, wanted.attempts + 1)
    except (EncryptionError, KeyError, TypeError, ValueError):
        code, again = "undecryptable", None
    else:
        async with transaction(context.pool) as tx:
            await attachments.store(tx, context.keyring, wanted, data)
        return
    log.warning("attachment_failed", attachment=str(wanted.id), error=code, again_in=again)
    async with transaction(context.pool) as tx:
        await attachments.failed(tx, wanted, code, again)


def _decrypt(source: dict[str, object], data: bytes) -> bytes:
    """As the spec's "Sending encrypted attachments"; a file sent in clear is taken as it is."""
    if "key" not in source:
        return data
    key, hashes, iv = source["key"], source["hashes"], source["iv"]
    return bytes(decrypt_attachment(data, key["k"], hashes["sha256"], iv))  # type: ignore[index]
