"""The figures as a table, with what they are held against."""

import statistics
from collections.abc import Mapping, Sequence

from tests.bench.latency import Times
from tests.bench.throughput import Rate

PLAIN = "client → client"


def show(
    latencies: Mapping[str, Times],
    rates: Sequence[tuple[Rate, Rate]],
    memory: Sequence[tuple[str, float]],
) -> str:
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
    lines += [
        "",
        "Deliveries a second     Synapse's own   the outbox    ratio   CPU a delivery: ours   Synapse",
    ]
    for raw, ours in rates:
        lines.append(
            f"{ours.count:>5} over {ours.legs} legs    {raw.a_second:12.1f}{ours.a_second:13.1f}"
            f"{ours.a_second / raw.a_second:9.2f}{ours.our_cpu_ms:19.2f} ms{ours.synapse_cpu_ms:8.2f} ms"
        )
    ratio = statistics.median(ours.a_second / raw.a_second for raw, ours in rates)
    lines += [f"median ratio {ratio:.2f}", "", "Resident memory"]
    lines += [f"{name:<26}{megabytes:7.0f} MB" for name, megabytes in memory]
    return "\n".join(lines)
