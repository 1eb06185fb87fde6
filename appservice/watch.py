"""After each sync: clients' devices are looked at again, held legs let go, one-time keys kept up.

A device-list change says when to look (matrix.md, Sending): a client who signs in for the first time gets
what waited for them within a moment.
"""

import asyncio

import structlog

from appservice import holds
from appservice.context import Context
from appservice.homeserver import HomeserverError
from appservice.sync import Outcome
from bridge import legs, outbox
from bridge.database import UNREACHABLE, transaction

log = structlog.get_logger()
RETRY = 5.0  # seconds
FAILURES: tuple[type[Exception], ...] = (HomeserverError, *UNREACHABLE)


class Watch:
    def __init__(self, context: Context) -> None:
        self._context = context
        self.legs_due = asyncio.Event()
        self.parked_due = asyncio.Event()
        self.files_due = asyncio.Event()
        self.names_due = asyncio.Event()
        self.blasts_due = asyncio.Event()
        self.revocations_due = asyncio.Event()

    @property
    def everything(self) -> tuple[asyncio.Event, ...]:
        return (
            self.legs_due, self.parked_due, self.files_due, self.names_due, self.blasts_due,
            self.revocations_due,
        )  # fmt: skip

    async def run(self, outcomes: asyncio.Queue[Outcome]) -> None:
        """For ever. At the start every held user is looked at: a change may have been missed."""
        users = await self._held_users()
        while True:
            try:
                await holds.look(self._context, users)
                users = set()
            except HomeserverError as error:
                log.warning("devices_not_seen", error=error.errcode, users=len(users))
            except UNREACHABLE as error:
                log.warning("database_unreachable", error=type(error).__name__)
            try:
                async with asyncio.timeout(RETRY if users else None):
                    outcome = await outcomes.get()
            except TimeoutError:
                continue
            users |= outcome.changed_users
            if outcome.homeserver_is_back:
                await self._go_on()
            await self._upkeep(outcome)

    async def _go_on(self) -> None:
        """What was put off while nobody answered is tried now, and not when its own pause ends."""
        try:
            async with transaction(self._context.pool) as tx:
                await outbox.hasten(tx)
        except UNREACHABLE as error:
            log.warning("database_unreachable", error=type(error).__name__)

    async def _held_users(self) -> set[str]:
        async with transaction(self._context.pool) as tx:
            return set(await legs.held_users(tx))

    async def _upkeep(self, outcome: Outcome) -> None:
        context = self._context
        try:
            await context.machine.one_time_keys(
                context.pool, context.assistant, outcome.key_counts or {}, outcome.unused_fallbacks
            )
            for user_id, device_id in outcome.wedged:
                await context.machine.replace_olm_session(context.pool, context.assistant, user_id, device_id)
        except FAILURES as error:
            log.warning("keys_not_kept_up", error=type(error).__name__)
