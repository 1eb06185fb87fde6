"""One's own notifications: what one wants to hear of, and how (N2). A switch is kept as soon as it is moved.

Whether this browser may show any is the browser's to say; a page asks it only when its reader turns them on.
"""

from dataclasses import fields, replace

from quart import Blueprint, Response, g, request

from bridge import notifications
from bridge.database import transaction
from policies.notifying import Settings
from portal import present
from portal.chat import html
from portal.security import signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("notifications", __name__)

_SWITCHES = frozenset(field.name for field in fields(Settings))


@blueprint.get("/settings")
@signed_in
async def own() -> Response:
    async with transaction(services().pool) as tx:
        found = await notifications.settings(tx, g.me.id)
    return html(
        render("settings.html", me=present.me(g.me), csrf=g.session.csrf, settings=found, place="/settings")
    )


@blueprint.post("/settings/notifications")
@signed_in
async def change() -> Response:
    """`about`: the switches that this form has; one that isn't checked isn't sent."""
    given = await request.form
    about = _SWITCHES & set(given.get("about", "").split(","))
    async with transaction(services().pool) as tx:
        before = await notifications.settings(tx, g.me.id)
        after = replace(before, **{name: given.get(name) == "1" for name in about})
        await notifications.change(tx, g.me.id, after)
    return Response(status=204)
