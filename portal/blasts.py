"""A blast's page: how far it has come, and its outcome for each client; it can be stopped half-way (C5).

Only its sender has it; to anybody else there is no such page.
"""

from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, Response, g, request

from bridge import archiving, blasts, conversations, people
from bridge.database import Transaction, transaction
from bridge.list_filters import Visibility
from portal import chat, outcomes, reading
from portal.chat import html
from portal.hub import hub
from portal.security import Answer, is_fragment, signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("blasts", __name__)


@blueprint.get("/blasts/<uuid:blast>")
@signed_in
async def page(blast: UUID) -> Response:
    mark, wired = hub().mark(), services()
    async with transaction(wired.pool) as tx:
        shown = await _shown(tx, blast)
        if is_fragment():
            return html(render("parts/blast.html", blast=shown, mark=mark))
        rows = await reading.rows(tx, wired.keyring, g.me)
    return html(chat.whole(rows, None, mark, pane="talk", blast=shown))


@blueprint.get("/blasts/<uuid:blast>/progress")
@signed_in
async def progress(blast: UUID) -> Response:
    """What of the page changes."""
    async with transaction(services().pool) as tx:
        return html(render("parts/blast_progress.html", blast=await _shown(tx, blast)))


@blueprint.post("/blasts/<uuid:blast>/stop")
@signed_in
async def stop(blast: UUID) -> Response:
    """Once more changes nothing: whoever has it keeps it, the others are left out."""
    async with transaction(services().pool) as tx:
        await blasts.stop(tx, actor=g.me.id, blast=blast, at=datetime.now(UTC))
        return html(render("parts/blast_progress.html", blast=await _shown(tx, blast)))


@blueprint.post("/blasts/<uuid:blast>/archive")
@signed_in
async def archive(blast: UUID) -> Answer:
    away, wired = (await request.form).get("away", "1") == "1", services()
    async with transaction(wired.pool) as tx:
        await blasts.of(tx, wired.keyring, actor=g.me.id, blast=blast)
        await archiving.archive_blast(tx, actor=g.me.id, blast=blast, at=datetime.now(UTC), away=away)
    return Response(status=204)


async def _shown(tx: Transaction, blast: UUID) -> outcomes.Page:
    """Raises NotFound for anybody but its sender."""
    keyring = services().keyring
    found = await blasts.of(tx, keyring, actor=g.me.id, blast=blast)
    persons = await people.get_many(tx, keyring, {recipient.client for recipient in found.recipients})
    row = await conversations.of_blast(tx, keyring, g.me.id, blast, Visibility.ALL)
    return outcomes.shown(found, persons, archived=row.archived if row else None)
