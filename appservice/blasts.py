"""Carries blasts out: one recipient a transaction, for as long as there are any."""

from datetime import UTC, datetime

from appservice.context import Context
from appservice.faults import point
from bridge import blasts
from bridge.database import transaction

AT_ONCE = 50  # recipients, before anything else of this worker has its turn


async def carry_out(context: Context) -> bool:
    """True when there may be more."""
    for _ in range(AT_ONCE):
        async with transaction(context.pool) as tx:
            if not await blasts.next_recipient(tx, context.keyring, at=datetime.now(UTC)):
                return False
        point("blast.recipient")
    return True
