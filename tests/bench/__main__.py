"""`make bench`: what Ruh adds to what Synapse itself costs, measured in one run on this machine.

Ratios count, not times: both sides of a row are measured in turns, on the same Synapse, under the same load.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import asyncpg

from bridge.database import open_pool
from tests.bench import blast, one_to_one, table
from tests.bench.groups import Group
from tests.bench.meter import Meter
from tests.bench.practice import Bench
from tests.bench.replay import Replay
from tests.journeys.world import a_world
from tests.support.postgres import TestPostgres, running_postgres
from tests.support.synapse import TestHomeserver, running_homeserver

SECTIONS = ("latency", "rates", "groups", "blast")


async def run(server: TestPostgres, homeserver: TestHomeserver, given: argparse.Namespace) -> None:
    url = await server.create()
    pool = await open_pool(url)
    with tempfile.TemporaryDirectory() as logs:
        async with a_world(pool, url, homeserver, Path(logs)) as world, aiohttp.ClientSession() as http:
            bench = Bench(world, http)
            one_by_one = not {"latency", "rates"} <= set(given.without)
            await bench.set_up(given.legs if one_by_one else 1)
            print(table.load(), flush=True)
            if "latency" not in given.without:
                _show(table.one_at_a_time(await one_to_one.latencies(bench, given.messages)))
            if "rates" not in given.without:
                _show(table.deliveries(await one_to_one.rates(bench, given.count, given.rounds)))
            await _of_many(bench, server, given)
            _show(table.resident(bench.memory()))
            _show(table.load())
    await pool.close()


async def _of_many(bench: Bench, server: TestPostgres, given: argparse.Namespace) -> None:
    if {"groups", "blast"} <= set(given.without):
        return
    replay = Replay(bench.homeserver, bench.world.homeserver.server_name)
    events = await asyncpg.connect(server.cluster.url("synapse"))
    meter = Meter(events, bench.appservice, bench.synapse)
    _show(table.OF_MANY)
    try:
        for size in () if "groups" in given.without else given.groups:
            group = Group(bench, replay, meter, size)
            print(table.compared(await group.set_up()), flush=True)
            posts, first = await group.posts(given.posts)
            print(table.compared(posts), flush=True)
            print(f"  the first, which brings the author's keys: {first:.2f} s", flush=True)
        if "blast" not in given.without:
            print(table.compared(await blast.measure(bench, replay, meter, given.blast)), flush=True)
    finally:
        await events.close()
    print(table.EXPLAINED)


def _show(figures: str) -> None:
    print(f"\n{figures}", flush=True)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    found = argparse.ArgumentParser(prog="bench")
    found.add_argument("--legs", type=int, default=20, help="clients with a conversation each (20)")
    found.add_argument("--messages", type=int, default=100, help="messages timed one by one, each way (100)")
    found.add_argument("--count", type=int, default=400, help="deliveries of one round of the rates (400)")
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument(
        "--groups", type=int, nargs="+", default=[10, 25], help="clients of each community chat (10 25)"
    )
    found.add_argument("--posts", type=int, default=15, help="posts to each community chat (15)")
    found.add_argument("--blast", type=int, default=200, help="clients that a blast goes to (200)")
    found.add_argument(
        "--without", nargs="+", action="extend", choices=SECTIONS, default=[], help="sections to leave out"
    )
    return found.parse_args(arguments)


def main() -> None:
    given = options()
    with running_postgres() as server, running_homeserver(server) as homeserver:
        asyncio.run(run(server, homeserver, given))


if __name__ == "__main__":
    main()
