"""The one-to-one thread: how long one message takes, and how many the outbox carries a second."""

import asyncio
import os
from datetime import UTC, datetime

from appservice.homeserver import Acting
from bridge import sessions
from bridge.database import transaction
from tests.bench import latency, throughput
from tests.bench.practice import Bench
from tests.journeys.world import until


async def latencies(bench: Bench, count: int) -> dict[str, latency.Times]:
    async with transaction(bench.world.pool) as tx:
        token = await sessions.begin(tx, bench.therapist.id, datetime.now(UTC))
    portal = latency.Portal(bench.http, bench.portal_url, token, bench.conversations[0])
    await until(bench.portal_answers, what="the portal")
    await portal.open()
    client = bench.devices[0]
    room = await client.room()
    await client.share(room)
    sender, receiver = [await bench.device(await bench.world.client()) for _ in range(2)]
    acting = Acting(f"@ruh_bench{os.getpid()}:{bench.world.homeserver.server_name}", "BENCH")
    await bench.homeserver.register_user(acting.user_id[1:].split(":")[0])
    await bench.homeserver.ensure_device(acting, "bench")
    body = latency.plain_room("Bench", [sender.user_id, receiver.user_id])
    plain = await bench.homeserver.create_room(body, acting)
    assert await sender.room() == await receiver.room() == plain
    following = [asyncio.create_task(device.follow()) for device in (client, receiver)]
    face = (await bench.rooms())[0][1].user_id
    ways = latency.Ways(portal, client, room, (sender, receiver, plain), face)
    try:
        return await latency.measure(ways, count, [bench.appservice, bench.portal], bench.synapse)
    finally:
        for task in following:
            task.cancel()
        await portal.close()


async def rates(bench: Bench, count: int, rounds: int) -> list[tuple[throughput.Rate, throughput.Rate]]:
    """(Synapse's own, the outbox's), in turns."""
    found = []
    rooms = await bench.rooms()
    for _ in range(rounds):
        raw = await throughput.raw(bench.homeserver, rooms, count, 300, bench.synapse)
        ours = await throughput.outbox(
            bench.world, bench.therapist, bench.conversations, count, bench.appservice, bench.synapse
        )
        found.append((raw, ours))
    return found
