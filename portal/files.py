"""Files that clients sent, opened for who may read them. A file is data: a browser never runs it as a page.

Only kinds that a browser shows safely are shown; everything else is offered as a download.
"""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote
from uuid import UUID

from quart import Blueprint, Response, g, request

from bridge import attachments, timeline
from bridge.attachments import CHUNK
from bridge.database import transaction
from bridge.errors import NotFound
from policies.content import Attachment
from policies.vocabulary import ConversationId, PersonId
from portal.bodies import INLINE
from portal.security import signed_in
from portal.services import Services, services

blueprint = Blueprint("files", __name__)

_SHOWN = frozenset().union(*INLINE.values())
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})\Z", re.ASCII)


@blueprint.get("/chat/<uuid:conversation>/files/<uuid:attachment>")
@signed_in
async def file(conversation: UUID, attachment: UUID) -> Response:
    wired = services()
    async with transaction(wired.pool) as tx:
        where, entry, size = await attachments.find(tx, g.me.id, attachment)
        if where != ConversationId(conversation):
            raise NotFound
        page = await timeline.some(tx, wired.keyring, g.me.id, where, [entry])
    content = page.lines[0].content if page.lines else None
    if not isinstance(content, Attachment):
        raise NotFound
    start, end = _range(size)
    if start >= size > 0:
        return Response("", 416, headers={"Content-Range": f"bytes */{size}"})
    response = Response(
        _bytes(wired, g.me.id, attachment, start, end), 206 if (start, end) != (0, size) else 200
    )
    mime = content.mime.split(";")[0].strip().lower()
    shown = mime in _SHOWN
    response.headers["Content-Type"] = mime if shown else "application/octet-stream"
    response.headers["Content-Disposition"] = (
        f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(content.name, safe='')}"
    )
    response.headers["Content-Length"] = str(end - start)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = "private, no-store"
    if response.status_code == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    response.timeout = None
    return response


def _range(size: int) -> tuple[int, int]:
    """What of the file is asked for, as start and end (exclusive): players ask for parts."""
    match = _RANGE.match(request.headers.get("Range", ""))
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        return 0, size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


async def _bytes(
    wired: Services, person: PersonId, attachment: UUID, start: int, end: int
) -> AsyncIterator[bytes]:
    """Runs while the answer is being sent, outside of the request, for as long as the reader's line takes."""
    async with transaction(wired.pool) as tx:
        key, count = await attachments.opened(tx, wired.keyring, person, attachment)
    for n in range(start // CHUNK, count):
        at = n * CHUNK
        if at >= end:
            break
        async with wired.pool.acquire() as connection:
            chunk = await attachments.chunk(connection, key, attachment, n)
        if chunk is None:
            break
        yield chunk[max(start - at, 0) : end - at]
