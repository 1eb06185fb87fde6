"""One HTTP request to the homeserver, and how its answer reads.

No retries here: who calls knows whether and when to try again. Bodies and tokens never reach an
error or a log.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from appservice.homeserver_errors import Refused, Unavailable, from_answer

Json = dict[str, Any]
Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Acting:
    """Who a request is made as. Synapse remembers transaction ids for a day only for a device."""

    user_id: str
    device_id: str


def path(prefix: str, *segments: str) -> str:
    """`prefix` and the segments, each percent-encoded whole: room ids and state keys contain anything."""
    return "/".join((prefix, *(quote(segment, safe="") for segment in segments)))


def compact(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def parsed(data: bytes) -> Json:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable(200, "RUH_NOT_JSON", "something other than a homeserver answered")
    return answer


class Transport:
    """Raises `Unavailable`, `RateLimited` or `Refused`, nothing else."""

    def __init__(
        self, http: aiohttp.ClientSession, base_url: str, as_token: str, admin_token: str | None = None
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._as_headers = {"Authorization": f"Bearer {as_token}", "Content-Type": "application/json"}
        self._admin_headers = (
            {"Authorization": f"Bearer {admin_token}", "Content-Type": "application/json"}
            if admin_token
            else None
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        acting: Acting | None = None,
        params: Params | None = None,
        body: object = None,
        timeout: float = 15,
        admin: bool = False,
    ) -> Json:
        """One JSON request; `path` is already encoded, `timeout` in seconds for the whole of it."""
        data = await self._request(
            method,
            self._url(path, acting, params),
            headers=self._headers(admin),
            data=None if body is None else compact(body),
            timeout=timeout,
        )
        return parsed(data)

    def _headers(self, admin: bool) -> dict[str, str]:
        if not admin:
            return self._as_headers
        if self._admin_headers is None:
            raise Refused(0, "RUH_NO_ADMIN_TOKEN", "set RUH_HOMESERVER_ADMIN_TOKEN")
        return self._admin_headers

    def _url(self, path: str, acting: Acting | None, params: Params | None) -> URL:
        query: dict[str, str | int] = dict(params or {})
        if acting is not None:
            query["user_id"] = acting.user_id
            query["device_id"] = acting.device_id
        return URL(f"{self._base}{path}?{urlencode(query)}" if query else self._base + path, encoded=True)

    async def _request(
        self,
        method: str,
        url: URL,
        *,
        headers: dict[str, str],
        data: bytes | AsyncIterable[bytes] | None,
        timeout: float,
        limit: int | None = None,
    ) -> bytes:
        try:
            async with self._http.request(
                method,
                url,
                headers=headers,
                data=data,
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            ) as response:
                if limit is None or response.status != 200:
                    answer = await response.read()
                else:
                    answer = await _read_at_most(response, limit)
                if response.status in (200, 201):  # 201: the admin API made an account
                    return answer
                raise from_answer(response.status, answer, response.headers)
        except TimeoutError:
            raise Unavailable(0, "RUH_TIMEOUT", f"no answer within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(0, "RUH_UNREACHABLE", type(error).__name__) from None


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(2**16):
        data += chunk
        if len(data) > limit:
            raise Refused(200, "M_TOO_LARGE", f"more than {limit} bytes")
    return bytes(data)
