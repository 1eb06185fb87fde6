"""What stands around a conversation's timeline: who is in it, what holds, what this reader may do with it.

Who takes part is many in a community chat, so banners gather: one line for one reason, whoever it concerns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bridge import chat_settings, conversations, revocations
from bridge.database import Transaction
from bridge.revocations import Revocation
from bridge.sealing import Keyring
from policies import access
from policies.access import Action, ConversationState, Relation
from policies.removal import Step
from policies.vocabulary import ConversationKind, Person, PersonId, Refusal
from portal import views
from portal.naming import ROLES, disc, listed


@dataclass(frozen=True, slots=True)
class Around:
    """What is asked for beside the conversation's own row. `off`: whose chat is off, with the words."""

    removals: Sequence[Revocation] = ()
    off: Mapping[PersonId, Refusal] = field(default_factory=dict)


async def gather(tx: Transaction, keyring: Keyring, reader: Person, found: conversations.Row) -> Around:
    removals = await revocations.of_conversation(tx, reader.id, found.id) if found.former else ()
    off = await chat_settings.barred(tx, keyring, found.silenced, found.kind) if found.silenced else {}
    return Around(removals, off)


def clients_of(found: conversations.Row) -> list[Person]:
    return [person for person in found.others if not person.role.is_staff]


def may(reader: Person, found: conversations.Row, action: Action) -> bool:
    relation = Relation.ORGANISER if found.is_organiser else Relation.MEMBER
    return bool(access.decide(action, reader.role, relation, ConversationState(found.kind, found.closed)))


_MEMBER_STATES = {
    "no_device": "hasn’t signed in to chat yet",
    "unsigned": "hasn’t verified their app yet",
    "identity_changed": "on hold",
    "left": "left the chat in their app",
}


def participants(reader: Person, found: conversations.Row) -> tuple[views.Participant, ...]:
    """The reader first, then by joining."""
    holds = dict(found.holds)
    may_remove, may_add = may(reader, found, Action.REMOVE_MEMBER), may(reader, found, Action.ADD_MEMBER)

    def state(person: Person) -> str:
        if person.id == reader.id:
            return "You"
        if person.id in found.silenced:
            return "chat is off"
        if _asked_back(found, person.id):
            return "invited again"
        return _MEMBER_STATES.get(holds.get(person.id, ""), "")

    def one(person: Person) -> views.Participant:
        return views.Participant(
            person.id,
            person.name.full,
            disc(person),
            " · ".join(part for part in (ROLES[person.role], state(person)) if part),
            may_remove=may_remove and person.id != reader.id,
            may_invite=may_add and holds.get(person.id) == "left" and not _asked_back(found, person.id),
        )

    return tuple(one(person) for person in (reader, *found.others))


def _asked_back(found: conversations.Row, person: PersonId) -> bool:
    """They left in their app, and their room is being offered to them again."""
    return person in found.unready and (person, "left") in found.holds


def removals(reader: Person, found: conversations.Row, around: Around) -> tuple[views.Removal, ...]:
    """Whose copies are being taken back, and what came of it (C11); who is out may be added again."""
    people = {person.id: person for person in (*found.others, *found.former)}
    inside = {person.id for person in found.others}
    may_add = may(reader, found, Action.ADD_MEMBER)
    latest = {one.person_id: one for one in reversed(around.removals)}
    return tuple(
        views.Removal(
            name=people[one.person_id].name.full,
            disc=disc(people[one.person_id]),
            words=one.words,
            at=one.started_at,
            done_at=one.done_at,
            part=_part(one),
            stuck=one.error is not None,
            back=one.person_id
            if may_add and one.person_id not in inside and latest[one.person_id] is one
            else None,
            left=one.progress.keeps_copy,
        )
        for one in around.removals
        if one.person_id in people
    )


def _part(one: Revocation) -> tuple[int, int] | None:
    """How much has been taken back, while it is."""
    events = one.progress.events
    return (one.progress.redacted, events) if one.progress.step is Step.REDACT and events else None


def banners(reader: Person, found: conversations.Row, around: Around) -> tuple[views.Banner, ...]:
    shown: list[views.Banner] = []
    if found.archived:
        shown.append(views.Banner("You archived this conversation.", unarchive=True))
    if found.closed:
        shown.append(views.Banner("This conversation is closed. It can still be read."))
    if setting_up := _setting_up(found):
        shown.append(views.Banner(setting_up))
    shown += _holds(found, during_setup=bool(setting_up))
    for refusal in around.off.values():
        shown.append(views.Banner(f"{refusal.words} {_OFF}"))
    archived = [person.name.full for person in found.others if person.id in _archived(found)]
    if archived:
        shown.append(views.Banner(_ARCHIVED.words(archived)))
    return tuple(shown)


def _holds(found: conversations.Row, *, during_setup: bool) -> list[views.Banner]:
    """One line for each reason why something waits."""
    if found.closed:
        return []
    names = {person.id: person.name.full for person in found.others}
    shown = []
    for hold, banner in _BANNERS.items():
        held = [person for person, why in found.holds if why == hold and person in names]
        # Whoever isn't reached yet is counted there already.
        if hold == "no_device" and during_setup:
            held = [person for person in held if person not in found.unready]
        back = [person for person in held if _asked_back(found, person)]
        held = [person for person in held if person not in back]
        if held:
            words = banner.words([names[person] for person in held], may_act=found.is_organiser)
            alone = held[0] if hold == "left" and found.is_organiser and len(held) == 1 else None
            shown.append(
                views.Banner(
                    words,
                    warn=hold in _WARNS,
                    release=hold == "identity_changed" and found.is_organiser,
                    invite=alone,
                    invites=names[alone] if alone else "",
                )
            )
        if back:
            shown.append(views.Banner(_ASKED_BACK.words([names[person] for person in back])))
    return shown


def _archived(found: conversations.Row) -> set[PersonId]:
    return {person.id for person in clients_of(found) if person.status == "archived"}


def _setting_up(found: conversations.Row) -> str:
    """Until the chat has been made for everybody; what is written meanwhile waits for them."""
    clients = clients_of(found)
    waiting = [person for person in clients if person.id in found.unready and person.id not in found.silenced]
    if found.kind is not ConversationKind.COMMUNITY or not waiting or found.closed:
        return ""
    ready = len(clients) - len(waiting)
    people = "1 client" if len(clients) == 1 else f"{len(clients)} clients"
    return f"Setting up: {ready} of {people} ready. You can write already; the others get it when they are."


@dataclass(frozen=True, slots=True)
class _Words:
    """For one person, and for several; then what the organiser can do, and what the others are told."""

    one: str
    several: str
    organiser: str = ""
    others: str = ""

    def words(self, names: Sequence[str], *, may_act: bool = True) -> str:
        if len(names) == 1:
            said = self.one.format(person=names[0])
        else:
            said = self.several.format(count=len(names), people=listed(names))
        return f"{said} {self.organiser if may_act else self.others}".strip()


_WARNS = frozenset({"identity_changed", "left", "unsigned"})
_BANNERS = {
    "identity_changed": _Words(
        "{person}’s security details have changed, as after a reinstalled app.",
        "The security details of {count} people have changed, as after a reinstalled app: {people}.",
        "Please check with them, for example by phone, that it was them. Until you release it, nothing is "
        "sent to them.",
        "Nothing is sent to them until whoever started this conversation has checked that it was them.",
    ),
    "left": _Words(
        "{person} left this chat in their app. What is written waits until they come back.",
        "{count} people left this chat in their app: {people}. What is written waits until they come back.",
        "You can invite them again.",
    ),
    "unsigned": _Words(
        "{person} has signed in, but hasn’t verified the app they use, so nothing can be sent to it safely "
        "yet.",
        "{count} people have signed in, but haven’t verified the app they use, so nothing can be sent to it "
        "safely yet: {people}.",
        "Ask them to verify it in the app’s settings, with their other phone or computer or with their "
        "recovery key. Your messages are kept until then.",
        "They can do so in the app’s settings, with their other phone or computer or with their recovery "
        "key. Messages are kept until then.",
    ),
    "no_device": _Words(
        "{person} hasn’t signed in to chat yet.",
        "{count} people haven’t signed in to chat yet: {people}.",
        "Your messages are kept, and reach them when they do.",
        "Messages are kept, and reach them when they do.",
    ),
}
_ASKED_BACK = _Words(
    "{person} has been invited again. What is written waits until they accept.",
    "{count} people have been invited again: {people}. What is written waits until they accept.",
)
_ARCHIVED = _Words(
    "{person} is archived. You can still write to each other here.",
    "{count} people are archived: {people}. You can still write to each other here.",
)
_OFF = (
    "What they could read stays. Nothing new reaches them, and what they write reaches nobody; they are told "
    "so."
)


def row_state(found: conversations.Row) -> tuple[str, bool]:
    """In a word or two for the list, and whether it needs somebody."""
    if found.closed:
        return "closed", False
    clients = clients_of(found)
    holds = [hold for person, hold in found.holds if not _asked_back(found, person)]
    for hold, (words, warn) in _ROW_STATES.items():
        count = holds.count(hold)
        if count and len(clients) <= 1:
            return words, warn
        if count and (warn or count == len(clients)):
            return (f"{count} {words}" if warn else words), warn
    if len(clients) == 1 and found.silenced:
        return "chat is off", False
    if len(clients) == 1 and _asked_back(found, clients[0].id):
        return "invited again", False
    if len(clients) == 1 and found.has_archived_client:
        return "archived client", False
    return "", False


_ROW_STATES = {
    "identity_changed": ("on hold", True),
    "left": ("left the chat", True),
    "unsigned": ("app not verified", True),
    "no_device": ("waiting to sign in", False),
}


def state(found: conversations.Row) -> str:
    """The line under the title."""
    said = row_state(found)[0]
    clients = [person.name.full for person in clients_of(found)]
    members = f"{len(found.others) + 1} members"
    if said and found.kind is ConversationKind.COMMUNITY:
        return f"Community chat, {members}, {said}"
    if said:
        return said.capitalize()
    match found.kind:
        case ConversationKind.BLAST if len(clients) == 1:
            return f"Message blast to {clients[0]}" if found.has_own_title else "Message blast"
        case ConversationKind.COMMUNITY:
            return f"Community chat, {members}"
        case ConversationKind.STAFF:
            return f"Staff chat, {members}" if len(found.others) > 1 else "Staff chat"
        case ConversationKind.CLIENT_CARE:
            return "Your line to the Client Care team" if found.is_organiser else members
    if len(found.others) > 1 or not clients:
        return members
    return f"One-to-one with {clients[0]}" if found.has_own_title else "One-to-one"


def silence(found: conversations.Row, around: Around) -> str:
    """Why nothing can be written here now; empty: it can."""
    if found.closed:
        return access.CLOSED.words
    if found.kind is ConversationKind.COMMUNITY:
        return ""
    return next(
        (f"{refusal.words} You can still read everything here." for refusal in around.off.values()), ""
    )
