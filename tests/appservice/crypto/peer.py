"""A person's devices, made by hand: what honest clients send, and what no client would.

`KeyServer` is the part of a homeserver that hands keys around; it breaks on demand and forgets nothing.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

import vodozemac

from appservice.crypto.canonical import canonical
from appservice.crypto.identity import Identity
from appservice.crypto.model import MEGOLM, OLM
from appservice.homeserver import Acting, Unavailable

Json = dict[str, Any]


class Peer:
    """One device of `user_id`, with an Olm account and a Megolm session of its own."""

    def __init__(self, user_id: str, device_id: str, identity: Identity | None = None) -> None:
        self.user_id, self.device_id = user_id, device_id
        self.account = vodozemac.Account()
        self.group = vodozemac.GroupSession()
        self.sessions: dict[str, vodozemac.Session] = {}
        self.heard: dict[str, vodozemac.InboundGroupSession] = {}
        self.got: list[Json] = []
        self.identity = identity
        self._events = 0

    @property
    def curve25519(self) -> str:
        return self.account.curve25519_key.to_base64()

    @property
    def ed25519(self) -> str:
        return self.account.ed25519_key.to_base64()

    def device_keys(self) -> Json:
        keys: Json = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": [OLM, MEGOLM],
            "keys": {
                f"curve25519:{self.device_id}": self.curve25519,
                f"ed25519:{self.device_id}": self.ed25519,
            },
        }
        signed = self.signed(keys)
        if self.identity:
            self.identity.self_signing.sign(signed, self.user_id)
        return signed

    def signed(self, body: Json) -> Json:
        signature = self.account.sign(canonical(body)).to_base64()
        return body | {"signatures": {self.user_id: {f"ed25519:{self.device_id}": signature}}}

    def one_time_key(self) -> Json:
        self.account.generate_one_time_keys(1)
        ((key_id, key),) = self.account.one_time_keys.items()
        self.account.mark_keys_as_published()
        return {f"signed_curve25519:{key_id}": self.signed({"key": key.to_base64()})}

    # To our devices

    def olm(
        self, to: Mapping[str, Any], one_time_key: str | None, type: str, content: Json, **forged: Any
    ) -> Json:
        """A to-device event for the device with these device keys; `forged` replaces parts of the inside."""
        device = to["device_id"]
        curve25519, ed25519 = to["keys"][f"curve25519:{device}"], to["keys"][f"ed25519:{device}"]
        if one_time_key is not None:
            self.sessions[curve25519] = self.account.create_outbound_session(
                vodozemac.Curve25519PublicKey.from_base64(curve25519),
                vodozemac.Curve25519PublicKey.from_base64(one_time_key),
            )
        payload = {
            "type": type,
            "content": content,
            "sender": self.user_id,
            "keys": {"ed25519": self.ed25519},
            "recipient": to["user_id"],
            "recipient_keys": {"ed25519": ed25519},
        } | forged
        kind, body = self.sessions[curve25519].encrypt(json.dumps(payload).encode()).to_parts()
        text = base64.b64encode(body).decode().rstrip("=")
        ciphertext = {curve25519: {"type": kind, "body": text}}
        sealed = {"algorithm": OLM, "sender_key": self.curve25519, "ciphertext": ciphertext}
        return {"type": "m.room.encrypted", "sender": self.user_id, "content": sealed}

    def room_key(self, room_id: str) -> Json:
        return {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": self.group.session_id,
            "session_key": self.group.session_key.to_base64(),
        }

    def event(self, room_id: str, body: str = "hello", **inside: Any) -> Json:
        """An encrypted room event as the homeserver hands it out."""
        payload = {
            "type": "m.room.message",
            "content": {"msgtype": "m.text", "body": body},
            "room_id": room_id,
        }
        return self.sealed(json.dumps(payload | inside).encode())

    def sealed(self, plaintext: bytes) -> Json:
        self._events += 1
        content = {
            "algorithm": MEGOLM,
            "ciphertext": self.group.encrypt(plaintext).to_base64(),
            "session_id": self.group.session_id,
            "sender_key": self.curve25519,
            "device_id": self.device_id,
        }
        event_id = f"${self.device_id}{self._events}"
        return {"type": "m.room.encrypted", "event_id": event_id, "sender": self.user_id, "content": content}

    # From our devices

    def take(self, server: KeyServer) -> list[Json]:
        """Decrypt what lies in this device's inbox and keep its room keys; raises when it can't."""
        opened = []
        for content in server.inbox.pop((self.user_id, self.device_id), []):
            part = content["ciphertext"][self.curve25519]
            raw = base64.b64decode(part["body"] + "=" * (-len(part["body"]) % 4))
            message = vodozemac.AnyOlmMessage.from_parts(part["type"], raw)
            sender_key = content["sender_key"]
            if (prekey := message.to_pre_key()) and (
                sender_key not in self.sessions or not self.sessions[sender_key].session_matches(prekey)
            ):
                key = vodozemac.Curve25519PublicKey.from_base64(sender_key)
                self.sessions[sender_key], plaintext = self.account.create_inbound_session(key, prekey)
            else:
                plaintext = self.sessions[sender_key].decrypt(message)
            inside = json.loads(plaintext)
            if inside["type"] == "m.room_key":
                key = vodozemac.SessionKey(inside["content"]["session_key"])
                self.heard[inside["content"]["session_id"]] = vodozemac.InboundGroupSession(key)
            opened.append(inside)
        self.got += opened
        return opened

    def read(self, content: Mapping[str, Any]) -> Json:
        """The inside of our event; KeyError without its session, ValueError with too late a copy."""
        message = vodozemac.MegolmMessage.from_base64(content["ciphertext"])
        return dict(json.loads(self.heard[content["session_id"]].decrypt(message).plaintext))


class KeyServer:
    """Stands in for `Homeserver` where a test needs faults, forged keys or exhausted ones."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = list(peers)
        self.identities: dict[str, Identity] = {}
        self.inbox: dict[tuple[str, str], list[Json]] = {}
        self.uploads: list[Json] = []
        self.queries = self.claims = self.sends = 0
        self.exhausted: set[str] = set()
        self.broken: set[str] = set()
        self.transactions: dict[str, int] = {}
        self.withheld: dict[tuple[str, str], str] = {}
        self.forgetful = False  # a homeserver that was restarted takes a transaction a second time
        self.tamper: Any = lambda answer: answer

    def _may(self, what: str) -> None:
        if what in self.broken:
            raise Unavailable(503, "M_UNKNOWN")

    async def register_user(self, localpart: str) -> None:
        self._may("register_user")

    async def ensure_device(self, acting: Acting, name: str) -> None:
        self._may("ensure_device")

    async def upload_signing_keys(self, acting: Acting, body: Json) -> None:
        self._may("upload_signing_keys")
        self.uploads.append(body)

    async def upload_keys(self, acting: Acting, body: Json) -> Json:
        self._may("upload_keys")
        self.uploads.append(body)
        return {}

    async def query_keys(self, acting: Acting, user_ids: list[str]) -> Json:
        self._may("query_keys")
        self.queries += 1
        answer: Json = {"device_keys": {}, "master_keys": {}, "self_signing_keys": {}}
        for user_id in user_ids:
            answer["device_keys"][user_id] = {
                p.device_id: p.device_keys() for p in self.peers if p.user_id == user_id
            }
            if identity := self.identities.get(user_id):
                keys = identity.upload(user_id)
                answer["master_keys"][user_id] = keys["master_key"]
                answer["self_signing_keys"][user_id] = keys["self_signing_key"]
        return dict(self.tamper(answer))

    async def claim_keys(self, acting: Acting, wanted: Mapping[str, Mapping[str, str]]) -> Json:
        self._may("claim_keys")
        self.claims += 1
        keys = {
            user_id: {
                peer.device_id: peer.one_time_key()
                for peer in self.peers
                if peer.user_id == user_id
                and peer.device_id in devices
                and peer.device_id not in self.exhausted
            }
            for user_id, devices in wanted.items()
        }
        return dict(self.tamper({"one_time_keys": keys}))

    async def send_to_device(self, type: str, transaction_id: str, messages: Json, acting: Acting) -> None:
        self._may("send_to_device")
        self.sends += 1
        self.transactions[transaction_id] = self.transactions.get(transaction_id, 0) + 1
        if self.transactions[transaction_id] > 1 and not self.forgetful:
            return
        for user_id, devices in messages.items():
            for device_id, content in devices.items():
                if type == "m.room_key.withheld":
                    self.withheld[user_id, device_id] = content["code"]
                    continue
                self.inbox.setdefault((user_id, device_id), []).append(content)


def identity() -> Identity:
    return Identity(os.urandom(96))
