"""Requests as the homeserver gets them, and every way of failing as its callers see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from appservice.homeserver import Acting, Homeserver, HomeserverError, RateLimited, Refused, Unavailable
from tests.support.synapse import TestHomeserver

ACTING = Acting("@ruh_x:ruh.test", "DEV")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def answering(http: aiohttp.ClientSession) -> AsyncIterator[Callable[[Handler], Awaitable[Homeserver]]]:
    """A homeserver that answers as the handler says."""
    servers: list[TestServer] = []

    async def start(handler: Handler) -> Homeserver:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        servers.append(TestServer(app))
        await servers[-1].start_server()
        return Homeserver(http, str(servers[-1].make_url("/")), "as-token", "admin-token")

    yield start
    for server in servers:
        await server.close()


def says(status: int, body: Any, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers)

    return handler


@pytest.mark.parametrize(
    ("status", "body", "kind", "errcode"),
    [
        (403, {"errcode": "M_FORBIDDEN", "error": "no"}, Refused, "M_FORBIDDEN"),
        (404, "<html>", Refused, "M_UNKNOWN"),
        (302, "", Refused, "M_UNKNOWN"),
        (500, {"errcode": "M_UNKNOWN"}, Unavailable, "M_UNKNOWN"),
        (502, "bad gateway", Unavailable, "M_UNKNOWN"),
        (429, {"errcode": "M_LIMIT_EXCEEDED"}, RateLimited, "M_LIMIT_EXCEEDED"),
        (400, ["odd"], Refused, "M_UNKNOWN"),
        (200, "not json", Unavailable, "RUH_NOT_JSON"),
        (200, ["odd"], Unavailable, "RUH_NOT_JSON"),
    ],
)
async def test_every_failure_is_one_of_three(
    answering: Any, status: int, body: Any, kind: type[HomeserverError], errcode: str
) -> None:
    homeserver = await answering(says(status, body))
    with pytest.raises(kind) as failed:
        await homeserver.call("GET", "/x")
    assert (failed.value.errcode, failed.value.status) == (errcode, status)
    assert failed.value.retry is (kind is not Refused)


async def test_a_rate_limit_says_how_long_to_wait(answering: Any) -> None:
    for handler, seconds in (
        (says(429, {"retry_after_ms": 2500}), 2.5),
        (says(429, {"retry_after_ms": 2500}, **{"Retry-After": "7"}), 7),
        (says(429, {}), 1),
    ):
        with pytest.raises(RateLimited) as limited:
            await (await answering(handler)).call("GET", "/x")
        assert limited.value.retry_after == seconds


async def test_no_server_and_a_silent_one_are_unavailable(
    http: aiohttp.ClientSession, answering: Any
) -> None:
    with pytest.raises(Unavailable):
        await Homeserver(http, f"http://127.0.0.1:{unused_port()}", "t").call("GET", "/x")
    released = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await released.wait()
        return web.json_response({})

    homeserver = await answering(silent)
    with pytest.raises(Unavailable) as late:
        await homeserver.call("GET", "/x", timeout=0.05)
    released.set()
    assert late.value.errcode == "RUH_TIMEOUT"


async def test_an_error_tells_neither_token_nor_what_was_sent(answering: Any) -> None:
    homeserver = await answering(says(400, {"errcode": "M_BAD_JSON", "error": "secret words"}))
    with pytest.raises(Refused) as refused:
        await homeserver.call("PUT", "/x", body={"body": "secret words"}, acting=ACTING)
    assert "secret" not in str(refused.value)
    assert "token" not in str(refused.value)


async def test_a_request_names_who_acts_and_encodes_what_is_in_the_path(answering: Any) -> None:
    seen: list[web.Request] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append(request)
        await request.read()
        return web.json_response({"event_id": "$1"})

    homeserver = await answering(keep)
    await homeserver.send_event("!a/b?c:x", "m.room.message", {"body": "ü"}, "t/1", ACTING)
    (request,) = seen
    assert request.raw_path.startswith("/_matrix/client/v3/rooms/%21a%2Fb%3Fc%3Ax/send/m.room.message/t%2F1?")
    assert dict(request.query) == {"user_id": "@ruh_x:ruh.test", "device_id": "DEV"}
    assert request.headers["Authorization"] == "Bearer as-token"
    assert await request.read() == '{"body":"ü"}'.encode()
    await homeserver.put_account("@c1:x", {})
    assert seen[-1].headers["Authorization"] == "Bearer admin-token"


async def test_without_an_admin_token_administration_is_refused(http: aiohttp.ClientSession) -> None:
    with pytest.raises(Refused) as refused:
        await Homeserver(http, "http://127.0.0.1:1", "t").create_account("@c1:x")
    assert refused.value.errcode == "RUH_NO_ADMIN_TOKEN"


async def test_a_download_is_cut_off_at_its_limit(answering: Any) -> None:
    homeserver = await answering(says(200, "x" * 2000))
    assert len(await homeserver.download_media("mxc://x/1", ACTING, limit=2000)) == 2000
    with pytest.raises(Refused) as refused:
        await homeserver.download_media("mxc://x/1", ACTING, limit=1999)
    assert refused.value.errcode == "M_TOO_LARGE"
    for address in ("https://x/1", "mxc://x", "mxc://x/1/../2"):
        with pytest.raises(Refused):
            await homeserver.download_media(address, ACTING)


async def test_our_users_rooms_and_files_at_a_real_homeserver(
    http: aiohttp.ClientSession, homeserver: TestHomeserver
) -> None:
    api = Homeserver(http, homeserver.url, homeserver.as_token, homeserver.admin_token)
    one, two = (Acting(f"@ruh_{uuid4().hex[:16]}:{homeserver.server_name}", "DEV") for _ in range(2))
    for acting in (one, one, two):  # the second time is as good as the first
        await api.register_user(acting.user_id[1:].split(":")[0])
        await api.ensure_device(acting, "Ruh")
    await api.set_display_name(one, "Dr. Ümit")
    room = await api.create_room({"preset": "private_chat"}, one)
    await api.invite(room, two.user_id, one, is_direct=True)
    await api.join(room, two)
    await api.typing(room, two, True)
    assert set((await api.joined_members(room, one))["joined"]) == {one.user_id, two.user_id}
    sent = await api.send_event(room, "m.test", {"a": 1}, "t1", one)
    assert await api.send_event(room, "m.test", {"a": 1}, "t1", one) == sent
    assert (await api.event(room, sent, two))["content"] == {"a": 1}
    await api.send_receipt(room, sent, two)
    await api.redact(room, sent, "t2", one)
    assert (await api.event(room, sent, two))["content"] == {}
    mxc = await api.upload_media(b"sealed bytes", one)
    assert await api.download_media(mxc, two) == b"sealed bytes"
    await api.kick(room, two.user_id, one)
    with pytest.raises(Refused) as refused:
        await api.send_event(room, "m.test", {}, "t3", two)
    assert refused.value.errcode == "M_FORBIDDEN"


async def test_a_clients_account_is_made_changed_and_closed(
    http: aiohttp.ClientSession, homeserver: TestHomeserver
) -> None:
    api = Homeserver(http, homeserver.url, homeserver.as_token, homeserver.admin_token)
    user_id = f"@c{uuid4().hex[:20]}:{homeserver.server_name}"
    await api.create_account(user_id)
    await api.set_password(user_id, "first password")

    async def sign_in(password: str) -> int:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": password,
        }
        async with http.post(f"{homeserver.url}/_matrix/client/v3/login", json=body) as answer:
            return answer.status

    assert await sign_in("first password") == 200
    assert len(await api.devices(user_id)) == 1
    await api.deactivate(user_id)
    assert await api.devices(user_id) == []
    assert await sign_in("first password") == 403
