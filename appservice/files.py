"""Fetches the files that clients sent, decrypts them and seals them for the portal."""

import asyncio
import base64
import hashlib
import hmac
from typing import Any

import structlog
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

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
    except (KeyError, TypeError, ValueError):
        code, again = "undecryptable", None
    else:
        async with transaction(context.pool) as tx:
            await attachments.store(tx, context.keyring, wanted, data)
        return
    log.warning("attachment_failed", attachment=str(wanted.id), error=code, again_in=again)
    async with transaction(context.pool) as tx:
        await attachments.failed(tx, wanted, code, again)


def _decrypt(source: dict[str, Any], data: bytes) -> bytes:
    """As the spec's "Sending encrypted attachments"; a file sent in clear is taken as it is.

    Raises KeyError, TypeError or ValueError for what is malformed or has been changed on its way.
    """
    if "key" not in source:
        return data
    key, counter = _unbase64(source["key"]["k"]), _unbase64(source["iv"])
    if not hmac.compare_digest(hashlib.sha256(data).digest(), _unbase64(source["hashes"]["sha256"])):
        raise ValueError("the file is not the one that was sent")
    return Cipher(AES256(key), CTR(counter)).decryptor().update(data)


def _unbase64(text: str) -> bytes:
    """Either alphabet, padded or not: a JSON Web Key's is another than Matrix's own."""
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
