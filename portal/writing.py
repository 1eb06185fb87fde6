"""What somebody says, changes or takes back: each once, whatever the connection does.

Answers are fragments: the line as it is afterwards. What is refused comes back with the limit or the reason
in words, and the page keeps the text.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg import UniqueViolationError
from markupsafe import Markup
from quart import Blueprint, Response, g, redirect, request

from bridge import conversations, messages, timeline
from bridge.database import transaction
from bridge.errors import Invalid, NotFound
from bridge.formatting import from_composer
from bridge.messages import Posted
from policies.content import Text, bounded_html, check_text
from policies.vocabulary import ConversationId, EntryId, Refusal
from portal import reading
from portal.chat import html
from portal.security import Answer, identity, is_fragment, signed_in
from portal.services import services
from portal.templating import render

blueprint = Blueprint("writing", __name__)


def composed(typed: str) -> Text:
    """Raises Invalid with the words of the limit."""
    checked = check_text(typed)
    if isinstance(checked, Refusal):
        raise Invalid(checked.code, checked.words)
    body, formatted = from_composer(checked)
    return Text(body, bounded_html(body, formatted))


async def _line(conversation: ConversationId, entry: EntryId, status: int = 200) -> Response:
    """As it is now. Two questions, each of which sees what is committed: no BEGIN and COMMIT."""
    wired = services()
    async with wired.pool.acquire() as connection:
        found = await conversations.one(connection, wired.keyring, g.me.id, conversation)
        lines = await reading.some(connection, wired.keyring, g.me, found, [entry])
    if not lines:
        raise NotFound
    several = len(found.others) > 1
    return html(render("parts/message.html", m=lines[0], talk_id=conversation, names=several), status)


@blueprint.post("/chat/<uuid:conversation>/messages")
@signed_in
async def post(conversation: UUID) -> Answer:
    """The page's own id of this act of sending makes a repeated request the same message."""
    given, where = await request.form, ConversationId(conversation)
    try:
        posted = await _post(given, where)
    except UniqueViolationError:
        posted = await _post(given, where)  # the same request, at the same moment: it is there now
    if not is_fragment():
        return redirect(f"/chat/{conversation}", 303)
    return await _line(where, posted.entry_id, 201 if posted.fresh else 200)


async def _post(given: Mapping[str, str], conversation: ConversationId) -> Posted:
    wired, reply_to = services(), identity(given.get("reply_to", ""))
    async with transaction(wired.pool) as tx:
        return await messages.post(
            tx,
            wired.keyring,
            author=g.me.id,
            conversation=conversation,
            content=composed(given.get("text", "")),
            at=datetime.now(UTC),
            reply_to=EntryId(reply_to) if reply_to else None,
            request_id=identity(given.get("request_id", "")),
        )


@blueprint.get("/chat/<uuid:conversation>/messages/<uuid:entry>")
@signed_in
async def line(conversation: UUID, entry: UUID) -> Response:
    return await _line(ConversationId(conversation), EntryId(entry))


@blueprint.get("/chat/<uuid:conversation>/messages/<uuid:entry>/edit")
@signed_in
async def edit_form(conversation: UUID, entry: UUID) -> Response:
    """Only for a message of one's own; what can't be edited any more is shown as it is."""
    wired, where = services(), ConversationId(conversation)
    async with transaction(wired.pool) as tx:
        page = await timeline.some(tx, wired.keyring, g.me.id, where, [EntryId(entry)])
    content = page.lines[0].content if page.lines else None
    if not isinstance(content, Text) or page.lines[0].author_id != g.me.id:
        raise NotFound
    return html(_edit_form(conversation, entry, content.body))


def _edit_form(conversation: UUID, entry: UUID, typed: str, error: str = "") -> Markup:
    return render("parts/edit_form.html", talk_id=conversation, message_id=entry, text=typed, error=error)


@blueprint.post("/chat/<uuid:conversation>/messages/<uuid:entry>/edit")
@signed_in
async def edit(conversation: UUID, entry: UUID) -> Response:
    typed, wired, where = (await request.form).get("text", ""), services(), ConversationId(conversation)
    try:
        async with transaction(wired.pool) as tx:
            await messages.edit(
                tx,
                wired.keyring,
                author=g.me.id,
                conversation=where,
                entry=EntryId(entry),
                content=composed(typed),
                at=datetime.now(UTC),
            )
    except Invalid as refused:
        if refused.code == "not_yours":
            raise
        response = html(_edit_form(conversation, entry, typed, refused.message), 422)
        response.headers |= {"HX-Retarget": f"#b-{entry}", "HX-Reswap": "innerHTML"}
        return response
    return await _line(where, EntryId(entry))


@blueprint.post("/chat/<uuid:conversation>/messages/<uuid:entry>/delete")
@signed_in
async def delete(conversation: UUID, entry: UUID) -> Response:
    wired, where = services(), ConversationId(conversation)
    async with transaction(wired.pool) as tx:
        await messages.delete(
            tx,
            wired.keyring,
            author=g.me.id,
            conversation=where,
            entry=EntryId(entry),
            at=datetime.now(UTC),
            keep=timedelta(days=wired.settings.keep_deleted_days),
        )
    return await _line(where, EntryId(entry))
