"""Locks on things that have no row of their own (yet); each is held until the transaction ends.

Taken before the rows that they are about, so that nobody who holds one waits for who waits for it.
"""

from bridge.database import Transaction

SETTINGS = "chat settings"
"""Whoever opens a leg holds it together with others, whoever changes what silences legs holds it alone: a leg
opened meanwhile would otherwise keep what was so before."""

CLIENT_CARE = "client care"


async def alone(tx: Transaction, what: str) -> None:
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", what)


async def together(tx: Transaction, what: str) -> None:
    """With everybody but who holds it alone."""
    await tx.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))", what)
