"""Wires the appservice together: one process, one shard, a task for each thing it does.

A task that ends unexpectedly takes the process down with it, so that whoever supervises it starts all of it
anew: a half-working bridge would look alive.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta

import aiohttp
import structlog

from appservice import blasts, files, holds, masks, mend, metrics, renames, revoke, show_typing, upkeep
from appservice.accounts import bring_accounts
from appservice.backoff import wait
from appservice.builder import Builder
from appservice.carrier import Carrier
from appservice.context import Context
from appservice.crypto.machine import Machine
from appservice.homeserver import Homeserver, HomeserverError
from appservice.lease import Lease
from appservice.sync import Outcome, Syncer
from appservice.watch import Watch
from bridge import feed, puppets, seats, shards
from bridge.config import AppserviceSettings
from bridge.database import UNREACHABLE, Pool, open_pool, transaction
from bridge.feed import Change, Notification
from bridge.sealing import Keyring, standing_key
from policies import naming

log = structlog.get_logger()
SHARD = 0


async def run(settings: AppserviceSettings) -> None:
    """Until SIGTERM or SIGINT, or until the shard is lost."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    metrics.serve(settings.metrics_port)
    pool = await open_pool(settings.database_url, size=16)
    connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=60)
    try:
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            Lease(settings.database_url, SHARD) as lease,
        ):
            homeserver = Homeserver(
                http, settings.homeserver_url, settings.as_token.get_secret_value(),
                settings.homeserver_admin_token.get_secret_value(),
            )  # fmt: skip
            await _until_first(_work(settings, pool, homeserver), stop.wait(), lease.lost.wait())
    finally:
        await pool.close()


async def _until_first(*awaitables: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(a) for a in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _work(settings: AppserviceSettings, pool: Pool, homeserver: Homeserver) -> None:
    context = await _context(settings, pool, homeserver)
    async with transaction(pool) as tx:
        epoch, token = await shards.take(tx, SHARD)
    log.info("appservice_ready", shard=SHARD, epoch=epoch)
    carrier = Carrier(context)
    watch = Watch(context)
    outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
    syncer = Syncer(context, epoch, token)
    accounts_due = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(syncer.run(outcomes))
        tasks.create_task(_after(syncer.caught_up, carrier))
        tasks.create_task(watch.run(outcomes))
        tasks.create_task(_hear(settings.database_url, context, carrier, watch, accounts_due))
        tasks.create_task(bring_accounts(pool, context.keyring, homeserver, woken=accounts_due))
        tasks.create_task(Builder(context, watch.legs_due).run())
        tasks.create_task(_every(2.0, watch.parked_due, mend.retry_parked, context))
        tasks.create_task(_every(10.0, watch.files_due, files.fetch_due, context))
        tasks.create_task(_every(300.0, asyncio.Event(), mend.empty_inboxes, context))
        tasks.create_task(_every(15.0, asyncio.Event(), metrics.gauge, context))
        tasks.create_task(_every(30.0, watch.blasts_due, blasts.carry_out, context))
        tasks.create_task(_every(2.0, watch.revocations_due, revoke.work_due, context))
        tasks.create_task(_every(20.0, asyncio.Event(), holds.look_again, context))
        tasks.create_task(_every(600.0, watch.names_due, renames.bring_names, context))
        tasks.create_task(_every(1.0, asyncio.Event(), upkeep.link_audit, context))
        tasks.create_task(_every(60.0, asyncio.Event(), upkeep.erase_deleted, context))
        tasks.create_task(_every(600.0, asyncio.Event(), upkeep.keep_client_care, context))


async def _context(settings: AppserviceSettings, pool: Pool, homeserver: Homeserver) -> Context:
    """The assistant itself is brought first; the homeserver may take its time to come up."""
    keyring = Keyring(settings.master_key_bytes, settings.previous_master_key_bytes)
    async with transaction(pool) as tx:
        devices = await standing_key(tx, keyring, "devices")
        assistant = await puppets.get(tx, await seats.ensure_assistant(tx, settings.server_name))
    machine = Machine(homeserver, devices)
    failures = 0
    while True:
        try:
            await masks.bring(pool, homeserver, machine, assistant, naming.ASSISTANT_NAME)
            break
        except HomeserverError as error:
            failures += 1
            seconds = wait(error, failures, give_up=False)
            log.warning("homeserver_not_ready", error=error.errcode, seconds=round(seconds, 1))
            await asyncio.sleep(seconds)
    patience = timedelta(days=settings.removal_patience_days)
    return Context(
        pool, keyring, homeserver, machine, assistant, settings.server_name, SHARD, patience,
        timedelta(days=settings.keep_deleted_days),
        settings.practice_name,
    )  # fmt: skip


async def _after(caught_up: asyncio.Event, carrier: Carrier) -> None:
    await caught_up.wait()
    await carrier.run()


async def _hear(
    url: str, context: Context, carrier: Carrier, watch: Watch, accounts_due: asyncio.Event
) -> None:
    """The feed wakes whoever has something to do."""

    def wake_all(_: Notification) -> None:
        carrier.wake(None)
        for event in (*watch.everything, accounts_due):
            event.set()

    def roster(change: Notification) -> None:
        watch.legs_due.set()
        watch.revocations_due.set()
        carrier.wake(change.conversation)

    def account(_: Notification) -> None:
        for event in (accounts_due, watch.legs_due, watch.names_due):
            event.set()

    hear: dict[Change, Callable[[Notification], None]] = {
        Change.ENTRY: lambda change: carrier.wake(change.conversation, change.legs),
        Change.CONVERSATION: roster,
        Change.ACCOUNT: account,
        Change.BLAST: lambda _: watch.blasts_due.set(),
        Change.ATTACHMENT: lambda _: watch.files_due.set(),
        Change.REWAKE: wake_all,
    }
    async for notification in feed.listen(url):
        if notification.change is Change.TYPING:
            await show_typing.show(context, notification)
        elif notification.change in hear:
            hear[notification.change](notification)


async def _every(
    seconds: float, woken: asyncio.Event, work: Callable[[Context], Awaitable[object]], context: Context
) -> None:
    """Whenever it is woken, and every so often: a notification may have been missed."""
    while True:
        woken.clear()
        try:
            again = await work(context)
        except HomeserverError as error:
            log.warning("work_postponed", work=work.__name__, error=error.errcode)
            again = False
        except UNREACHABLE as error:
            log.warning("database_unreachable", work=work.__name__, error=type(error).__name__)
            again = False
        if again:
            continue
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass
