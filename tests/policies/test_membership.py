"""The table of changes, and that no sequence of them leaves a roster that the rules don't allow."""

from hypothesis import given
from hypothesis import strategies as st

from policies.membership import (
    CONFIRM_TOLD,
    MAX_CLIENTS,
    TABLE,
    Change,
    Effect,
    Group,
    Outcome,
    Step,
    add,
    close,
    leave,
    remove,
    start,
)
from policies.vocabulary import ConversationKind, Member, Person, PersonId, Refusal, Role
from tests.policies.builders import person, roster, therapist

SARA, AMINA, ADAM = therapist(), person("Amina Yusuf"), person("Adam Young")
TOM = person("Tom Reed", Role.TEAM_MEMBER)
COMMUNITY, DIRECT = ConversationKind.COMMUNITY, ConversationKind.DIRECT


def group(*people: Person, kind: ConversationKind = COMMUNITY, closed: bool = False) -> Group:
    return Group(kind, SARA.id, roster(SARA, *people), closed)


def steps(outcome: Outcome) -> tuple[Step, ...]:
    assert not isinstance(outcome, Refusal), outcome
    return outcome


def on(person: PersonId, outcome: Outcome) -> list[Effect]:
    return [step.effect for step in steps(outcome) if step.person == person]


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def test_a_thread_brings_the_client_a_leg_and_staff_none() -> None:
    outcome = start(DIRECT, SARA, [AMINA])
    assert Effect.OPEN_LEG in on(AMINA.id, outcome)
    assert on(SARA.id, outcome) == [Effect.JOIN_ROSTER, Effect.SHOW_TO_OTHERS]


def test_a_thread_has_one_client() -> None:
    assert code(start(DIRECT, SARA, [AMINA, ADAM])) == "one_client"
    assert code(start(DIRECT, SARA, [TOM])) == "no_client"
    assert code(start(DIRECT, SARA, [])) == "nobody"
    assert code(add(group(AMINA, kind=DIRECT), ADAM)) == "one_client"
    assert Effect.JOIN_ROSTER in on(TOM.id, add(group(AMINA, kind=DIRECT), TOM))


def test_a_thread_whose_client_was_removed_waits_for_them_and_nobody_else() -> None:
    for kind in (DIRECT, ConversationKind.BLAST):
        was = carry_out(group(AMINA, kind=kind), remove(group(AMINA, kind=kind), AMINA.id), PEOPLE)
        assert code(add(was, ADAM)) == "one_client"
        assert Effect.OPEN_LEG in on(AMINA.id, add(was, AMINA))


def test_two_clients_meet_only_after_they_have_been_told() -> None:
    assert start(COMMUNITY, SARA, [AMINA, ADAM]) is CONFIRM_TOLD
    assert Step(Effect.RECORD_TOLD) in steps(start(COMMUNITY, SARA, [AMINA, ADAM], told=True))
    assert add(group(AMINA), ADAM) is CONFIRM_TOLD
    assert Step(Effect.RECORD_TOLD) in steps(add(group(AMINA), ADAM, told=True))


def test_staff_may_be_added_without_telling_anybody() -> None:
    assert Step(Effect.RECORD_TOLD) not in steps(add(group(AMINA, ADAM), TOM))


def test_a_staff_chat_has_no_clients() -> None:
    assert code(start(ConversationKind.STAFF, SARA, [TOM, AMINA])) == "staff_only"
    assert code(add(group(TOM, kind=ConversationKind.STAFF), AMINA)) == "staff_only"


def test_whoever_no_longer_works_here_joins_nothing() -> None:
    gone = person("Gil Gone", Role.THERAPIST, archived=True)
    assert code(start(ConversationKind.STAFF, SARA, [TOM, gone])) == "archived"
    assert code(start(COMMUNITY, SARA, [AMINA, gone])) == "archived"
    assert code(add(group(AMINA), gone)) == "archived"


def test_a_client_care_group_and_a_lobby_may_have_a_single_person() -> None:
    assert steps(start(ConversationKind.CLIENT_CARE, SARA, []))
    assert Effect.OPEN_LEG in on(AMINA.id, start(ConversationKind.LOBBY, AMINA, []))
    lobby = Group(ConversationKind.LOBBY, AMINA.id, roster(AMINA))
    assert Effect.END_LEG in on(AMINA.id, leave(lobby, AMINA.id))


def test_archived_clients_are_left_out_of_what_is_new_and_keep_their_thread() -> None:
    archived = person("Bert Berg", archived=True)
    assert code(start(COMMUNITY, SARA, [AMINA, archived], told=True)) == "archived"
    assert code(start(ConversationKind.BLAST, SARA, [archived])) == "archived"
    assert Effect.OPEN_LEG in on(archived.id, start(DIRECT, SARA, [archived]))


def test_whoever_cannot_be_reached_is_named_with_the_reason() -> None:
    off = Refusal("chat_off", "Adam’s community chat is off.")
    assert start(COMMUNITY, SARA, [AMINA, ADAM], told=True, barred={ADAM.id: off}) is off
    assert add(group(AMINA), ADAM, told=True, barred=off) is off


def test_a_community_chat_has_a_size() -> None:
    many = [person("Amina Yusuf") for _ in range(MAX_CLIENTS)]
    assert steps(start(COMMUNITY, SARA, many, told=True))
    assert code(start(COMMUNITY, SARA, [*many, ADAM], told=True)) == "too_many"
    assert code(add(group(*many), ADAM, told=True)) == "too_many"


def test_a_removed_client_gets_nothing_more_before_anything_else_happens() -> None:
    effects = on(AMINA.id, remove(group(AMINA, ADAM), AMINA.id))
    assert effects[:2] == [Effect.END_MEMBERSHIP, Effect.CANCEL_DELIVERIES]
    assert effects.index(Effect.REVOKE_LEG) < effects.index(Effect.RECORD)


def test_whoever_leaves_keeps_what_they_have() -> None:
    effects = on(AMINA.id, leave(group(AMINA, ADAM), AMINA.id))
    assert Effect.END_LEG in effects
    assert Effect.REVOKE_LEG not in effects


def test_the_last_client_to_go_closes_the_group() -> None:
    for change in (remove, leave):
        assert Step(Effect.CLOSE) in steps(change(group(AMINA, TOM), AMINA.id))
        assert Step(Effect.CLOSE) not in steps(change(group(AMINA, ADAM), AMINA.id))
        assert Step(Effect.CLOSE) not in steps(change(group(AMINA, TOM), TOM.id))


def test_coming_back_means_a_new_leg() -> None:
    was = Group(COMMUNITY, SARA.id, [Member(SARA, 0), Member(TOM, 0), Member(AMINA, 0, removed_seq=4)])
    assert Effect.OPEN_LEG in on(AMINA.id, add(was, AMINA))


def test_closing_freezes_every_clients_leg_after_telling_them() -> None:
    outcome = steps(close(group(AMINA, ADAM, TOM)))
    frozen = [step.person for step in outcome if step.effect is Effect.FREEZE_LEG]
    assert frozen == [AMINA.id, ADAM.id]
    assert outcome.index(Step(Effect.NOTICE)) < outcome.index(Step(Effect.FREEZE_LEG, AMINA.id))
    assert code(close(group(AMINA, closed=True))) == "already_closed"


def test_changes_that_make_no_sense_are_refused_in_words() -> None:
    assert code(add(group(AMINA), AMINA, told=True)) == "already_in"
    assert code(add(group(AMINA, closed=True), TOM)) == "closed"
    assert code(remove(group(AMINA), ADAM.id)) == "not_in"
    assert code(leave(group(AMINA), ADAM.id)) == "not_in"
    assert code(remove(group(AMINA), SARA.id)) == "organiser"
    assert code(leave(group(AMINA), SARA.id)) == "organiser"


def test_every_change_is_in_the_table_for_clients_and_for_staff() -> None:
    assert set(TABLE) == {(change, is_client) for change in Change for is_client in (True, False)}


def carry_out(before: Group, outcome: Outcome, people: dict[PersonId, Person]) -> Group:
    """The roster that the steps describe, as the bridge would write it."""
    members, closed = list(before.roster), before.closed
    for step in () if isinstance(outcome, Refusal) else outcome:
        if step.effect is Effect.CLOSE:
            closed = True
        elif step.effect is Effect.JOIN_ROSTER and step.person is not None:
            members.append(Member(people[step.person], len(members)))
        elif step.effect is Effect.END_MEMBERSHIP:
            members = [
                Member(one.person, one.joined_seq, 99)
                if one.person.id == step.person and one.is_current
                else one
                for one in members
            ]
    return Group(before.kind, before.organiser, members, closed)


CAST = [SARA, AMINA, ADAM, TOM, person("Anna Bauer"), person("Bert Berg", archived=True)]
PEOPLE = {one.id: one for one in CAST}
moves = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "leave", "close"]), st.sampled_from(CAST)), max_size=25
)


@given(st.sampled_from([COMMUNITY, DIRECT, ConversationKind.STAFF]), moves)
def test_no_sequence_of_changes_breaks_the_rules(
    kind: ConversationKind, sequence: list[tuple[str, Person]]
) -> None:
    first = TOM if kind is ConversationKind.STAFF else AMINA
    now = carry_out(Group(kind, SARA.id, []), start(kind, SARA, [first]), PEOPLE)
    for move, who in sequence:
        outcome = {
            "add": lambda now=now, who=who: add(now, who, told=True),
            "remove": lambda now=now, who=who: remove(now, who.id),
            "leave": lambda now=now, who=who: leave(now, who.id),
            "close": lambda now=now: close(now),
        }[move]()
        now = carry_out(now, outcome, PEOPLE)
        current = [member.person.id for member in now.roster if member.is_current]
        assert len(current) == len(set(current)), "nobody is in twice"
        assert SARA.id in current, "the organiser stays"
        assert len(now.clients) <= {DIRECT: 1, COMMUNITY: MAX_CLIENTS}.get(kind, 0)
        assert kind is not DIRECT or {client.id for client in now.clients} <= {AMINA.id}, "it stays hers"
        assert kind is not COMMUNITY or now.clients or now.closed, "no community without clients stays open"
