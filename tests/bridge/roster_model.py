"""Who may have what, said a second time and without any of the rules' code: what the tables are held against.

A conversation is a list of entries, and each entry a fixed set of clients who get it; a person's time in it
is a stint. Refusals are predicted too, as far as "may they or may they not".
"""

from dataclasses import dataclass, field
from typing import Any

COMMUNITY, DIRECT, STAFF = "community", "direct", "staff"


@dataclass(eq=False)
class Entry:
    seq: int
    kind: str  # message, edit, deletion, restoration, notice
    author: int | None
    target: "Entry | None" = None
    words: str = ""
    deleted: bool = False
    ever_deleted: bool = False
    id: Any = None


@dataclass
class Stint:
    """Somebody's time in a conversation; what they get during it stays listed here."""

    person: int
    since: int
    ended: str | None = None
    until: int | None = None
    archived: bool = False
    entries: list[Entry] = field(default_factory=list)


@dataclass
class Conversation:
    kind: str
    organiser: int
    client: int | None = None
    stints: list[Stint] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    closed: bool = False
    id: Any = None

    def of(self, person: int) -> Stint | None:
        return next((s for s in self.stints if s.person == person and s.ended is None), None)

    @property
    def current(self) -> list[Stint]:
        return [stint for stint in self.stints if stint.ended is None]


def words_in_force(entries: list[Entry], entry: Entry) -> str:
    changes = [e for e in entries if e.kind in ("edit", "restoration") and e.target is entry]
    return changes[-1].words if changes else entry.words


def shown(entries: list[Entry]) -> list[str]:
    """What is to be seen of somebody's entries, once all of them have reached them."""
    words: dict[int, str] = {}
    for entry in entries:
        target = entry.target.seq if entry.target else entry.seq
        if entry.kind in ("message", "restoration") or (entry.kind == "edit" and target in words):
            words[target] = entry.words
        elif entry.kind == "deletion":
            words.pop(target, None)
    return [words[seq] for seq in sorted(words)]


@dataclass
class Model:
    """`clients` and `staff` are numbers of people; settings hold True, False or nothing for each subject."""

    staff: range
    clients: range
    group: frozenset[int]
    """The clients of the one client group."""
    settings: dict[tuple[str, Any], bool] = field(default_factory=dict)
    conversations: list[Conversation] = field(default_factory=list)

    def is_client(self, person: int) -> bool:
        return person in self.clients

    def is_on(self, kind: str, client: int) -> bool:
        if kind == STAFF:
            return True
        for subject in (client, "group" if client in self.group else None, "everyone"):
            if (kind, subject) in self.settings:
                return self.settings[kind, subject]
        return True

    def silenced(self, conversation: Conversation, person: int) -> bool:
        return self.is_client(person) and not self.is_on(conversation.kind, person)

    # What happens. Each returns whether it may, and changes nothing where it may not.

    def start(self, kind: str, organiser: int, others: list[int]) -> bool:
        people = list(dict.fromkeys([organiser, *others]))
        clients = [person for person in people if self.is_client(person)]
        may = (
            len(people) > 1
            and not any(not self.is_on(kind, client) for client in clients)
            and (kind == STAFF) == (not clients)
            and (kind != DIRECT or len(clients) == 1)
        )
        if may:
            made = Conversation(kind, organiser, clients[0] if kind == DIRECT else None)
            made.stints = [Stint(person, 0) for person in people]
            self.conversations.append(made)
        return may

    def add(self, c: Conversation, actor: int, person: int) -> bool:
        one = c.kind == DIRECT and self.is_client(person) and person != c.client
        may = (
            self._edits(c, actor)
            and not c.closed
            and c.of(person) is None
            and not one
            and not (c.kind == STAFF and self.is_client(person))
            and not self.silenced(c, person)
        )
        if may:
            c.stints.append(Stint(person, len(c.entries)))
            self._say(c, Entry(0, "notice", None))
        return may

    def remove(self, c: Conversation, actor: int, person: int) -> bool:
        may = self._edits(c, actor) and c.of(person) is not None and person != c.organiser
        if may:
            self._end(c, person, "removed")
        return may

    def leave(self, c: Conversation, person: int) -> bool:
        may = c.of(person) is not None and person != c.organiser
        if may:
            self._end(c, person, "left")
        return may

    def close(self, c: Conversation, actor: int) -> bool:
        may = self._edits(c, actor) and not c.closed
        if may:
            self._close(c)
        return may

    def post(self, c: Conversation, author: int, words: str) -> Entry | None:
        if not self._writes(c, author):
            return None
        if self.is_client(author):
            for stint in c.current:
                stint.archived = False
        return self._say(c, Entry(0, "message", author, words=words))

    def edit(self, c: Conversation, author: int, entry: Entry, words: str) -> Entry | None:
        if not self._own(c, author, entry) or not self._writes(c, author) or entry.deleted:
            return None
        return self._say(c, Entry(0, "edit", author, entry, words))

    def delete(self, c: Conversation, author: int, entry: Entry) -> Entry | None:
        """Possible after the end, and where one's chat is off."""
        if not self._own(c, author, entry) or entry.deleted:
            return None
        entry.deleted = entry.ever_deleted = True
        return self._say(c, Entry(0, "deletion", author, entry), to_all=True)

    def restore(self, c: Conversation, entry: Entry) -> Entry | None:
        """By Client Care: back to whoever had it and may get something new."""
        if not entry.deleted:
            return None
        entry.deleted = False
        back = Entry(len(c.entries) + 1, "restoration", None, entry, words_in_force(c.entries, entry))
        c.entries.append(back)
        for stint in c.current:
            if entry in stint.entries and not self.silenced(c, stint.person):
                stint.entries.append(back)
        return back

    def archive(self, c: Conversation, person: int, away: bool) -> bool:
        stint = c.of(person)
        if stint is None or self.is_client(person):
            return False
        stint.archived = away
        return True

    def _edits(self, c: Conversation, actor: int) -> bool:
        return actor == c.organiser and c.of(actor) is not None

    def _writes(self, c: Conversation, author: int) -> bool:
        if c.of(author) is None or c.closed or self.silenced(c, author):
            return False
        # In a thread of one client, staff aren't left to write to nobody.
        one_is_off = c.kind == DIRECT and c.client is not None and not self.is_on(c.kind, c.client)
        return not (one_is_off and c.of(c.client or -1))

    def _own(self, c: Conversation, author: int, entry: Entry) -> bool:
        stint = c.of(author)
        mine = entry.kind == "message" and entry.author == author
        return stint is not None and mine and entry.seq > stint.since

    def _say(self, c: Conversation, entry: Entry, *, to_all: bool = False) -> Entry:
        entry.seq = len(c.entries) + 1
        c.entries.append(entry)
        for stint in c.current:
            if to_all or stint.person == entry.author or not self.silenced(c, stint.person):
                stint.entries.append(entry)
        return entry

    def _end(self, c: Conversation, person: int, how: str) -> None:
        stint = c.of(person)
        assert stint is not None
        stint.ended, stint.until = how, len(c.entries)
        self._say(c, Entry(0, "notice", None))
        left = any(self.is_client(s.person) for s in c.current)
        if c.kind == COMMUNITY and self.is_client(person) and not left and not c.closed:
            self._close(c)

    def _close(self, c: Conversation) -> None:
        c.closed = True
        self._say(c, Entry(0, "notice", None))
