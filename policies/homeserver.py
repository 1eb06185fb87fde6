"""The module that Synapse loads: the rules of ``room_rules``, asked at every door of the homeserver.

    modules:
      - module: policies.homeserver.RuhModule
        config: {assistant: "@ruh_assistant0:example.org", namespace: "@ruh_"}

Our own users and the server's administrators pass; everybody else is an ordinary account.

``check_event_allowed`` is left alone on purpose: for every event, ours too, Synapse first loads the room's
whole state for it (CPU an event: 0.23 ms with 3 members, 0.50 ms with 27; the callbacks used here: 0.12 ms
in any room). The other callbacks see the same requests with what they carry: ``check_event_for_spam``
every event but memberships, ``user_may_send_state_event`` the content of ``PUT /state``,
``user_may_join_room`` every join, a change of name or picture included (Synapse 1.163,
``handlers/message.py``, ``handlers/room_member.py``). What a join itself carries they don't see: set
``allow_per_room_profiles: false``, with which Synapse puts the profile's name and picture into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policies import room_rules
from policies.vocabulary import MatrixUserId, Refusal

if TYPE_CHECKING:
    from synapse.module_api import ModuleApi


@dataclass(frozen=True, slots=True)
class Config:
    assistant: MatrixUserId
    namespace: str
    server_name: str
    admins: frozenset[str] = frozenset()
    direct_chats: bool = False
    """Whether a client may open a direct chat to the assistant (P6)."""


class RuhModule:
    """Registers the callbacks; each asks who it is first, and a rule second."""

    def __init__(self, config: Config, api: ModuleApi) -> None:
        from synapse.module_api import NOT_SPAM
        from synapse.module_api.errors import Codes

        self._config = config
        self._api = api
        self._not_spam = NOT_SPAM
        self._forbidden = Codes.FORBIDDEN
        self._suffix = f":{config.server_name}"
        api.register_spam_checker_callbacks(
            check_event_for_spam=self.check_event_for_spam,
            user_may_create_room=self.user_may_create_room,
            user_may_create_room_alias=self.user_may_create_room_alias,
            user_may_invite=self.user_may_invite,
            user_may_join_room=self.user_may_join_room,
            user_may_publish_room=self.user_may_publish_room,
            user_may_send_3pid_invite=self.user_may_send_3pid_invite,
            user_may_send_state_event=self.user_may_send_state_event,
        )

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> Config:
        """Raises ``ValueError``, which Synapse shows at start-up, for a missing or malformed key."""
        assistant, namespace = config.get("assistant"), config.get("namespace")
        if not isinstance(namespace, str) or not namespace.startswith("@") or len(namespace) < 3:
            raise ValueError('ruh: "namespace" must begin our user ids, such as "@ruh_"')
        if not isinstance(assistant, str) or not assistant.startswith(namespace) or ":" not in assistant:
            raise ValueError('ruh: "assistant" must be a full user id inside "namespace"')
        admins = config.get("admins", [])
        if not isinstance(admins, list) or not all(isinstance(admin, str) for admin in admins):
            raise ValueError('ruh: "admins" must be a list of user ids')
        return Config(
            MatrixUserId(assistant),
            namespace,
            assistant.split(":", 1)[1],
            frozenset(admins),
            bool(config.get("direct_chats", False)),
        )

    def _is_ours(self, user_id: str) -> bool:
        return user_id.startswith(self._config.namespace) and user_id.endswith(self._suffix)

    async def _passes(self, user_id: str) -> bool:
        return (
            self._is_ours(user_id)
            or user_id in self._config.admins
            or (user_id.endswith(self._suffix) and await self._api.is_user_admin(user_id))
        )

    async def _verdict(self, user_id: str, refusal: Refusal | None) -> Any:
        # Administrators are looked up (a query) only when the answer would be no.
        if refusal is None or await self._passes(user_id):
            return self._not_spam
        return self._forbidden, {"error": refusal.words}

    async def check_event_for_spam(self, event: Any) -> Any:
        sender: str = event.sender
        if self._is_ours(sender):
            return self._not_spam
        refusal = room_rules.refuse_event(event.type, event.content, is_state=event.is_state())
        return self._not_spam if refusal is None else await self._verdict(sender, refusal)

    async def user_may_send_state_event(
        self, user_id: str, room_id: str, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> Any:
        refusal = room_rules.refuse_state(user_id, event_type, state_key, content)
        verdict = await self._verdict(user_id, refusal)
        # This callback may return only the code: Synapse takes a pair for a mistake.
        return verdict if verdict == self._not_spam else verdict[0]

    async def user_may_create_room(self, user_id: str, config: Mapping[str, Any]) -> Any:
        refusal = room_rules.refuse_room(
            config, self._config.assistant, direct_chats=self._config.direct_chats
        )
        return await self._verdict(user_id, refusal)

    async def user_may_invite(self, inviter: str, invitee: str, room_id: str) -> Any:
        refusal = room_rules.refuse_invite(
            invitee, self._config.assistant, direct_chats=self._config.direct_chats
        )
        return await self._verdict(inviter, refusal)

    async def user_may_send_3pid_invite(self, inviter: str, medium: str, address: str, room_id: str) -> Any:
        return await self._verdict(inviter, room_rules.NO_INVITES)

    async def user_may_join_room(self, user_id: str, room_id: str, is_invited: bool) -> Any:
        if is_invited or self._is_ours(user_id):
            return self._not_spam
        in_room = await self._shown_in(room_id, user_id)
        profile = None if in_room is None else await self._shown_to_all(user_id)
        refusal = room_rules.refuse_join(is_invited=False, in_room=in_room, profile=profile)
        return await self._verdict(user_id, refusal)

    async def _shown_in(self, room_id: str, user_id: str) -> room_rules.Shown | None:
        key = ("m.room.member", user_id)
        event = (await self._api.get_room_state(room_id, [key])).get(key)
        if event is None or event.content.get("membership") != "join":
            return None
        return room_rules.Shown(event.content.get("displayname"), event.content.get("avatar_url"))

    async def _shown_to_all(self, user_id: str) -> room_rules.Shown:
        profile = await self._api.get_profile_for_user(user_id[1:].split(":", 1)[0])
        return room_rules.Shown(profile.display_name, profile.avatar_url)

    async def user_may_create_room_alias(self, user_id: str, alias: Any) -> Any:
        return await self._verdict(user_id, room_rules.NO_ALIASES)

    async def user_may_publish_room(self, user_id: str, room_id: str) -> Any:
        return await self._verdict(user_id, room_rules.NO_PUBLISHING)
