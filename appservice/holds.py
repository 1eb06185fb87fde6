"""Whether a client can be written to now: they have a device, and it is still theirs.

A leg that can't be written to holds its deliveries and says why; the portal shows it (P2, M13).
"""

from collections.abc import Collection

from appservice.context import Context
from bridge import identities, legs
from bridge.database import transaction
from bridge.feed import Change, Notification, notify
from bridge.legs import Leg


async def look(context: Context, users: Collection[str]) -> None:
    """Fetch these clients' devices, and hold or let go their legs by what is found.

    The change is announced with its commit: whoever carries the outbox hears it there.
    """
    if not users:
        return
    async with transaction(context.pool) as tx:
        unsigned = await identities.unsigned(tx, users)
    await context.machine.refresh_devices(context.pool, sorted(users), context.acting)
    async with transaction(context.pool) as tx:
        # They wait as before, but for something else: the portal says what.
        otherwise = unsigned ^ await identities.unsigned(tx, users)
        for leg in await legs.of_users(tx, users):
            if leg.hold != "left":
                found = await context.machine.recipients(tx, leg.user_id)
                moved = await legs.set_hold(tx, leg.id, found.hold.reason if found.hold else None)
                if leg.user_id in otherwise and not moved:
                    await notify(tx, Notification(Change.CONVERSATION, leg.conversation_id))


async def look_at_new(context: Context, leg: Leg) -> None:
    """At the client of a leg that has just opened. Who is known to have a device isn't asked about: they are
    once more before the leg's first message."""
    async with transaction(context.pool) as tx:
        found = await context.machine.recipients(tx, leg.user_id)
        if found.hold is None:
            await legs.set_hold(tx, leg.id, None)
            return
    await look(context, [leg.user_id])


async def look_again(context: Context) -> None:
    """At those who have a device and still wait: the news of its signature can be lost."""
    async with transaction(context.pool) as tx:
        users = await legs.held_with_devices(tx)
    await look(context, users)
