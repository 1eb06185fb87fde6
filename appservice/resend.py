"""Was it sent before? Asked when the homeserver has forgotten the transaction id (after a day)."""

from datetime import datetime

from appservice.context import Context
from appservice.homeserver_transport import Json

PAGES = 20


async def find(context: Context, room_id: str, sender: str, payload: Json, *, since: datetime) -> str | None:
    """The event in the room's timeline that carries this very payload, looked for back to `since`."""
    start: str | None = None
    for _ in range(PAGES):
        chunk = await context.homeserver.messages(room_id, context.acting, start=start, limit=100)
        for event in chunk["chunk"]:
            if event["sender"] == sender and _same(event["content"], payload):
                return str(event["event_id"])
            if event["origin_server_ts"] < since.timestamp() * 1000 - 60_000:
                return None
        start = chunk.get("end")
        if start is None:
            return None
    return None


def _same(content: Json, payload: Json) -> bool:
    if "ciphertext" in payload:
        return bool(content.get("ciphertext") == payload["ciphertext"])
    return content == payload
