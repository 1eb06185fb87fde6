import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.naming import Audience, audience_of, room_name, shown_name, shown_names, title
from policies.vocabulary import ConversationKind, Member, Role
from tests.policies.builders import person, roster, therapist

SARA = therapist()
AMINA, ADAM, ANNA = person("Amina Yusuf"), person("Adam Young"), person("Anna Bauer")
GROUP = roster(SARA, AMINA, ADAM, ANNA)

first_names = st.sampled_from(["Amina", "Adam", "Anna", "Bert", "Ömer", "أمينة"])
last_names = st.sampled_from(["Yusuf", "Young", "Bauer", "Öztürk", "يوسف", ""])
rosters = st.lists(st.tuples(first_names, last_names), max_size=12).map(
    lambda names: [Member(person(f"{first} {last}"), seq) for seq, (first, last) in enumerate(names)]
)


def test_staff_see_every_full_name() -> None:
    names = shown_names(GROUP, audience_of(Role.TEAM_MEMBER))
    assert list(names.values()) == ["Dr. Sara Khan", "Amina Yusuf", "Adam Young", "Anna Bauer"]


def test_clients_see_staff_by_name_and_clients_by_initials() -> None:
    names = shown_names(GROUP, audience_of(Role.CLIENT))
    assert list(names.values()) == ["Dr. Sara Khan", "A.Y.", "A.Y. (2)", "A.B."]


def test_whoever_leaves_keeps_the_number_and_gets_it_back() -> None:
    left = [Member(SARA, 0), Member(AMINA, 0, removed_seq=7), Member(ADAM, 0)]
    assert shown_name(ADAM.id, left, Audience.CLIENT) == "A.Y. (2)"
    assert shown_name(AMINA.id, [*left, Member(AMINA, 9)], Audience.CLIENT) == "A.Y."


@given(rosters)
def test_no_two_clients_are_called_the_same(members: list[Member]) -> None:
    names = shown_names(members, Audience.CLIENT)
    assert len(set(names.values())) == len(members)


@given(rosters)
def test_a_client_learns_nothing_beyond_initials_and_a_number(members: list[Member]) -> None:
    names = shown_names(members, Audience.CLIENT)
    for member in members:
        rest = names[member.person.id].removeprefix(member.person.name.initials)
        assert rest == "" or (rest.startswith(" (") and rest[2:-1].isdecimal())


@given(rosters, first_names, last_names)
def test_whoever_joins_changes_nobody_elses_name(members: list[Member], first: str, last: str) -> None:
    before = shown_names(members, Audience.CLIENT)
    after = shown_names([*members, Member(person(f"{first} {last}"), 99)], Audience.CLIENT)
    assert {one: after[one] for one in before} == before


@pytest.mark.parametrize("kind", [ConversationKind.DIRECT, ConversationKind.BLAST])
def test_a_thread_is_called_after_its_client(kind: ConversationKind) -> None:
    assert title(None, kind, roster(SARA, AMINA), SARA.id, SARA.id) == "Amina Yusuf"


def test_a_title_that_was_given_wins_and_a_blank_one_does_not() -> None:
    assert title(" Mondays ", ConversationKind.DIRECT, GROUP, SARA.id, SARA.id) == "Mondays"
    assert title("  ", ConversationKind.DIRECT, roster(SARA, AMINA), SARA.id, SARA.id) == "Amina Yusuf"


def test_a_group_is_called_after_its_clients_and_counts_the_rest() -> None:
    community = ConversationKind.COMMUNITY
    assert title(None, community, roster(SARA, AMINA, ADAM), SARA.id, SARA.id) == "Amina Yusuf and Adam Young"
    many = [*GROUP, Member(person("Bert Berg"), 0)]
    assert title(None, community, many, SARA.id, SARA.id) == "Amina Yusuf, Adam Young, Anna Bauer and 1 more"


def test_a_staff_chat_is_called_after_the_others() -> None:
    tom = person("Tom Reed", Role.TEAM_MEMBER)
    assert title(None, ConversationKind.STAFF, roster(SARA, tom), tom.id, SARA.id) == "Dr. Sara Khan"


def test_the_client_care_group_is_told_apart_by_its_therapist() -> None:
    jo = person("Jo Lind", Role.CLIENT_CARE)
    group = roster(SARA, jo)
    assert title(None, ConversationKind.CLIENT_CARE, group, SARA.id, SARA.id) == "Client Care"
    assert title(None, ConversationKind.CLIENT_CARE, group, jo.id, SARA.id) == "Client Care: Dr. Sara Khan"


def test_the_homeserver_reads_only_the_organisers_name() -> None:
    assert room_name(ConversationKind.DIRECT, SARA) == "Dr. Sara Khan"
    assert room_name(ConversationKind.BLAST, SARA) == "Dr. Sara Khan"
    assert room_name(ConversationKind.COMMUNITY, SARA) == "Group with Dr. Sara Khan"
