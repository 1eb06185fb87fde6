"""Where the assistant of a shard is in its sync, and which process has the shard.

The epoch fences: a process that lost its lease can't move the token any more.
"""

from bridge.database import Transaction
from bridge.errors import RuhError


class LeaseLost(RuhError):
    """Another appservice has taken over this shard."""


async def take(tx: Transaction, shard: int) -> tuple[int, str | None]:
    """The new epoch and the sync token."""
    row = await tx.fetchrow(
        "INSERT INTO shard (id, epoch) VALUES ($1, 1)"
        " ON CONFLICT (id) DO UPDATE SET epoch = shard.epoch + 1 RETURNING epoch, sync_token",
        shard,
    )
    assert row is not None
    return row["epoch"], row["sync_token"]


async def advance(tx: Transaction, shard: int, epoch: int, token: str) -> None:
    """Raises LeaseLost when somebody took the shard meanwhile; the caller's transaction goes back."""
    moved = await tx.fetchval(
        "UPDATE shard SET sync_token = $3, synced_at = now() WHERE id = $1 AND epoch = $2 RETURNING id",
        shard, epoch, token,
    )  # fmt: skip
    if moved is None:
        raise LeaseLost
