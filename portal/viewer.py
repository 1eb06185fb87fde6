"""An open page: gathers what changed for one person, and says it as HTML in their words.

Changes are only noted when they arrive; one transaction then renders all that gathered meanwhile, so that a
burst costs little more than its last state. Access is asked anew each time.
"""

import asyncio
from dataclasses import dataclass, field

from markupsafe import Markup

from bridge import conversations, following
from bridge.database import Pool, Transaction, transaction
from bridge.errors import NotFound
from bridge.feed import Change, Notification
from bridge.sealing import Keyring
from policies.vocabulary import ConversationId, EntryId, Person, PersonId
from portal import present, reading
from portal.templating import Templates

TYPING_LASTS = 30.0
"""Seconds until somebody who was never said to have stopped has."""

EVERYTHING = 2**62
Change_ = tuple[str, ...]


@dataclass(slots=True)
class Noted:
    """What has to be shown anew."""

    again: bool = False
    rows: set[ConversationId] = field(default_factory=set)
    entries: set[EntryId] = field(default_factory=set)
    around: bool = False
    marks: bool = False
    all_marks: bool = False
    typing: bool = False

    def __bool__(self) -> bool:
        return any(
            (self.again, self.rows, self.entries, self.around, self.marks, self.all_marks, self.typing)
        )


class Page:
    """What one browser page shows, as far as we know it."""

    def __init__(self, person: Person, pool: Pool, keyring: Keyring, templates: Templates) -> None:
        self.person_id = person.id
        self._person = person
        self._pool = pool
        self._keyring = keyring
        self._templates = templates
        self.open: ConversationId | None = None
        self.changed = asyncio.Event()
        self._noted = Noted()
        self._typing: dict[PersonId, float] = {}
        self._going: set[EntryId] = set()
        self._reads: dict[PersonId, int] | None = None

    def show(self, conversation: ConversationId | None) -> None:
        """The page has put this conversation in place."""
        self.open = conversation
        self._typing, self._going, self._reads = {}, set(), None
        noted = self._noted
        noted.entries, noted.around, noted.marks, noted.typing = set(), False, False, False
        self.changed.set()

    def take(self, notification: Notification) -> None:
        note, change, here = self._noted, notification.change, notification.conversation == self.open
        conversation = notification.conversation
        if change is Change.REWAKE:
            note.again = True
        elif conversation is None:
            return
        elif change in (Change.ENTRY, Change.ATTACHMENT):
            note.rows.add(conversation)
            if here:
                note.entries |= {e for e in (notification.entry, notification.target) if e is not None}
                note.marks |= notification.person == self.person_id
                note.typing |= self._typing.pop(notification.person, None) is not None  # type: ignore[arg-type]
        elif change is Change.CONVERSATION:
            note.rows.add(conversation)
            note.around |= here
            note.marks |= here
        elif change is Change.RECEIPT and notification.person == self.person_id:
            note.rows.add(conversation)
        elif change in (Change.RECEIPT, Change.DELIVERY) and here:
            # Before the first look at who has read what, nothing tells which lines it is about.
            note.marks, note.all_marks = True, note.all_marks or self._reads is None
        elif change is Change.TYPING and here and notification.person not in (None, self.person_id):
            self._types(notification)
        if note:
            self.changed.set()

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

    async def changes(self) -> list[Change_]:
        """What the page has to do now, in this order. After an error the same is noted again."""
        self.changed.clear()
        noted, self._noted = self._noted, Noted()
        conversation = self.open
        try:
            async with transaction(self._pool) as tx:
                return await self._render(tx, noted, conversation)
        except BaseException:
            self._noted.again = True
            raise

    async def _render(
        self, tx: Transaction, noted: Noted, conversation: ConversationId | None
    ) -> list[Change_]:
        if noted.again:
            self._reads = None
            await self._look(tx, conversation)
            return [("again",)]
        changes: list[Change_] = []
        of_open = noted.entries or noted.around or noted.marks or noted.typing
        for row in noted.rows | ({conversation} if conversation and of_open else set()):
            try:
                found = await conversations.one(tx, self._keyring, self.person_id, row)
            except NotFound:
                changes.append(("gone", str(row)))
                continue
            if row == conversation:
                changes += await self._open(tx, noted, found)
            if row in noted.rows:
                shown = present.row(self._person, found)
                changes.append(("row", str(row), self._part("row", row=shown, open_id=None)))
        if conversation and self._reads is None:
            await self._look(tx, conversation)
        return changes

    async def _open(self, tx: Transaction, noted: Noted, found: conversations.Row) -> list[Change_]:
        where = str(found.id)
        changes: list[Change_] = []
        lines = await following.lines_of(tx, noted.entries) if noted.entries else set()
        if noted.marks:
            lines |= await self._moved(tx, found.id, everything=noted.all_marks)
        if lines:
            shown = await reading.some(tx, self._keyring, self._person, found, lines)
            several = len(found.others) > 1
            for line in shown:
                part = self._part("message", m=line, talk_id=found.id, names=several)
                changes.append(("message", where, part))
            gone = lines - {line.id for line in shown}
            changes += [("drop", where, str(line)) for line in gone]
        reader = present.Reader(self._person, found)
        if noted.around:
            talk = reader.head()
            changes += [
                ("part", where, "talk-name", self._part("title", talk=talk)),
                ("part", where, "banners", self._part("banners", talk=talk)),
                ("part", where, "members", self._part("members", talk=talk)),
            ]
        if noted.typing:
            names = tuple(reader.name(person) for person in self._typing)
            changes.append(("typing", where, self._part("typing", typing=names)))
        return changes

    async def _moved(
        self, tx: Transaction, conversation: ConversationId, *, everything: bool
    ) -> set[EntryId]:
        """Own messages whose mark may have changed since the last look."""
        before, going = self._reads, self._going
        await self._look(tx, conversation)
        lines = going | self._going
        if everything or before is None:
            return lines | await following.written_between(tx, self.person_id, conversation, 0, EVERYTHING)
        for person, to in (self._reads or {}).items():
            after = before.get(person, 0)
            if person != self.person_id and to > after:
                lines |= await following.written_between(tx, self.person_id, conversation, after, to)
        return lines

    async def _look(self, tx: Transaction, conversation: ConversationId | None) -> None:
        if conversation is None:
            return
        self._reads = await following.read_up_to(tx, conversation)
        self._going = await following.on_their_way(tx, self.person_id, conversation)

    def _part(self, name: str, **values: object) -> Markup:
        return self._templates.render(f"parts/{name}.html", **values)
