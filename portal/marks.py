"""The small mark at an own message: how far it has come, and what to do when it doesn't go on (M9, M13).

Seen is only said when somebody told it; a client may keep their receipts to themselves, and then the mark
stays at "not seen yet".
"""

from collections.abc import Mapping, Sequence

from bridge.timeline import DeliveryState as Delivery
from bridge.timeline import Line, ReadMark
from policies.vocabulary import Person, PersonId
from portal.naming import listed
from portal.views import DeliveryState, Mark, Seen

FEW = 3
"""Up to so many recipients are told one by one; of more, how many have seen it."""


def mark(
    line: Line,
    reads: Sequence[ReadMark],
    recipients: Mapping[PersonId, Person],
    holds: Mapping[PersonId, str],
) -> Mark:
    seen = _seen(line, reads, recipients)
    failed = [d for d in line.deliveries if d.state == "failed"]
    if seen and not failed:
        label = f"Seen by {listed([one.name for one in seen])}"
        many = len(recipients) > FEW
        words = f"Seen by {len(seen)} of {len(recipients)}" if many else ""
        return Mark(DeliveryState.SEEN, label, words, seen, named=len(recipients) > 1)
    going = [d for d in line.deliveries if d.state in ("pending", "prepared")]
    if failed:
        words = f"Not delivered to {_names(failed, recipients)}"
        return Mark(
            DeliveryState.FAILED, words, f"{words}. Please send it again, or ask Client Care for help."
        )
    for hold, state in (("identity_changed", DeliveryState.HELD), ("left", DeliveryState.HELD),
                        ("unsigned", DeliveryState.HELD), ("no_device", DeliveryState.WAITING)):  # fmt: skip
        # What holds somebody now is said more exactly by the conversation than by the delivery.
        if held := [d for d in going if (holds.get(d.person_id) or d.hold) == hold]:
            words = _HELD[hold].format(_names(held, recipients))
            return Mark(state, words, words)
    if going:
        return Mark(DeliveryState.SENDING, "Sending", "Sending")
    return Mark(DeliveryState.SENT, "Sent, not seen yet")


_HELD = {
    "identity_changed": "Held: {}’s security details have changed",
    "left": "Held: {} left the chat in their app",
    "unsigned": "Waiting for {} to verify their app",
    "no_device": "Waiting for {} to sign in",
}


def _seen(line: Line, reads: Sequence[ReadMark], recipients: Mapping[PersonId, Person]) -> tuple[Seen, ...]:
    """The first mark of each that reaches the line tells when."""
    first: dict[PersonId, Seen] = {}
    for read in reads:
        if read.person_id in recipients and read.seq >= line.seq and read.person_id not in first:
            first[read.person_id] = Seen(recipients[read.person_id].name.full, read.at)
    return tuple(first.values())


def _names(deliveries: Sequence[Delivery], recipients: Mapping[PersonId, Person]) -> str:
    names = [recipients[d.person_id].name.full for d in deliveries if d.person_id in recipients]
    return listed(list(dict.fromkeys(names))) or "a member"
