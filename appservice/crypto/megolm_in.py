"""Megolm messages from clients: a session serves its owner's events only, and an index one event, for ever.

Sessions in memory are copies of rows: taking the index asks the database each time, so a copy that has been
deleted, replaced or rolled back is found out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import vodozemac

from appservice.crypto.cache import Cache
from appservice.crypto.device_lists import is_id
from appservice.crypto.errors import Malformed, MissingSession, Replayed, UnknownDevice, WrongSender
from appservice.crypto.model import MEGOLM
from bridge.database import Transaction
from bridge.sealing import DataKey

Json = dict[str, Any]
Place = tuple[str, str, str]  # room, session, user

_SESSION_ID = re.compile(r"[A-Za-z0-9+/]{43}")
_WITHHELD = re.compile(r"[a-z0-9._]{1,64}")


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What an encrypted event says. `m.relates_to` may have stood outside of the encryption. `unverified`: it
    comes from a device that its owner's identity hasn't signed."""

    type: str
    content: Json
    device_id: str
    session_id: str
    index: int
    unverified: bool = False


@dataclass(slots=True)
class _Session:
    id: int
    session: vodozemac.InboundGroupSession
    device_id: str
    unverified: bool
    """As it was when the session was first looked for."""


class InboundSessions:
    """Tables megolm_inbound, megolm_index and megolm_withheld."""

    def __init__(self, devices_key: DataKey) -> None:
        self._sealing = devices_key
        self._cache: Cache[Place, _Session] = Cache(2000)

    async def store(
        self, tx: Transaction, content: Mapping[str, Any], user_id: str, sender_key: str, signing_key: str
    ) -> tuple[str, str] | None:
        """Keep the session of an `m.room_key`; (room, session) if it lets us read more than before."""
        room_id, session_id = content.get("room_id"), content.get("session_id")
        if content.get("algorithm") != MEGOLM or not is_id(room_id) or not _is_session_id(session_id):
            raise Malformed("room_key_malformed")
        try:
            new = vodozemac.InboundGroupSession(vodozemac.SessionKey(content["session_key"]))
        except (KeyError, TypeError, ValueError):
            raise Malformed("room_key_malformed") from None
        if new.session_id != session_id:
            raise Malformed("room_key_malformed")
        place = (room_id, session_id, user_id)
        row = await tx.fetchrow(
            """INSERT INTO megolm_inbound
                   (room_id, session_id, user_id, sender_key, signing_key, first_index, pickle)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (room_id, session_id, user_id) DO UPDATE SET session_id = excluded.session_id
               RETURNING id, first_index, pickle, xmax = 0 AS fresh""",
            *place,
            sender_key,
            signing_key,
            new.first_known_index,
            self._pickle(place, new),
        )
        if row is None or row["fresh"]:
            return room_id, session_id
        return await self._improve(tx, place, row, new, sender_key, signing_key)

    async def _improve(
        self,
        tx: Transaction,
        place: Place,
        row: Mapping[str, Any],
        new: vodozemac.InboundGroupSession,
        sender_key: str,
        signing_key: str,
    ) -> tuple[str, str] | None:
        """Of two copies the one that reads from an earlier message stays, if both are the same session."""
        if new.first_known_index >= row["first_index"]:
            return None
        old = self._unpickle(place, row["pickle"])
        here, there = (copy.export_at(row["first_index"]) for copy in (new, old))
        if here is None or there is None or here.to_base64() != there.to_base64():
            raise Malformed("room_key_conflict")
        await tx.execute(
            """UPDATE megolm_inbound SET first_index = $2, pickle = $3, sender_key = $4, signing_key = $5
               WHERE id = $1""",
            row["id"],
            new.first_known_index,
            self._pickle(place, new),
            sender_key,
            signing_key,
        )
        self._cache.pop(place)
        return place[0], place[1]

    async def withheld(self, tx: Transaction, content: Mapping[str, Any], user_id: str) -> None:
        """Somebody's device tells that it won't give us a key, and why."""
        room_id, session_id, code = (content.get(name) for name in ("room_id", "session_id", "code"))
        if not isinstance(code, str) or not _WITHHELD.fullmatch(code):
            raise Malformed("withheld_malformed")
        if not is_id(room_id) or not _is_session_id(session_id):
            raise Malformed("withheld_" + code)  # m.no_olm names no session
        await tx.execute(
            """INSERT INTO megolm_withheld (room_id, session_id, user_id, code) VALUES ($1, $2, $3, $4)
               ON CONFLICT (room_id, session_id, user_id) DO UPDATE SET code = excluded.code""",
            room_id,
            session_id,
            user_id,
            code,
        )

    async def decrypt(self, tx: Transaction, room_id: str, event: Mapping[str, Any]) -> Decrypted:
        outer, message = _parse(event)
        place = (room_id, outer["session_id"], event["sender"])
        found = self._cache.get(place)
        if found is None or message.message_index() < found.session.first_known_index:
            found = await self._load(tx, place)
        plaintext = _decrypt(found.session, message)
        first = await self._take(tx, found.id, message.message_index(), event["event_id"])
        if first is None:  # our copy was of a row that is gone
            found = await self._load(tx, place)
            plaintext = _decrypt(found.session, message)
            first = await self._take(tx, found.id, message.message_index(), event["event_id"])
        if first != event["event_id"]:
            raise Replayed
        said = _open(plaintext, room_id, outer, found.device_id, message.message_index())
        return replace(said, unverified=True) if found.unverified else said

    async def _take(self, tx: Transaction, session: int, index: int, event_id: str) -> str | None:
        """The event that has this index: ours, unless another was first. None: no such session."""
        taken: str | None = await tx.fetchval(
            """INSERT INTO megolm_index (session, index, event_id)
               SELECT id, $2, $3 FROM megolm_inbound WHERE id = $1
               ON CONFLICT (session, index) DO UPDATE SET event_id = megolm_index.event_id
               RETURNING event_id""",
            session,
            index,
            event_id,
        )
        return taken

    async def _load(self, tx: Transaction, place: Place) -> _Session:
        """The session, once its key is known to come from a device of the event's sender."""
        self._cache.pop(place)
        row = await tx.fetchrow(
            """SELECT s.id, s.pickle, d.device_id, d.ed25519 = s.signing_key AS bound,
                   u.master_key IS NOT NULL AND NOT d.signed AS unverified
               FROM megolm_inbound s LEFT JOIN crypto_device d
                   ON d.user_id = s.user_id AND d.curve25519 = s.sender_key
               LEFT JOIN crypto_user u ON u.user_id = s.user_id
               WHERE s.room_id = $1 AND s.session_id = $2 AND s.user_id = $3
               ORDER BY bound DESC NULLS LAST LIMIT 1""",
            *place,
        )
        if row is None:
            raise await self._missing(tx, place)
        if row["device_id"] is None:
            raise UnknownDevice
        if not row["bound"]:
            raise WrongSender
        session = self._unpickle(place, row["pickle"])
        found = _Session(row["id"], session, row["device_id"], bool(row["unverified"]))
        self._cache.put(place, found)
        return found

    async def _missing(self, tx: Transaction, place: Place) -> WrongSender | MissingSession:
        other = await tx.fetchval(
            "SELECT user_id FROM megolm_inbound WHERE room_id = $1 AND session_id = $2 LIMIT 1", *place[:2]
        )
        if other is not None:
            return WrongSender()
        return MissingSession(
            await tx.fetchval(
                "SELECT code FROM megolm_withheld WHERE room_id = $1 AND session_id = $2 AND user_id = $3",
                *place,
            )
        )

    async def forget_room(self, tx: Transaction, room_id: str) -> None:
        await tx.execute("DELETE FROM megolm_inbound WHERE room_id = $1", room_id)
        await tx.execute("DELETE FROM megolm_withheld WHERE room_id = $1", room_id)

    def _pickle(self, place: Place, session: vodozemac.InboundGroupSession) -> str:
        return session.pickle(self._sealing.derive("megolm in " + " ".join(place)))

    def _unpickle(self, place: Place, pickle: str) -> vodozemac.InboundGroupSession:
        key = self._sealing.derive("megolm in " + " ".join(place))
        return vodozemac.InboundGroupSession.from_pickle(pickle, key)


def _is_session_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _SESSION_ID.fullmatch(value) is not None


def _parse(event: Mapping[str, Any]) -> tuple[Json, vodozemac.MegolmMessage]:
    content = event.get("content")
    if not isinstance(content, dict) or content.get("algorithm") != MEGOLM:
        raise Malformed("unknown_algorithm")
    if not _is_session_id(content.get("session_id")):
        raise Malformed("megolm_malformed")
    try:
        return content, vodozemac.MegolmMessage.from_base64(content["ciphertext"])
    except (KeyError, TypeError, ValueError):
        raise Malformed("megolm_malformed") from None


def _decrypt(session: vodozemac.InboundGroupSession, message: vodozemac.MegolmMessage) -> bytes:
    if message.message_index() < session.first_known_index:
        raise MissingSession("ratcheted")
    try:
        return bytes(session.decrypt(message).plaintext)
    except ValueError:
        raise Malformed("megolm_malformed") from None


def _open(plaintext: bytes, room_id: str, outer: Json, device_id: str, index: int) -> Decrypted:
    try:
        payload = json.loads(plaintext, parse_constant=_refuse)
        if b"\\u" in plaintext:
            # Half a surrogate pair can be escaped in JSON and stored nowhere.
            json.dumps(payload, ensure_ascii=False).encode()
        type, content, room = payload["type"], payload["content"], payload["room_id"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise Malformed("payload_malformed") from None
    if not isinstance(type, str) or not isinstance(content, dict):
        raise Malformed("payload_malformed")
    if room != room_id:
        raise Malformed("wrong_room")
    if isinstance(relation := outer.get("m.relates_to"), dict):
        # Clients leave the relation in clear, where the homeserver can group by it.
        content.setdefault("m.relates_to", relation)
    return Decrypted(type, content, device_id, outer["session_id"], index)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
