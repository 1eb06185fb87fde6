from hypothesis import given
from hypothesis import strategies as st

from policies.chat_settings import InForce, Level, Switch, in_force, reachable, switch_for, told_when_off, why
from policies.vocabulary import ALLOWED, ConversationKind, Name, Refusal

setting = st.sampled_from([True, False, None])
groups = st.dictionaries(st.sampled_from(["Evening", "Morning", "Parents"]), setting)


@given(setting, groups, st.booleans())
def test_the_nearest_setting_wins(
    client: bool | None, groups: dict[str, bool | None], everyone: bool
) -> None:
    found = in_force(client=client, groups=groups, everyone=everyone)
    decided = [on for on in groups.values() if on is not None]
    if client is not None:
        assert found == InForce(client, Level.CLIENT)
    elif decided:
        assert (found.on, found.level) == (all(decided), Level.GROUP)
        assert found.group is not None
        assert groups[found.group] is found.on
    else:
        assert found == InForce(everyone, Level.EVERYONE)


def test_of_groups_that_disagree_the_one_that_is_off_wins() -> None:
    found = in_force(client=None, groups={"Evening": True, "Parents": False}, everyone=True)
    assert found == InForce(False, Level.GROUP, "Parents")


def test_the_page_says_where_it_was_decided() -> None:
    off = InForce(False, Level.GROUP, "Evening")
    assert why(Switch.COMMUNITY_CHAT, off) == "Community chat is off for the group “Evening”."
    on = InForce(True, Level.EVERYONE)
    assert why(Switch.DIRECT_MESSAGING, on) == "Direct messaging is on for everyone."


def test_a_greyed_name_has_its_reason() -> None:
    adam = Name("Adam", "Young")
    assert reachable(adam, Switch.DIRECT_MESSAGING, InForce(True, Level.EVERYONE)) is ALLOWED
    refusal = reachable(adam, Switch.DIRECT_MESSAGING, InForce(False, Level.CLIENT))
    assert refusal == Refusal("chat_off", "Adam’s direct messaging is off.")


def test_a_client_is_told_kindly_and_where_to_turn() -> None:
    words = told_when_off(Switch.DIRECT_MESSAGING)
    assert "not delivered" in words
    assert "emergency" in words


def test_each_kind_with_clients_has_its_switch() -> None:
    assert switch_for(ConversationKind.BLAST) is Switch.DIRECT_MESSAGING
    assert switch_for(ConversationKind.COMMUNITY) is Switch.COMMUNITY_CHAT
    assert switch_for(ConversationKind.STAFF) is None
