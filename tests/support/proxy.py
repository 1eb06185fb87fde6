"""Stands before the homeserver and fails on purpose: the real one answers, and sometimes nobody hears it.

The worst of all is `LOST`: the homeserver has done what it was asked, and the answer never comes.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp
from aiohttp import web
from yarl import URL

SLOW = 1.5  # seconds


class Fault(StrEnum):
    RATE_LIMITED = "rate_limited"  # 429, asks for a pause
    BROKEN = "broken"  # 500, nothing done
    BAD_GATEWAY = "bad_gateway"  # 502 with a page, nothing done
    LOST = "lost"  # done, and then 504 instead of the answer
    CUT = "cut"  # done, and the connection ends without an answer
    CUT_BEFORE = "cut_before"  # nothing done, and the connection ends
    SLOW = "slow"  # done and answered, later
    GARBLED = "garbled"  # done, and half of the answer


Choose = Callable[[web.BaseRequest], Fault | None]


def never(_: web.BaseRequest) -> Fault | None:
    return None


def sometimes(seed: int, share: float) -> Choose:
    """A fault for that share of the requests; all kinds come round."""
    dice = random.Random(seed)
    deck: list[Fault] = []

    def choose(request: web.BaseRequest) -> Fault | None:
        if dice.random() >= share:
            return None
        if not deck:
            deck.extend(dice.sample(list(Fault), len(Fault)))
        return deck.pop()

    return choose


@dataclass
class Proxy:
    target: str
    choose: Choose = never
    counts: Counter[str] = field(default_factory=Counter)
    url: str = ""
    _http: aiohttp.ClientSession | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self.choose(request)
        if fault is not None:
            self.counts[fault] += 1
        body = await request.read()
        if fault is Fault.RATE_LIMITED:
            return web.json_response({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 200}, status=429)
        if fault is Fault.BROKEN:
            return web.json_response({"errcode": "M_UNKNOWN", "error": "Internal server error"}, status=500)
        if fault is Fault.BAD_GATEWAY:
            return web.Response(status=502, text="<html>Bad gateway</html>", content_type="text/html")
        if fault is Fault.CUT_BEFORE:
            return self._cut(request)
        status, kind, answer = await self._forward(request, body)
        if fault is Fault.LOST:
            return web.Response(status=504, text="<html>Gateway time-out</html>", content_type="text/html")
        if fault is Fault.CUT:
            return self._cut(request)
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW)
        if fault is Fault.GARBLED:
            answer = answer[: len(answer) // 2]
        return web.Response(status=status, body=answer, headers={"Content-Type": kind})

    def _cut(self, request: web.BaseRequest) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)

    async def _forward(self, request: web.BaseRequest, body: bytes) -> tuple[int, str, bytes]:
        assert self._http is not None
        headers = {k: v for k, v in request.headers.items() if k in ("Authorization", "Content-Type")}
        url = URL(self.target + request.raw_path, encoded=True)
        try:
            async with self._http.request(request.method, url, data=body or None, headers=headers) as answer:
                kind = answer.headers.get("Content-Type", "application/json")
                return answer.status, kind, await answer.read()
        except aiohttp.ClientError:
            return 502, "text/html", b"<html>Bad gateway</html>"


@asynccontextmanager
async def a_proxy(target: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
    ) as http:
        proxy._http = http
        runner = web.ServerRunner(web.Server(proxy.handle))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            proxy.url = f"http://{host}:{port}"
            yield proxy
        finally:
            await runner.cleanup()
