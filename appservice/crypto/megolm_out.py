"""The sessions that puppets encrypt with. An index is used once: the ratchet moves by a conditional update.

The same statement checks that every device that may read has the key, and that nobody else has: encryption
is refused with `ShareOutdated` when devices or an identity have changed since the key was shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import vodozemac

from appservice.crypto.account import Keys
from appservice.crypto.cache import Cache
from appservice.crypto.errors import ShareOutdated
from appservice.crypto.model import MEGOLM, Puppet
from appservice.homeserver_transport import compact
from bridge.database import Transaction
from bridge.sealing import DataKey

Json = dict[str, Any]
Place = tuple[UUID, UUID]  # leg, puppet

ROTATE_AFTER_MESSAGES = 100
ROTATE_AFTER_DAYS = 7


@dataclass(frozen=True, slots=True)
class OutboundState:
    """A session that is shared with everybody who may read."""

    session_id: str
    next_index: int


@dataclass(slots=True)
class _Session:
    session: vodozemac.GroupSession
    pickle_key: bytes


class OutboundSessions:
    """Table megolm_outbound."""

    def __init__(self, devices_key: DataKey) -> None:
        self._sealing = devices_key
        self._cache: Cache[Place, _Session] = Cache(2000)

    async def encrypt(
        self,
        tx: Transaction,
        *,
        leg_id: UUID,
        room_id: str,
        puppet: Puppet,
        keys: Keys,
        events: Sequence[tuple[str, Json]],
    ) -> list[Json]:
        """Raises ShareOutdated. Who rolls back discards the ciphertext, so the index is free again."""
        place = (leg_id, puppet.id)
        # Taken out while it moves: a second task, or a copy moved by a transaction that failed, must not
        # meet it half way. The update compares the index in any case.
        held = self._cache.pop(place)
        if held is None or not (
            contents := await self._advance(tx, place, held, room_id, puppet, keys, events)
        ):
            held = await self._load(tx, place)
            contents = await self._advance(tx, place, held, room_id, puppet, keys, events)
        if not contents:
            raise ShareOutdated
        self._cache.put(place, held)
        return contents

    async def _advance(
        self,
        tx: Transaction,
        place: Place,
        held: _Session,
        room_id: str,
        puppet: Puppet,
        keys: Keys,
        events: Sequence[tuple[str, Json]],
    ) -> list[Json]:
        """The encrypted contents, or nothing when the row is not as our copy expects."""
        session = held.session
        before = session.message_index
        contents = [_sealed(session, room_id, type, content, puppet, keys) for type, content in events]
        moved = await tx.execute(
            f"""UPDATE megolm_outbound o SET pickle = $5, next_index = $6
                FROM crypto_user u
                WHERE o.leg_id = $1 AND o.puppet_id = $2 AND o.session_id = $3 AND o.next_index = $4
                    AND o.room_id = $7 AND u.user_id = o.user_id
                    AND u.version = o.shared_version AND u.changed <= u.fetched AND u.state <> 'changed'
                    AND o.next_index < {ROTATE_AFTER_MESSAGES}
                    AND o.created_at > now() - interval '{ROTATE_AFTER_DAYS} days'""",
            *place,
            session.session_id,
            before,
            session.pickle(held.pickle_key),
            session.message_index,
            room_id,
        )
        return contents if moved == "UPDATE 1" else []

    async def _load(self, tx: Transaction, place: Place) -> _Session:
        row = await self.lock(tx, place)
        if row is None:
            raise ShareOutdated
        return row

    async def lock(self, tx: Transaction, place: Place) -> _Session | None:
        row = await tx.fetchrow(
            """SELECT session_id, pickle FROM megolm_outbound WHERE leg_id = $1 AND puppet_id = $2
               FOR UPDATE""",
            *place,
        )
        if row is None:
            return None
        key = self._key(place, row["session_id"])
        return _Session(vodozemac.GroupSession.from_pickle(row["pickle"], key), key)

    async def start(
        self, tx: Transaction, place: Place, room_id: str, user_id: str
    ) -> vodozemac.GroupSession:
        """A fresh session in place of the one before, shared with nobody yet."""
        session = vodozemac.GroupSession()
        await tx.execute("DELETE FROM megolm_outbound WHERE leg_id = $1 AND puppet_id = $2", *place)
        await tx.execute(
            """INSERT INTO megolm_outbound (leg_id, puppet_id, room_id, user_id, session_id, pickle)
               VALUES ($1, $2, $3, $4, $5, $6)""",
            *place,
            room_id,
            user_id,
            session.session_id,
            session.pickle(self._key(place, session.session_id)),
        )
        return session

    def forget(self, place: Place) -> None:
        self._cache.pop(place)

    def _key(self, place: Place, session_id: str) -> bytes:
        return self._sealing.derive(f"megolm out {place[0]} {place[1]} {session_id}")


def _sealed(
    session: vodozemac.GroupSession,
    room_id: str,
    type: str,
    content: Mapping[str, Any],
    puppet: Puppet,
    keys: Keys,
) -> Json:
    payload = compact({"type": type, "content": content, "room_id": room_id})
    sealed: Json = {
        "algorithm": MEGOLM,
        "ciphertext": session.encrypt(payload).to_base64(),
        "session_id": session.session_id,
        # Deprecated, yet matrix-nio refuses an event without them.
        "sender_key": keys.curve25519,
        "device_id": puppet.device_id,
    }
    if "m.relates_to" in content:
        sealed["m.relates_to"] = content["m.relates_to"]  # in clear, for the homeserver to group by
    return sealed
