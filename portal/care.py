"""Client Care's view of deleted messages: what can be restored, until when, and restoring it (M8).

Whoever looks is recorded with every message they are shown; nobody else gets here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from markupsafe import Markup
from quart import Blueprint, Response, abort, g, redirect, request

from bridge import restore
from bridge.database import transaction
from bridge.restore import Deleted
from policies.content import Attachment
from policies.vocabulary import EntryId
from portal import present
from portal.bodies import size_words, words
from portal.chat import html
from portal.naming import disc
from portal.security import Answer, identity, signed_in
from portal.services import services
from portal.templating import render
from portal.views import Disc

blueprint = Blueprint("care", __name__)

PAGE = 30
_UNREADABLE = Markup("<p>This message can’t be opened. It has been noted for the operator.</p>")


@dataclass(frozen=True, slots=True)
class Shown:
    id: UUID
    title: str
    disc: Disc
    author: str
    posted_at: datetime
    deleted_by: str
    deleted_at: datetime
    erase_at: datetime
    words: Markup
    file: str


@blueprint.get("/deleted")
@signed_in
async def page() -> Response:
    before, wired = _cursor(request.args.get("before", "")), services()
    async with transaction(wired.pool) as tx:
        found = await restore.deleted(
            tx, wired.keyring, g.me.id, at=datetime.now(UTC), before=before, limit=PAGE
        )
    last = found[-1] if len(found) == PAGE else None
    return html(
        render(
            "deleted.html",
            me=present.me(g.me),
            csrf=g.session.csrf,
            place="/deleted",
            messages=[_shown(one) for one in found],
            more=f"{last.erase_at.timestamp()}_{last.id}" if last else "",
            before=before,
            restored="restored" in request.args,
        )
    )


def _cursor(given: str) -> tuple[datetime, EntryId] | None:
    """What no page of ours asked for is a bad request."""
    if not given:
        return None
    at, _, entry = given.partition("_")
    found = identity(entry)
    try:
        instant = datetime.fromtimestamp(float(at), UTC)
    except (ValueError, OverflowError, OSError):
        abort(400)
    if found is None:
        abort(400)
    return instant, EntryId(found)


def _shown(one: Deleted) -> Shown:
    content = one.content
    file = f"{content.name}, {size_words(content.size)}" if isinstance(content, Attachment) else ""
    return Shown(
        one.id,
        one.title,
        disc(one.author) if one.author else Disc.of(one.id, "?"),
        one.author.name.full if one.author else present.SOMEBODY,
        one.posted_at,
        one.deleted_by.name.full if one.deleted_by else present.SOMEBODY,
        one.deleted_at,
        one.erase_at,
        _UNREADABLE if content is None else words(content),
        file,
    )


@blueprint.post("/deleted/<uuid:entry>/restore")
@signed_in
async def bring_back(entry: UUID) -> Answer:
    wired = services()
    async with transaction(wired.pool) as tx:
        await restore.restore(tx, wired.keyring, actor=g.me.id, entry=EntryId(entry), at=datetime.now(UTC))
    return redirect("/deleted?restored=1", 303)
