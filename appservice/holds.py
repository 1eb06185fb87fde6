"""Whether a client can be written to now: they have a device, and it is still theirs.

A leg that can't be written to holds its deliveries and says why; the portal shows it (P2, M13).
"""

from collections.abc import Collection

from appservice.context import Context
from bridge import legs
from bridge.database import transaction


async def look(context: Context, users: Collection[str]) -> None:
    """Fetch these clients' devices, and hold or let go their legs by what is found.

    The change is announced with its commit: whoever carries the outbox hears it there.
    """
    if not users:
        return
    await context.machine.refresh_devices(context.pool, sorted(users), context.acting)
    async with transaction(context.pool) as tx:
        for leg in await legs.of_users(tx, users):
            if leg.hold != "left":
                found = await context.machine.recipients(tx, leg.user_id)
                await legs.set_hold(tx, leg.id, found.hold.reason if found.hold else None)


async def look_again(context: Context) -> None:
    """At those who have a device and still wait: the news of its signature can be lost."""
    async with transaction(context.pool) as tx:
        users = await legs.held_with_devices(tx)
    await look(context, users)
