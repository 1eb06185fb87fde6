"""Figures for the operator's monitoring: how many and how long, never who or what (S5)."""

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from appservice.context import Context
from bridge import outbox

DELIVERED = Counter("ruh_deliveries_total", "Deliveries carried to Matrix, by outcome.", ["outcome"])
DELIVERY_SECONDS = Histogram(
    "ruh_delivery_seconds",
    "From the journal's entry to the homeserver's answer, for entries that were not held.",
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60, 300),
)
RECEIVED = Counter("ruh_events_received_total", "Events of clients that a sync brought.")
PARKED = Counter("ruh_events_parked_total", "Events that could not become entries, by reason.", ["reason"])
SYNC_FAILURES = Counter("ruh_sync_failures_total", "Syncs that the homeserver failed.")
WAITING = Gauge(
    "ruh_deliveries_waiting", "Deliveries not yet carried, by whether their leg is held.", ["held"]
)


def serve(port: int) -> None:
    """On every address of this host; 0: not at all."""
    if port:
        start_http_server(port)


async def gauge(context: Context) -> None:
    async with context.pool.acquire() as connection:
        held, free = await outbox.waiting(connection)
    WAITING.labels(held="yes").set(held)
    WAITING.labels(held="no").set(free)
