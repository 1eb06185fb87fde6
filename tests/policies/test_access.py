import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.access import (
    NOT_FOUND,
    TABLE,
    Action,
    ConversationState,
    Relation,
    decide,
    relation_of,
)
from policies.vocabulary import ALLOWED, ConversationKind, Member, Refusal, Role
from tests.policies.builders import person, therapist

SARA, AMINA, CHARLIE = therapist(), person("Amina Yusuf"), person("Charlie Reed")
ROSTER = [Member(SARA, 0), Member(AMINA, 0)]
DIRECT = ConversationState(ConversationKind.DIRECT)
CLOSED = ConversationState(ConversationKind.DIRECT, closed=True)

WITHOUT_CONVERSATION = {
    Action.SIGN_IN,
    Action.LIST_PEOPLE,
    Action.START_DIRECT,
    Action.START_COMMUNITY,
    Action.START_BLAST,
    Action.START_STAFF,
    Action.VIEW_SETTINGS,
    Action.CHANGE_SETTINGS,
    Action.MANAGE_PEOPLE,
    Action.VIEW_AUDIT,
}
CARE_ONLY = {Action.SEE_DELETED, Action.RESTORE}
INSIDE = set(Action) - WITHOUT_CONVERSATION - CARE_ONLY
ORGANISER_ONLY = {
    Action.RENAME,
    Action.ADD_MEMBER,
    Action.REMOVE_MEMBER,
    Action.CLOSE,
    Action.RELEASE_IDENTITY,
}

anything = st.tuples(
    st.sampled_from(Action),
    st.sampled_from(Role),
    st.sampled_from(Relation),
    st.builds(ConversationState, st.sampled_from(ConversationKind), st.booleans()),
    st.booleans(),
)


def code(*asked: object, **more: bool) -> str:
    verdict = decide(*asked, **more)  # type: ignore[arg-type]
    return verdict.code if isinstance(verdict, Refusal) else "allowed"


def test_where_one_stands_follows_the_roster() -> None:
    left = [Member(SARA, 0), Member(AMINA, 0, removed_seq=4)]
    assert relation_of(SARA.id, SARA.id, ROSTER) is Relation.ORGANISER
    assert relation_of(AMINA.id, SARA.id, ROSTER) is Relation.MEMBER
    assert relation_of(AMINA.id, SARA.id, left) is Relation.FORMER
    assert relation_of(AMINA.id, SARA.id, [*left, Member(AMINA, 6)]) is Relation.MEMBER
    assert relation_of(CHARLIE.id, SARA.id, ROSTER) is Relation.OUTSIDER


def test_an_organiser_who_was_removed_is_nobody_special() -> None:
    assert relation_of(SARA.id, SARA.id, [Member(SARA, 0, removed_seq=2)]) is Relation.FORMER


def test_every_action_has_a_rule() -> None:
    assert set(TABLE) == set(Action)


@pytest.mark.parametrize("relation", [Relation.OUTSIDER, Relation.FORMER])
@pytest.mark.parametrize("action", sorted(INSIDE))
def test_who_is_not_inside_cannot_tell_that_it_exists(action: Action, relation: Relation) -> None:
    for role in Role:
        for kind in ConversationKind:
            for closed in (False, True):
                state = ConversationState(kind, closed)
                assert decide(action, role, relation, state, own=False) is NOT_FOUND


@given(anything)
def test_every_refusal_says_something(
    asked: tuple[Action, Role, Relation, ConversationState, bool],
) -> None:
    action, role, relation, state, own = asked
    verdict = decide(action, role, relation, state, own=own)
    assert verdict is ALLOWED or (isinstance(verdict, Refusal) and verdict.words.endswith((".", "?")))


@given(anything)
def test_a_client_may_only_talk_and_leave(
    asked: tuple[Action, Role, Relation, ConversationState, bool],
) -> None:
    action, _, relation, state, own = asked
    if decide(action, Role.CLIENT, relation, state, own=own):
        assert action in {
            Action.READ,
            Action.POST,
            Action.REACT,
            Action.EDIT_OWN,
            Action.DELETE_OWN,
            Action.LEAVE,
        }


@pytest.mark.parametrize("action", sorted(ORGANISER_ONLY))
def test_only_the_organiser_edits_a_conversation(action: Action) -> None:
    assert decide(action, Role.THERAPIST, Relation.ORGANISER, DIRECT)
    assert code(action, Role.TEAM_MEMBER, Relation.MEMBER, DIRECT) == "forbidden"
    assert code(action, Role.ADMINISTRATOR, Relation.MEMBER, DIRECT) == "forbidden"


def test_a_closed_conversation_is_read_and_not_written() -> None:
    for action in (Action.POST, Action.REACT, Action.EDIT_OWN, Action.ADD_MEMBER):
        assert code(action, Role.THERAPIST, Relation.ORGANISER, CLOSED) == "closed"
    for action in (Action.READ, Action.ARCHIVE, Action.DELETE_OWN, Action.REMOVE_MEMBER):
        assert decide(action, Role.THERAPIST, Relation.ORGANISER, CLOSED)
    assert code(Action.CLOSE, Role.THERAPIST, Relation.ORGANISER, CLOSED) == "already_closed"


def test_nobody_changes_the_words_of_another() -> None:
    for action in (Action.EDIT_OWN, Action.DELETE_OWN):
        for relation in (Relation.ORGANISER, Relation.MEMBER):
            assert code(action, Role.THERAPIST, relation, DIRECT, own=False) == "not_yours"


def test_the_client_care_group_looks_after_itself() -> None:
    group = ConversationState(ConversationKind.CLIENT_CARE)
    for action in (Action.ADD_MEMBER, Action.REMOVE_MEMBER, Action.CLOSE):
        assert code(action, Role.THERAPIST, Relation.ORGANISER, group) == "wrong_kind"
    assert decide(Action.POST, Role.CLIENT_CARE, Relation.MEMBER, group)


def test_client_care_restores_what_it_is_not_part_of_and_nobody_else_does() -> None:
    assert decide(Action.RESTORE, Role.CLIENT_CARE, Relation.OUTSIDER, CLOSED)
    assert code(Action.RESTORE, Role.THERAPIST, Relation.ORGANISER, DIRECT) == "forbidden"
    assert decide(Action.READ, Role.CLIENT_CARE, Relation.OUTSIDER, DIRECT) is NOT_FOUND


def test_clients_start_nothing_for_others() -> None:
    for action in (Action.START_DIRECT, Action.START_COMMUNITY, Action.START_BLAST, Action.START_STAFF):
        assert code(action, Role.CLIENT) == "forbidden"
        assert decide(action, Role.THERAPIST)


def test_the_audit_trail_and_the_settings_are_for_those_who_look_after_them() -> None:
    assert [role for role in Role if decide(Action.VIEW_AUDIT, role)] == [Role.ADMINISTRATOR]
    assert {role for role in Role if decide(Action.CHANGE_SETTINGS, role)} == {
        Role.CLIENT_CARE,
        Role.ADMINISTRATOR,
    }


def test_the_organiser_closes_instead_of_leaving() -> None:
    assert "close it" in str(decide(Action.LEAVE, Role.THERAPIST, Relation.ORGANISER, DIRECT))
    assert decide(Action.LEAVE, Role.CLIENT, Relation.MEMBER, DIRECT)
