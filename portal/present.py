"""From the journal to what a page shows: names through `policies.naming`, states in the reader's words.

Nothing here asks the database or decides access: it is given what this reader may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from bridge import conversations
from bridge.attachments import State as FileState
from bridge.list_filters import Which
from bridge.timeline import Line, Page, ReadMark
from policies import access, notices
from policies import content as contents
from policies.access import Action
from policies.content import Attachment, Location, Notice, Text
from policies.vocabulary import ConversationKind, EntryId, EntryKind, Person, PersonId
from portal import around, views
from portal.around import Around
from portal.bodies import map_link, plain, shown_kind, size_words, words
from portal.marks import mark
from portal.naming import ROLES, disc
from portal.views import Disc

SOMEBODY = "Somebody"
NOTHING_BESIDE = Around()
_AUTOMATIC = {"welcome": "Welcome message", "auto_reply": "Automatic reply"}


_PLACES = (
    (Action.SEE_DELETED, views.Place("/deleted", "Deleted", "restore")),
    (Action.VIEW_AUDIT, views.Place("/audit", "Audit", "trail")),
    (Action.VIEW_SETTINGS, views.Place("/settings", "Settings", "settings")),
)


def me(person: Person) -> views.Me:
    may_start, meets_clients = (
        bool(access.decide(action, person.role)) for action in (Action.START_STAFF, Action.START_DIRECT)
    )
    places = tuple(place for action, place in _PLACES if access.decide(action, person.role))
    return views.Me(
        person.id, person.name.full, ROLES[person.role], disc(person), may_start, meets_clients, places
    )


def row(reader: Person, found: conversations.Row) -> views.Row:
    state, warn = around.row_state(found)
    if found.together:
        return _blast_row(found)
    return views.Row(
        id=found.id,
        title=found.title,
        disc=_conversation_disc(found),
        preview=_preview(reader, found),
        at=found.at,
        unread=found.unread,
        state=state,
        warn=warn,
        which=Which.of(found.kind),
        archived=found.archived,
    )


def _blast_row(found: conversations.Row) -> views.Row:
    """The threads of a blast that nobody has answered yet (C5)."""
    return views.Row(
        id=found.id,
        title=found.title if found.has_own_title else "Message blast",
        disc=Disc.of(found.blast or found.id, str(found.together)),
        preview=_unanswered(found),
        at=found.at,
        which=Which.of(found.kind),
        archived=found.archived,
        blast=found.blast,
    )


def _unanswered(found: conversations.Row) -> str:
    clients = [person.name.full for person in found.others if not person.role.is_staff]
    if found.together == 1 and clients:
        return f"To {clients[0]}, who hasn’t answered yet"
    if found.together == 1:
        return "To 1 person who hasn’t answered yet"
    return f"To {found.together} people who haven’t answered yet"


def _conversation_disc(found: conversations.Row) -> Disc:
    clients = [person for person in found.others if not person.role.is_staff]
    shown = clients or list(found.others)
    if len(shown) == 1:
        return disc(shown[0])
    words = [person.name.first for person in shown[:2]] or found.title.split()[:2]
    return Disc.of(found.id, "".join(word[:1].upper() for word in words) or "?")


def _preview(reader: Person, found: conversations.Row) -> str:
    if found.last is None:
        return "No messages yet"
    own = found.last.author_id == reader.id
    if found.kind is ConversationKind.BLAST and found.has_own_title:
        return _blast_preview(found, own)
    several = len(found.others) > 1
    everybody = (*found.others, *found.former)
    author = next((p.name.first for p in everybody if p.id == found.last.author_id), None)
    return contents.preview(plain(found.last.content), own=own, author=author if several else None)


def _blast_preview(found: conversations.Row, own: bool) -> str:
    """All its threads carry the blast's title: the line says whose this one is."""
    assert found.last is not None
    client = next((p.name.full for p in found.others if not p.role.is_staff), SOMEBODY)
    author = f"You to {client}" if own else client
    return contents.preview(plain(found.last.content), author=author)


class Reader:
    """Turns lines of one conversation into what one person of staff sees."""

    def __init__(
        self,
        person: Person,
        found: conversations.Row,
        files: Mapping[EntryId, FileState] | None = None,
        beside: Around = NOTHING_BESIDE,
    ) -> None:
        self.person = person
        self.found = found
        self._around = beside
        self._people = {p.id: p for p in (*found.former, *found.others, person)}
        clients = [p for p in found.others if not p.role.is_staff]
        self.recipients = {p.id: p for p in (clients or found.others)}
        self._holds = dict(found.holds)
        self._files = files or {}

    def name(self, person_id: PersonId | None) -> str:
        person = self._people.get(person_id) if person_id is not None else None
        return person.name.full if person else SOMEBODY

    def lines(self, page: Page) -> tuple[views.Message | views.Notice, ...]:
        shown = (self.line(line, page.reads) for line in page.lines)
        return tuple(line for line in shown if line is not None)

    def line(self, line: Line, reads: Sequence[ReadMark]) -> views.Message | views.Notice | None:
        if line.kind is EntryKind.NOTICE:
            return self._notice(line)
        return self._message(line, reads)

    def _notice(self, line: Line) -> views.Notice | None:
        if not isinstance(line.content, Notice):
            return None
        words = notices.for_staff(line.content, self.name)
        if words is None:
            return None
        return views.Notice(line.id, line.seq, line.posted_at, words, line.content.code in _WARNINGS)

    def _message(self, line: Line, reads: Sequence[ReadMark]) -> views.Message:
        own = line.author_id == self.person.id
        deleted = line.deleted_at is not None
        content = line.content
        gone = deleted or line.unreadable
        return views.Message(
            id=line.id,
            seq=line.seq,
            author_id=str(line.author_id or ""),
            author=self.name(line.author_id),
            own=own,
            at=line.posted_at,
            words=_UNREADABLE if line.unreadable else words(content),
            emote=isinstance(content, Text) and content.emote,
            edited=line.edited_at is not None and not deleted,
            deleted=deleted,
            restored=line.restored_at is not None and not deleted,
            automatic=_AUTOMATIC.get(line.automatic or "", "Automatic message" if line.automatic else ""),
            quote=None if gone else self._quote(line),
            reactions=() if gone else self._reactions(line),
            file=self._file(line, content) if isinstance(content, Attachment) else None,
            place=map_link(content) if isinstance(content, Location) else "",
            mark=mark(line, reads, self.recipients, self._holds) if own and not deleted else None,
            may_edit=own and isinstance(content, Text) and not self.found.closed,
            may_delete=own,
            preview="" if gone else contents.preview(plain(content)),
            request_id=str(line.request_id) if own and line.request_id else "",
        )

    def _quote(self, line: Line) -> views.Quote | None:
        reply = line.reply_to
        if reply is None:
            return None
        author = "You" if reply.author_id == self.person.id else self.name(reply.author_id)
        return views.Quote(reply.id, author, contents.preview(plain(reply.content)))

    def _reactions(self, line: Line) -> tuple[views.Reactions, ...]:
        by_key: dict[str, list[str]] = {}
        for reaction in line.reactions:
            by_key.setdefault(reaction.key, []).append(self.name(reaction.person_id))
        return tuple(views.Reactions(key, tuple(names)) for key, names in by_key.items())

    def _file(self, line: Line, content: Attachment) -> views.File:
        state = self._files.get(line.id)
        url = f"/chat/{self.found.id}/files/{state.id}" if state and state.state == "stored" else ""
        return views.File(
            kind=shown_kind(content),
            name=content.name,
            size=size_words(content.size),
            state=state.state if state else "failed",
            url=url,
            width=content.width,
            height=content.height,
        )

    def head(self) -> views.Talk:
        """Without its timeline: for the parts around it."""
        return self.talk(views.Timeline(()))

    def talk(self, timeline: views.Timeline, typing: tuple[str, ...] = ()) -> views.Talk:
        person, found = self.person, self.found
        clients = around.clients_of(found)
        return views.Talk(
            id=found.id,
            title=found.title,
            own_title=found.has_own_title,
            disc=_conversation_disc(found),
            state=around.state(found),
            may_rename=found.is_organiser,
            silence=around.silence(found, self._around),
            names=len(found.others) > 1,
            participants=around.participants(person, found),
            timeline=timeline,
            banners=around.banners(person, found, self._around),
            typing=typing,
            limit=contents.MAX_TEXT,
            client=clients[0].name.full if len(clients) == 1 else "",
            with_clients=found.kind not in (ConversationKind.STAFF, ConversationKind.CLIENT_CARE),
            removals=around.removals(person, found, self._around),
            may_add=around.may(person, found, Action.ADD_MEMBER),
            may_leave=around.may(person, found, Action.LEAVE),
            may_close=around.may(person, found, Action.CLOSE),
            archived=found.archived,
            muted=found.muted,
        )


_WARNINGS = frozenset(
    {"identity_changed", "undecryptable", "unreadable", "attachment_lost", "delivery_failed", "left_room"}
)
_UNREADABLE = Markup("This message can’t be opened. It has been noted for the operator.")


def choice(person: Person, why_not: str = "", why_not_alone: str = "") -> views.Choice:
    return views.Choice(
        person.id,
        person.name.full,
        disc(person),
        ROLES[person.role],
        why_not,
        why_not_alone,
        is_client=not person.role.is_staff,
    )
