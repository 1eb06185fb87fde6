"""The therapist's typing, shown to the client by the therapist's face. Nothing of it is kept."""

import structlog

from appservice.context import Context
from appservice.homeserver import Acting, HomeserverError
from bridge.database import transaction
from bridge.feed import Notification

log = structlog.get_logger()


async def show(context: Context, notification: Notification) -> None:
    """In every open leg of the conversation where the person stands as a face."""
    async with transaction(context.pool) as tx:
        rows = await tx.fetch(
            "SELECT l.room_id, p.user_id, p.device_id FROM leg l JOIN occupant o ON o.leg_id = l.id"
            " JOIN puppet p ON p.id = o.puppet_id JOIN member m ON m.id = l.member_id"
            " WHERE l.conversation_id = $1 AND o.person_id = $2 AND m.person_id <> $2 AND p.kind = 'face'"
            " AND l.state = 'open' AND l.hold IS NULL AND o.joined_at IS NOT NULL"
            # Nothing new comes to whose chat is off, nor to a closed conversation (P5, C15).
            " AND NOT l.silenced AND l.frozen_at IS NULL",
            notification.conversation, notification.person,
        )  # fmt: skip
    for row in rows:
        try:
            await context.homeserver.typing(
                row["room_id"], Acting(row["user_id"], row["device_id"]), notification.on
            )
        except HomeserverError as error:
            log.info("typing_not_shown", error=error.errcode)
