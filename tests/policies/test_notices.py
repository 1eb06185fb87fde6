import pytest

from policies.content import Notice
from policies.notices import ADDED_YOURSELF, WORDS, for_client, for_staff
from policies.vocabulary import PersonId
from tests.policies.builders import person

AMINA = person("Amina Yusuf")


def full(person: PersonId) -> str:
    assert person == AMINA.id
    return AMINA.name.full


def initials(person: PersonId) -> str:
    return AMINA.name.initials


def test_staff_read_the_name_and_clients_the_initials() -> None:
    notice = Notice("member_added", {"person": str(AMINA.id)})
    assert for_staff(notice, full) == "Amina Yusuf was added"
    assert for_client(notice, initials) == "A.Y. joined"


def test_who_is_added_is_told_so_as_themselves() -> None:
    notice = Notice("member_added", {"person": str(AMINA.id)})
    assert for_client(notice, initials, AMINA.id) == ADDED_YOURSELF


def test_the_roster_is_told_without_the_reader() -> None:
    others = [person(name) for name in ("Bo Berg", "Cy Cole", "Di Dorn")]
    everybody = {other.id: other.name.initials for other in (AMINA, *others)}
    notice = Notice("roster", {"people": [str(other) for other in everybody]})
    assert for_client(notice, everybody.__getitem__, AMINA.id) == "With you in this chat: B.B., C.C. and D.D."
    alone = Notice("roster", {"people": [str(AMINA.id)]})
    assert for_client(alone, everybody.__getitem__, AMINA.id) is None
    assert for_staff(notice, full) is None


@pytest.mark.parametrize("code", ["renamed", "identity_changed", "waiting_to_sign_in", "delivery_failed"])
def test_the_teams_own_business_is_not_told_to_clients(code: str) -> None:
    notice = Notice(code, {"person": str(AMINA.id)})
    assert for_staff(notice, full)
    assert for_client(notice, initials) is None


def test_a_removal_looks_to_other_clients_like_leaving() -> None:
    removed, left = (Notice(code, {"person": str(AMINA.id)}) for code in ("member_removed", "member_left"))
    assert for_client(removed, initials) == for_client(left, initials)


def test_a_code_from_a_newer_process_is_said_to_staff_only() -> None:
    assert for_staff(Notice("moon_rise"), full) == "Moon rise"
    assert for_client(Notice("moon_rise")) is None


@pytest.mark.parametrize("code", sorted(WORDS))
def test_every_notice_can_be_read_without_knowing_who(code: str) -> None:
    for said in (for_staff(Notice(code), full), for_client(Notice(code))):
        assert said is None or (said and "{" not in said)
