from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.homeserver import RuhModule
from policies.room_rules import (
    NO_CALLS,
    NO_JOINING,
    NO_PLAINTEXT,
    NO_ROOMS,
    NO_STATE,
    Shown,
    refuse_event,
    refuse_invite,
    refuse_join,
    refuse_room,
    refuse_state,
)
from policies.vocabulary import MatrixUserId

ASSISTANT = MatrixUserId("@ruh_assistant0:ruh.test")
ALICE = "@calice:ruh.test"
MEGOLM = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
WORLD = {"history_visibility": "world_readable"}
DIRECT = {
    "preset": "trusted_private_chat",
    "is_direct": True,
    "invite": [ASSISTANT],
    "initial_state": [MEGOLM],
}
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
contents = st.dictionaries(
    st.sampled_from(["m.relates_to", "algorithm", "ciphertext", "reason", "body", "membership"]), json
)


@given(st.text(), contents)
def test_nothing_is_sent_in_the_clear(type: str, content: dict[str, Any]) -> None:
    if type not in ("m.room.encrypted", "m.reaction", "m.room.redaction"):
        assert refuse_event(type, content, is_state=False) in (NO_PLAINTEXT, NO_CALLS)


@given(st.sampled_from(["m.room.encrypted", "m.reaction", "m.room.redaction"]), contents)
def test_no_content_makes_a_rule_fail(type: str, content: dict[str, Any]) -> None:
    refuse_event(type, content, is_state=False)
    assert refuse_event(type, content, is_state=True) is NO_STATE


@given(contents)
def test_no_room_config_makes_a_rule_fail(config: Mapping[str, Any]) -> None:
    assert refuse_room({**config, "invite": [ASSISTANT]}, ASSISTANT, direct_chats=True) is NO_ROOMS


def test_calls_are_refused_by_name() -> None:
    assert refuse_event("m.call.invite", {}, is_state=False) is NO_CALLS
    assert refuse_event("org.matrix.msc3401.call.member", {}, is_state=True) is NO_CALLS
    assert refuse_state(ALICE, "org.matrix.msc3401.call.member", ALICE, {}) is NO_CALLS


def test_a_bare_membership_of_ones_own_is_the_only_state() -> None:
    leaving = {"membership": "leave", "reason": "bye"}
    assert refuse_state(ALICE, "m.room.member", ALICE, leaving) is None
    assert refuse_state(ALICE, "m.room.member", "@cbob:ruh.test", leaving) is NO_STATE
    assert refuse_state(ALICE, "m.room.member", ALICE, {**leaving, "displayname": "Eve"}) is NO_STATE
    assert refuse_state(ALICE, "m.room.member", ALICE, {"membership": "invite"}) is NO_STATE


def test_one_joins_what_one_was_added_to_and_again_if_nothing_changed() -> None:
    me, eve = Shown("Client", None), Shown("Eve", None)
    assert refuse_join(is_invited=True, in_room=None, profile=None) is None
    assert refuse_join(is_invited=False, in_room=None, profile=me) is NO_JOINING
    assert refuse_join(is_invited=False, in_room=me, profile=me) is None
    assert refuse_join(is_invited=False, in_room=me, profile=eve) is NO_STATE


def test_a_direct_chat_with_the_assistant_is_for_when_it_answers_there() -> None:
    assert refuse_room(DIRECT, ASSISTANT, direct_chats=True) is None
    assert refuse_room(DIRECT, ASSISTANT, direct_chats=False) is NO_ROOMS
    assert refuse_invite(ASSISTANT, ASSISTANT, direct_chats=True) is None
    assert refuse_invite(ASSISTANT, ASSISTANT, direct_chats=False) is not None
    assert refuse_invite("@cbob:ruh.test", ASSISTANT, direct_chats=True) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"invite": [ASSISTANT, "@cbob:ruh.test"]},
        {"invite": []},
        {"invite_3pid": [{}]},
        {"initial_state": []},
        {"initial_state": [MEGOLM, {"type": "m.room.join_rules", "content": {"join_rule": "public"}}]},
        {"initial_state": [{**MEGOLM, "content": {"algorithm": "none"}}]},
        {"initial_state": [MEGOLM, {"type": "m.room.history_visibility", "content": WORLD}]},
        {"preset": "public_chat"},
        {"visibility": "public"},
        {"name": "Amina and Sara"},
        {"topic": "anxiety"},
        {"room_alias_name": "club"},
        {"creation_content": {"type": "m.space"}},
    ],
)
def test_any_other_room_is_refused(change: dict[str, Any]) -> None:
    assert refuse_room({**DIRECT, **change}, ASSISTANT, direct_chats=True) is NO_ROOMS


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"namespace": "@ruh_"},
        {"assistant": ASSISTANT},
        {"assistant": ASSISTANT, "namespace": "ruh_"},
        {"assistant": "@somebody:ruh.test", "namespace": "@ruh_"},
        {"assistant": ASSISTANT, "namespace": "@ruh_", "admins": "@root:ruh.test"},
    ],
)
def test_a_malformed_configuration_stops_the_homeserver(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ruh: "):
        RuhModule.parse_config(config)


def test_the_configuration_knows_the_server_from_the_assistant() -> None:
    config = RuhModule.parse_config({"assistant": "@ruh_a:ruh.test:8448", "namespace": "@ruh_"})
    assert config.server_name == "ruh.test:8448"
