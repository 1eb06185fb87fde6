"""An open page: gathers what changed for one person, and says it as HTML in their words.

Changes are only noted when they arrive; one transaction then renders all that gathered meanwhile, so that a
burst costs little more than its last state. Access is asked anew each time.
"""

import asyncio
from dataclasses import dataclass, field

from markupsafe import Markup

from bridge import conversations, following, notifications
from bridge.database import Pool, Transaction
from bridge.errors import NotFound
from bridge.feed import Change, Notification
from bridge.list_filters import Visibility
from bridge.sealing import Keyring
from policies.vocabulary import ConversationId, EntryId, Person, PersonId
from portal import present, reading
from portal.templating import Templates

TYPING_LASTS = 30.0
"""Seconds until somebody who was never said to have stopped has."""

OWN_WAITS = 0.25
"""Seconds: the page has what its reader just wrote by the answer to it, so the same for their other pages,
and the list's row, may come together with the news that it was delivered."""

EVERYTHING = 2**62
_MOVES_ROW = frozenset({Change.ENTRY, Change.ATTACHMENT, Change.CONVERSATION})
_MOVES_BLAST = frozenset({Change.BLAST, Change.DELIVERY, Change.RECEIPT, Change.ENTRY, Change.CONVERSATION})
_PARTS = {"talk-name": "title", "banners": "banners", "members": "members", "talk-tools": "tools"}
"""Where on the page each template goes."""
ChangeSaid = tuple[str, ...]


@dataclass(slots=True)
class Noted:
    """What has to be shown anew."""

    again: bool = False
    rows: set[ConversationId] = field(default_factory=set)
    lines: set[EntryId] = field(default_factory=set)
    """Messages and notices themselves."""
    entries: set[EntryId] = field(default_factory=set)
    """What may be about a line: an edit, a reply, a reaction."""
    around: bool = False
    """Title, banners, members, and with them what holds messages."""
    reads: bool = False
    all_marks: bool = False
    typing: bool = False
    blast: bool = False
    """The page of a blast has something to fetch."""
    fresh: set[tuple[ConversationId, EntryId]] = field(default_factory=set)
    """What somebody else has written: perhaps to be told of."""

    @property
    def in_open(self) -> bool:
        return any((self.lines, self.entries, self.around, self.reads, self.all_marks, self.typing))

    def __bool__(self) -> bool:
        return self.again or self.blast or bool(self.rows) or bool(self.fresh) or self.in_open


class Page:
    """What one browser page shows, as far as we know it."""

    def __init__(self, person: Person, pool: Pool, keyring: Keyring, templates: Templates) -> None:
        self.person_id = person.id
        self._person = person
        self._pool = pool
        self._keyring = keyring
        self._templates = templates
        self.open: ConversationId | None = None
        self.notifies = False
        """Its browser may show notifications."""
        self._shows_blast = False
        self._archived = False
        """What the page says of the open conversation; a client's message brings it back."""
        self.changed = asyncio.Event()
        self._noted = Noted()
        self._waits: asyncio.TimerHandle | None = None
        self._typing: dict[PersonId, float] = {}
        self._going: set[EntryId] = set()
        self._reads: dict[PersonId, int] | None = None
        self._around_said: set[int] = set()
        """What was said last of what stands around the open conversation."""

    def show(
        self, conversation: ConversationId | None, *, blast: bool = False, archived: bool = False
    ) -> None:
        """The page has put this conversation in place, or a blast."""
        self.open, self._shows_blast, self._archived = conversation, blast, archived
        self._typing, self._going, self._reads, self._around_said = {}, set(), None, set()
        self._noted = Noted(again=self._noted.again, rows=self._noted.rows, fresh=self._noted.fresh)
        self.changed.set()

    def take(self, notification: Notification) -> None:
        conversation, change = notification.conversation, notification.change
        theirs = notification.person not in (None, self.person_id)
        if self.notifies and change is Change.ENTRY and theirs and conversation and notification.entry:
            self._noted.fresh.add((conversation, notification.entry))
        if self._shows_blast and change in _MOVES_BLAST:
            self._noted.blast = True
        if change is Change.REWAKE:
            self._noted.again = True
        elif conversation is not None:
            if change in _MOVES_ROW or (change is Change.RECEIPT and notification.person == self.person_id):
                self._noted.rows.add(conversation)
            if conversation == self.open:
                self._take_here(notification)
        if self._noted:
            if not self._can_wait(notification):
                self.changed.set()
            elif self._waits is None:
                self._waits = asyncio.get_running_loop().call_later(OWN_WAITS, self.changed.set)

    def _can_wait(self, notification: Notification) -> bool:
        """Of oneself, in the open conversation, and with a delivery to follow."""
        return (
            notification.change is Change.ENTRY
            and notification.person == self.person_id
            and notification.conversation == self.open
            and notification.target is None
            and notification.legs != ()
        )

    def _take_here(self, notification: Notification) -> None:
        note, person, entry = self._noted, notification.person, notification.entry
        match notification.change:
            case Change.ENTRY | Change.ATTACHMENT if entry is not None:
                if notification.target is None:
                    note.lines.add(entry)
                else:
                    note.entries |= {entry, notification.target}
                if person == self.person_id:
                    self._going.add(entry)
                elif person is not None and self._typing.pop(person, None) is not None:
                    note.typing = True
            case Change.CONVERSATION:
                note.around = True
            case Change.DELIVERY | Change.RECEIPT if self._reads is None:
                # Before the first look at who has read what, nothing tells which lines it is about.
                note.all_marks = True
            case Change.DELIVERY if entry is None:
                note.lines |= self._going
            case Change.DELIVERY if entry in self._going:
                note.lines.add(entry)
            case Change.RECEIPT if person != self.person_id:
                note.reads = True
            case Change.TYPING if person not in (None, self.person_id):
                self._types(notification)

    def _types(self, notification: Notification) -> None:
        assert notification.person is not None
        self._noted.typing = True
        if notification.on:
            loop = asyncio.get_running_loop()
            self._typing[notification.person] = loop.time() + TYPING_LASTS
            loop.call_later(TYPING_LASTS + 0.1, self._look_at_typing)
        else:
            self._typing.pop(notification.person, None)

    def _look_at_typing(self) -> None:
        now = asyncio.get_running_loop().time()
        for person in [p for p, until in self._typing.items() if until < now]:
            del self._typing[person]
            self._noted.typing = True
            self.changed.set()

    async def changes(self) -> list[ChangeSaid]:
        """What the page has to do now, in this order. After an error the same is noted again."""
        self.changed.clear()
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None
        noted, self._noted = self._noted, Noted()
        conversation = self.open
        try:
            # Each statement sees what is committed; a change in between is told again. No BEGIN and COMMIT.
            async with self._pool.acquire() as connection:
                return await self._render(connection, noted, conversation)
        except BaseException:
            self._noted.again = True
            raise

    async def _render(
        self, tx: Transaction, noted: Noted, conversation: ConversationId | None
    ) -> list[ChangeSaid]:
        if noted.again:
            self._reads, self._around_said = None, set()
            await self._look(tx, conversation)
            return [("again",), *(await self._again(tx, conversation) if conversation else ())]
        changes: list[ChangeSaid] = []
        for row in noted.rows | ({conversation} if conversation and noted.in_open else set()):
            try:
                found = await conversations.one(tx, self._keyring, self.person_id, row)
            except NotFound:
                changes.append(("gone", str(row)))
                continue
            if row == conversation:
                changes += await self._open(tx, noted, found)
            if row in noted.rows:
                changes += await self._row(tx, found)
        if noted.blast:
            changes.append(("blast",))
        for where, entry in noted.fresh:
            if (await notifications.wants(tx, self.person_id, where, entry)).browser:
                changes.append(("notify", str(where)))
        if conversation and self._reads is None:
            await self._look(tx, conversation)
        return changes

    async def _again(self, tx: Transaction, conversation: ConversationId) -> list[ChangeSaid]:
        """The list and the lines are asked for by the page; what stands around them comes at once."""
        try:
            found = await conversations.one(tx, self._keyring, self.person_id, conversation)
        except NotFound:
            return [("gone", str(conversation))]
        return await self._around(tx, found)

    async def _row(self, tx: Transaction, found: conversations.Row) -> list[ChangeSaid]:
        """Its row; the unanswered threads of a blast are one row together."""
        if found.blast is None:
            return [self._put(found)]
        seen = Visibility.ARCHIVED if found.archived else Visibility.ACTIVE
        together = await conversations.of_blast(tx, self._keyring, self.person_id, found.blast, seen)
        rest: ChangeSaid = ("forget", str(found.blast)) if together is None else self._put(together)
        return [rest, self._put(found)] if found.answered else [rest]

    def _put(self, found: conversations.Row) -> ChangeSaid:
        shown = present.row(self._person, found)
        return ("row", str(shown.key), self._part("row", row=shown, open_id=None))

    async def _open(self, tx: Transaction, noted: Noted, found: conversations.Row) -> list[ChangeSaid]:
        where = str(found.id)
        changes: list[ChangeSaid] = []
        lines = await self._lines(tx, noted, found.id)
        if lines:
            shown = await reading.some(tx, self._keyring, self._person, found, lines)
            several = len(found.others) > 1
            for line in shown:
                part = self._part("message", m=line, talk_id=found.id, names=several)
                changes.append(("message", where, part))
            gone = lines - {line.id for line in shown}
            changes += [("drop", where, str(line)) for line in gone]
        reader = present.Reader(self._person, found)
        if noted.around or found.archived is not self._archived:
            changes += await self._around(tx, found)
        if noted.typing:
            names = tuple(reader.name(person) for person in self._typing)
            changes.append(("typing", where, self._part("typing", typing=names)))
        return changes

    async def _around(self, tx: Transaction, found: conversations.Row) -> list[ChangeSaid]:
        """Title, banners, members, what can be done, and whether something can be written."""
        self._archived = found.archived
        talk = await reading.head(tx, self._keyring, self._person, found)
        where = str(found.id)
        changes: list[ChangeSaid] = [
            *(("part", where, place, self._part(name, talk=talk)) for place, name in _PARTS.items()),
            ("composer", where, talk.silence, self._part("composer", talk=talk)),
        ]
        # While a large group is set up, its roster is the same each time, and long.
        fresh = [change for change in changes if hash(change) not in self._around_said]
        self._around_said = {hash(change) for change in changes}
        return fresh

    async def _lines(self, tx: Transaction, noted: Noted, conversation: ConversationId) -> set[EntryId]:
        """The lines that may look different now."""
        lines = set(noted.lines)
        if noted.entries:
            lines |= await following.lines_of(tx, noted.entries)
        if noted.all_marks:
            lines |= await following.written_between(tx, self.person_id, conversation, 0, EVERYTHING)
        if noted.around:
            self._going |= await following.on_their_way(tx, self.person_id, conversation)
            lines |= self._going
        if noted.reads and self._reads is not None:
            before_reads, self._reads = self._reads, await following.read_up_to(tx, conversation)
            for person, to in self._reads.items():
                after = before_reads.get(person, 0)
                if person != self.person_id and to > after:
                    lines |= await following.written_between(tx, self.person_id, conversation, after, to)
        return lines

    async def _look(self, tx: Transaction, conversation: ConversationId | None) -> None:
        if conversation is None:
            return
        self._reads = await following.read_up_to(tx, conversation)
        # Added to, not replaced: what was sent meanwhile is on its way too.
        self._going |= await following.on_their_way(tx, self.person_id, conversation)

    def _part(self, name: str, **values: object) -> Markup:
        return self._templates.render(f"parts/{name}.html", **values)
