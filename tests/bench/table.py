"""The figures as tables, with what they are held against."""

import os
import statistics
from collections.abc import Mapping, Sequence

from tests.bench.latency import Times
from tests.bench.meter import Compared
from tests.bench.throughput import Rate

PLAIN = "client → client"


def one_at_a_time(latencies: Mapping[str, Times]) -> str:
    plain = latencies[PLAIN]
    lines = [
        "One message at a time         median      p95    added at the median"
        "   CPU a message: ours   Synapse",
    ]
    for name, times in latencies.items():
        added = "" if name == PLAIN else f"{times.median - plain.median:+.1f} ms"
        own = "" if name == PLAIN else f"{times.per_message(times.our_cpu):.1f} ms"
        synapse = f"{times.per_message(times.synapse_cpu):.1f} ms"
        lines.append(f"{name:<26}{times.median:7.1f} ms{times.p95:6.1f} ms{added:>20}{own:>22}{synapse:>12}")
    return "\n".join(lines)


def deliveries(rates: Sequence[tuple[Rate, Rate]]) -> str:
    lines = [
        "Deliveries a second     Synapse's own   the outbox    ratio   CPU a delivery: ours   Synapse",
    ]
    for raw, ours in rates:
        lines.append(
            f"{ours.count:>5} over {ours.legs} legs    {raw.a_second:12.1f}{ours.a_second:13.1f}"
            f"{ours.a_second / raw.a_second:9.2f}{ours.our_cpu_ms:19.2f} ms{ours.synapse_cpu_ms:8.2f} ms"
        )
    ratio = statistics.median(ours.a_second / raw.a_second for raw, ours in rates)
    return "\n".join([*lines, f"median ratio {ratio:.2f}"])


EXPLAINED = """\
Synapse's own: ready-made requests at the carrier's concurrency, with nothing of ours behind them.
  set-up: the same rooms, invitations and joins, of users that exist already (we also make each mask, its
  device and its keys); a post: an event into each of the same rooms; a blast: room, invitations, joins, room
  key to the client's devices, message. "in the last leg": from the click until the last room has it."""


OF_MANY = (
    "Conversations of many    events: Synapse's own, ours      a second: Synapse's own, ours    ratio"
    "   in the last leg   CPU an event: ours   Synapse, alone   load"
)


def compared(row: Compared) -> str:
    raw, ours = row.raw, row.ours
    each = max(raw.events, 1)
    return (
        f"{row.name:<22}{raw.events:>20}{ours.events:>13}{raw.events / raw.seconds:>23.1f}"
        f"{raw.events / ours.seconds:>13.1f}{row.ratio:>9.2f}{ours.seconds:>16.2f} s"
        f"{ours.our_cpu_ms / each:>16.2f} ms{ours.synapse_cpu_ms / each:>8.1f}"
        f"{raw.synapse_cpu_ms / each:>7.1f}{row.load:>7.1f}"
    )


def resident(memory: Sequence[tuple[str, float]]) -> str:
    return "\n".join(["Resident memory", *(f"{name:<26}{megabytes:7.0f} MB" for name, megabytes in memory)])


def load() -> str:
    averages = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return f"Load of the machine: {averages} (1, 5, 15 minutes; {os.cpu_count()} cores)"
