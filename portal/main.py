"""`ruh portal`: serves the pages and the platform's API in one process, until it is asked to stop.

SIGTERM lets requests finish, then closes; open pages reconnect by themselves. There is no access log:
addresses and times of who looked at what are the audit trail's business, not a log's.
"""

import asyncio
import signal
from typing import Any

import structlog
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.middleware import ProxyFixMiddleware

from bridge.config import PortalSettings
from portal.app import create_app

log = structlog.get_logger()


async def run(settings: PortalSettings) -> None:
    """Returns after SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.set_exception_handler(_unhandled)
    log.info("portal_starting", host=settings.portal_host, port=settings.portal_port)
    await serve(served(settings), config(settings), shutdown_trigger=stopping.wait)
    log.info("portal_stopped")


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that is cut while we stop ends by being cancelled, which asyncio takes for a mistake."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def served(settings: PortalSettings) -> Any:
    """The app; behind proxies it sees the visitor's address, which sign-in attempts are counted by."""
    app = create_app(settings)
    if not settings.trusted_proxies:
        return app
    return ProxyFixMiddleware(app, mode="legacy", trusted_hops=settings.trusted_proxies)


def config(settings: PortalSettings) -> Config:
    found = Config()
    found.bind = [f"{settings.portal_host}:{settings.portal_port}"]
    found.accesslog = None
    found.loglevel = "WARNING"
    found.include_server_header = False
    found.graceful_timeout = 3
    found.websocket_ping_interval = 20
    found.websocket_max_message_size = 64 * 1024
    found.keep_alive_timeout = 75
    found.h11_max_incomplete_size = 32 * 1024
    return found
