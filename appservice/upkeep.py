"""What the service does for itself: it links the audit trail, a second behind whoever writes to it."""

import structlog

from appservice.context import Context
from bridge import audit
from bridge.database import transaction

log = structlog.get_logger()
SAY_EVERY = 100  # links: where the log is kept elsewhere, it shows later whether the chain is still that one


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
