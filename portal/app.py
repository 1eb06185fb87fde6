"""The portal put together: what it works with, its pages, and what holds for every answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from quart import Quart, request
from quart.ctx import RequestContext
from quart.typing import ResponseReturnValue

from bridge import feed
from bridge.config import PortalSettings
from bridge.database import TAKEN_BACK, Pool, open_pool
from bridge.feed import Notification
from bridge.sealing import Keyring
from portal import (
    activation,
    api,
    assets,
    blasts,
    care,
    chat,
    choosing,
    files,
    how_to,
    keeping,
    live,
    members,
    notifications,
    problems,
    releasing,
    sign_in,
    starting,
    switches,
    trail,
    writing,
)
from portal.assets import Assets
from portal.hub import Hub, stop
from portal.mailer import Mailer
from portal.passwords import Passwords
from portal.security import secure
from portal.services import EXTENSION, Services
from portal.templating import Templates, equip

MAX_BODY = 256 * 1024
REPEATED = 3
log = structlog.get_logger()


class Portal(Quart):
    """Two people at the same thing at once can lock each other out: the database takes one of them back,
    whole, and their request is carried out once more instead of failing."""

    async def dispatch_request(self, request_context: RequestContext | None = None) -> ResponseReturnValue:
        for _ in range(REPEATED):
            try:
                return await super().dispatch_request(request_context)
            except TAKEN_BACK as error:
                log.info("request_repeated", error=type(error).__name__, endpoint=request.endpoint)
        return await super().dispatch_request(request_context)


def create_app(
    settings: PortalSettings, pool: Pool | None = None, *, node_modules: Path | None = None
) -> Quart:
    """`pool`: a database that is open already (tests); else one is opened when the app starts serving."""
    app = Portal("portal", static_folder=None)
    app.config |= {"MAX_CONTENT_LENGTH": MAX_BODY, "BODY_TIMEOUT": 30}
    keyring = Keyring(settings.master_key_bytes, settings.previous_master_key_bytes)
    files_ = Assets(node_modules)
    equip(app.jinja_env, files_, settings.practice_name)
    app.extensions |= {
        "assets": files_,
        "templates": Templates(files_, settings.practice_name),
        "passwords": Passwords(),
    }
    for blueprint in (
        assets, sign_in, activation, chat, writing, choosing, starting, blasts, members, keeping,
        releasing, notifications, switches, care, trail, files, live, how_to,
    ):  # fmt: skip
        app.register_blueprint(blueprint.blueprint)
    api.install(app)
    problems.install(app)
    app.after_request(secure)

    @app.while_serving  # type: ignore[type-var]
    async def lifetime() -> AsyncIterator[None]:
        url = settings.database_url
        opened = pool or await open_pool(url)
        app.extensions[EXTENSION] = Services(settings, keyring, opened)
        hub = app.extensions["hub"] = Hub(opened)
        tasks = [asyncio.create_task(_listen(hub, feed.listen(url)))]
        if settings.smtp_host:
            tasks.append(asyncio.create_task(Mailer(opened, keyring, settings).run()))
        yield
        for task in tasks:
            await stop(task)
        if pool is None:
            await opened.close()

    return app


async def _listen(hub: Hub, notifications: AsyncIterator[Notification]) -> None:
    await hub.run(notifications)
