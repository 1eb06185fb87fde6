"""What a person may read of a conversation, put into views: for pages, fragments and live changes alike.

Everything goes through bridge functions that take the acting person; an outsider gets NotFound here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from werkzeug.exceptions import BadRequest

from bridge import attachments, conversations, timeline
from bridge.database import Transaction
from bridge.list_filters import EVERYTHING_ACTIVE, Filter
from bridge.sealing import Keyring
from bridge.timeline import Page
from policies.content import Attachment
from policies.vocabulary import ConversationId, EntryId, Person
from portal import around, present, views
from portal.present import Reader

PAGE = 50
ROWS = 40


@dataclass(frozen=True, slots=True)
class Rows:
    rows: tuple[views.Row, ...]
    more: str = ""
    """Where the next ones begin, for `rows(before=…)`; empty at the end."""


async def rows(
    tx: Transaction,
    keyring: Keyring,
    reader: Person,
    *,
    only: Filter = EVERYTHING_ACTIVE,
    before: str = "",
) -> Rows:
    found = await conversations.list_for(
        tx, keyring, reader.id, only=only, before=_cursor(before), limit=ROWS + 1
    )
    shown = tuple(present.row(reader, row) for row in found[:ROWS])
    last = found[:ROWS][-1:]
    return Rows(shown, f"{last[0].at.isoformat()}_{last[0].id}" if len(found) > ROWS else "")


def _cursor(before: str) -> tuple[datetime, ConversationId] | None:
    """Raises BadRequest for what no page of ours asked."""
    if not before:
        return None
    at, _, conversation = before.rpartition("_")
    try:
        return datetime.fromisoformat(at), ConversationId(UUID(conversation))
    except ValueError as error:
        raise BadRequest from error


async def talk(tx: Transaction, keyring: Keyring, reader: Person, conversation: ConversationId) -> views.Talk:
    """The open conversation with its latest page. Raises NotFound."""
    found = await conversations.one(tx, keyring, reader.id, conversation)
    beside = await around.gather(tx, keyring, reader, found)
    return Reader(reader, found, beside=beside).talk(await _page(tx, keyring, reader, found))


async def head(tx: Transaction, keyring: Keyring, reader: Person, found: conversations.Row) -> views.Talk:
    """Without its timeline: for the parts around it."""
    beside = await around.gather(tx, keyring, reader, found)
    return Reader(reader, found, beside=beside).head()


async def older(
    tx: Transaction, keyring: Keyring, reader: Person, conversation: ConversationId, before: int
) -> views.Talk:
    """The same with the page before."""
    found = await conversations.one(tx, keyring, reader.id, conversation)
    return Reader(reader, found).talk(await _page(tx, keyring, reader, found, before))


async def _page(
    tx: Transaction, keyring: Keyring, reader: Person, found: conversations.Row, before: int | None = None
) -> views.Timeline:
    page = await timeline.page(tx, keyring, reader.id, found.id, before=before, limit=PAGE)
    lines = await _lines(tx, reader, found, page)
    first = page.lines[0].seq if page.has_older and page.lines else None
    return views.Timeline(lines, first, found.read_seq if found.unread and before is None else None)


async def some(
    tx: Transaction,
    keyring: Keyring,
    reader: Person,
    found: conversations.Row,
    entries: Collection[EntryId],
) -> tuple[views.Message | views.Notice, ...]:
    """These lines as they are now; one that may not be shown any more is missing."""
    page = await timeline.some(tx, keyring, reader.id, found.id, list(entries))
    return await _lines(tx, reader, found, page)


async def _lines(
    tx: Transaction, reader: Person, found: conversations.Row, page: Page
) -> tuple[views.Message | views.Notice, ...]:
    with_files = [line.id for line in page.lines if isinstance(line.content, Attachment)]
    files = await attachments.of_entries(tx, reader.id, found.id, with_files) if with_files else {}
    return Reader(reader, found, files).lines(page)
