"""What the service does for itself: it links the audit trail, a second behind whoever writes to it, erases
what was deleted long enough ago, and looks after the Client Care groups.
"""

from datetime import UTC, datetime

import structlog

from appservice.context import Context
from bridge import audit, client_care, restore
from bridge.database import transaction

log = structlog.get_logger()
AT_ONCE = 100  # messages to be erased
SAY_EVERY = 100  # links: where the log is kept elsewhere, it shows later whether the chain is still that one


async def erase_deleted(context: Context) -> bool:
    """True when there may be more."""
    async with transaction(context.pool) as tx:
        erased = await restore.erase_due(tx, at=datetime.now(UTC), limit=AT_ONCE)
    if erased:
        log.info("deleted_erased", messages=erased)
    return erased == AT_ONCE


async def link_audit(context: Context) -> None:
    async with context.pool.acquire() as connection:
        if not await audit.has_unlinked(connection):
            return
    async with transaction(context.pool) as tx:
        linked = await audit.link(tx, context.keyring)
    if linked is not None:
        rows, head = linked
        if head.place // SAY_EVERY != (head.place - rows) // SAY_EVERY:
            log.info("audit_linked", head=str(head))


async def keep_client_care(context: Context) -> None:
    """They follow the team by themselves; this is for those from before, and for what went wrong."""
    async with transaction(context.pool) as tx:
        if brought := await client_care.bring(tx, context.keyring):
            log.info("client_care_brought", groups=brought)
