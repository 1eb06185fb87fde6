"""The chat page: the list, the open conversation, and the fragments that they ask for.

The address names the conversation by id and says nothing else; searches travel in a body, not in an address.
"""

from collections.abc import Mapping
from uuid import UUID

from markupsafe import Markup
from quart import Blueprint, Response, abort, g, redirect, request

from bridge import conversations
from bridge.database import transaction
from bridge.errors import Invalid
from bridge.list_filters import EVERYTHING_ACTIVE, Filter, Visibility, Which
from policies.vocabulary import ConversationId
from portal import outcomes, present, reading, views
from portal.hub import hub
from portal.security import Answer, is_fragment, signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("chat", __name__)

_VISIBILITIES = ((Visibility.ACTIVE, "Active"), (Visibility.ARCHIVED, "Archived"), (Visibility.ALL, "All"))
_WHICH = (
    (Which.ALL, "All kinds"), (Which.ONE_TO_ONE, "One-to-one"), (Which.COMMUNITY, "Community"),
    (Which.TEAM, "Team"),
)  # fmt: skip


def html(body: Markup, status: int = 200) -> Response:
    return Response(body, status, content_type="text/html; charset=utf-8", headers={"Vary": "HX-Request"})


@blueprint.get("/chat")
@signed_in
async def newest() -> Answer:
    """Chat opens on the most recent conversation (M11)."""
    mark, wired = hub().mark(), services()
    async with transaction(wired.pool) as tx:
        rows = await reading.rows(tx, wired.keyring, g.me)
        if rows.rows and "list" not in request.args:
            return redirect(rows.rows[0].address, 303)
        newest = next((row.id for row in rows.rows if row.blast is None), None)
        talk = await reading.talk(tx, wired.keyring, g.me, ConversationId(newest)) if newest else None
    return html(whole(rows, talk, mark, pane="list"))


@blueprint.get("/chat/<uuid:conversation>")
@signed_in
async def conversation(conversation: UUID) -> Response:
    # Taken before anything is read: what changes meanwhile is told again, never missed.
    mark, wired = hub().mark(), services()
    async with transaction(wired.pool) as tx:
        talk = await reading.talk(tx, wired.keyring, g.me, ConversationId(conversation))
        if is_fragment():
            return html(
                render("parts/talk.html", talk=talk, typing=talk.typing, mark=mark, csrf=g.session.csrf)
            )
        rows = await reading.rows(tx, wired.keyring, g.me)
    return html(whole(rows, talk, mark, pane="talk"))


def whole(
    rows: reading.Rows,
    talk: views.Talk | None,
    mark: str,
    *,
    pane: str,
    blast: outcomes.Page | None = None,
) -> Markup:
    """The page: the list, and what is open beside it."""
    return render(
        "chat.html",
        me=present.me(g.me),
        csrf=g.session.csrf,
        rows=rows.rows,
        more=rows.more,
        only=EVERYTHING_ACTIVE,
        visibilities=_VISIBILITIES,
        kinds=_WHICH,
        open_id=talk.id if talk else blast.id if blast else None,
        talk=talk,
        blast=blast,
        mark=mark,
        pane=pane,
    )


@blueprint.post("/chat/list")
@signed_in
async def rows() -> Response:
    given, wired = await request.form, services()
    only, before = _filter(given), given.get("before", "")
    async with transaction(wired.pool) as tx:
        found = await reading.rows(tx, wired.keyring, g.me, only=only, before=before)
    template = "parts/more_rows.html" if before else "parts/rows.html"
    return html(render(template, rows=found.rows, more=found.more, only=only, open_id=None))


def _filter(given: Mapping[str, str]) -> Filter:
    """What no page of ours asked for is a bad request."""
    try:
        visibility = Visibility(given.get("visibility", Visibility.ACTIVE))
        which = Which(given.get("which", Which.ALL))
    except ValueError:
        abort(400)
    return Filter(visibility, which, given.get("query", "")[:100])


@blueprint.get("/chat/<uuid:conversation>/older")
@signed_in
async def older(conversation: UUID) -> Response:
    before = request.args.get("before", type=int)
    if before is None or not 0 <= before < 2**62:
        abort(400)
    wired = services()
    async with transaction(wired.pool) as tx:
        talk = await reading.older(tx, wired.keyring, g.me, ConversationId(conversation), before)
    return html(render("parts/lines.html", talk=talk))


@blueprint.get("/chat/<uuid:conversation>/latest")
@signed_in
async def latest(conversation: UUID) -> Response:
    """The last page of the timeline again, for a page that was without connection for long."""
    wired = services()
    async with transaction(wired.pool) as tx:
        talk = await reading.talk(tx, wired.keyring, g.me, ConversationId(conversation))
    return html(render("parts/lines.html", talk=talk))


@blueprint.get("/chat/<uuid:conversation>/title")
@signed_in
async def title_form(conversation: UUID) -> Response:
    wired = services()
    async with transaction(wired.pool) as tx:
        found = await conversations.one(tx, wired.keyring, g.me.id, ConversationId(conversation))
    talk = present.Reader(g.me, found).head()
    if "cancel" in request.args or not talk.may_rename:
        return html(render("parts/title.html", talk=talk))
    return html(render("parts/title_form.html", talk=talk, given=None, error=""))


@blueprint.post("/chat/<uuid:conversation>/title")
@signed_in
async def rename(conversation: UUID) -> Response:
    wired, title = services(), (await request.form).get("title", "")
    identity, error = ConversationId(conversation), ""
    async with transaction(wired.pool) as tx:
        try:
            await conversations.rename(tx, wired.keyring, actor=g.me.id, conversation=identity, title=title)
        except Invalid as refused:
            error = refused.message
        found = await conversations.one(tx, wired.keyring, g.me.id, identity)
    talk = present.Reader(g.me, found).head()
    if error:
        return html(render("parts/title_form.html", talk=talk, given=title, error=error), 422)
    return html(render("parts/title.html", talk=talk))
