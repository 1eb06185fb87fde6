"""Which of this homeserver's files a client's event names: they go with the leg when it is taken back (C11).

Media isn't bound to a room, so nothing but the message says that a file belongs to one; and the message is
read once only.
"""

from collections.abc import Mapping
from typing import Any

MOST = 8
"""Addresses taken from one event: a file, its preview, and the same again in an edit."""


def media_of(content: Mapping[str, Any], server_name: str) -> list[str]:
    """Files and previews, of the message and of the words that an edit puts in its place. Never raises."""
    new = content.get("m.new_content")
    found = [*_named(content), *(_named(new) if isinstance(new, Mapping) else ())]
    return list(dict.fromkeys(mxc for mxc in found if _is_ours(mxc, server_name)))[:MOST]


def _named(content: Mapping[str, Any]) -> list[Any]:
    info = content.get("info")
    info = info if isinstance(info, Mapping) else {}
    files = [content.get("file"), info.get("thumbnail_file")]
    return [
        content.get("url"),
        info.get("thumbnail_url"),
        *(file.get("url") for file in files if isinstance(file, Mapping)),
    ]


def _is_ours(mxc: Any, server_name: str) -> bool:
    prefix = f"mxc://{server_name}/"
    if not isinstance(mxc, str) or not mxc.startswith(prefix):
        return False
    media_id = mxc.removeprefix(prefix)
    return (
        0 < len(media_id) <= 255
        and media_id.isascii()
        and media_id.replace("-", "").replace("_", "").isalnum()
    )
