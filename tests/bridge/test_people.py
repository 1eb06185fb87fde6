"""The directory: what it says to us, and what a dump of it says to nobody."""

import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from bridge import people, sessions
from bridge.database import Pool, transaction
from bridge.errors import AddressTaken, PersonUnknown, PlatformIdTaken, SealBroken
from bridge.sealing import Keyring
from policies.vocabulary import Name, PersonId, PersonStatus, Role
from tests.support.people import SERVER_NAME, keyring, make, pair

KEYS = keyring()


async def test_a_person_comes_back_as_they_were_given(pool: Pool) -> None:
    async with transaction(pool) as tx:
        made = await make(
            tx, KEYS, Role.THERAPIST, "Sara", "Khan", title="Dr.", email="Sara@Ruh.test", platform_id="t1"
        )
        found = await people.find_by_platform_id(tx, KEYS, "t1")
    assert found is not None
    assert found.person == made
    assert found.person.name == Name("Sara", "Khan", "Dr.")
    assert (found.email, found.time_zone) == ("Sara@Ruh.test", "Europe/Berlin")


async def test_the_table_holds_no_name_and_no_address(pool: Pool) -> None:
    async with transaction(pool) as tx:
        person = await make(tx, KEYS, Role.THERAPIST, "Zebulon", "Quixote", email="zebulon@ruh.test")
        await people.set_welcome(tx, KEYS, person.id, "Welcome from Zebulon")
        row = await tx.fetchrow("SELECT * FROM person")
    told = repr(dict(row)).casefold()
    assert not any(word in told for word in ("zebulon", "quixote", "welcome from"))


async def test_a_client_gets_an_account_that_says_nothing(pool: Pool) -> None:
    async with transaction(pool) as tx:
        await make(tx, KEYS, Role.CLIENT)
        await make(tx, KEYS, Role.TEAM_MEMBER, email="tom@ruh.test")
        user_ids = [row["user_id"] for row in await tx.fetch("SELECT user_id FROM account")]
    assert len(user_ids) == 1
    assert re.fullmatch(rf"@c[a-z2-7]{{20}}:{re.escape(SERVER_NAME)}", user_ids[0])


async def test_two_clients_may_share_an_address_and_two_staff_may_not(pool: Pool) -> None:
    async with transaction(pool) as tx:
        await make(tx, KEYS, Role.CLIENT, email="family@ruh.test")
        await make(tx, KEYS, Role.CLIENT, email="family@ruh.test")
        await make(tx, KEYS, Role.THERAPIST, email="sara@ruh.test")
        with pytest.raises(AddressTaken):
            await make(tx, KEYS, Role.CLIENT_CARE, email=" SARA@ruh.test ")
        other = await make(tx, KEYS, Role.CLIENT_CARE, email="cara@ruh.test")
        with pytest.raises(AddressTaken):
            await people.update(tx, KEYS, other.id, email="sara@ruh.test")


async def test_a_platform_id_names_one_person(pool: Pool) -> None:
    async with transaction(pool) as tx:
        await make(tx, KEYS, platform_id="c1")
        with pytest.raises(PlatformIdTaken):
            await make(tx, KEYS, platform_id="c1")
        assert await people.find_by_platform_id(tx, KEYS, "c1") is not None


async def test_only_what_is_given_changes(pool: Pool) -> None:
    async with transaction(pool) as tx:
        person = await make(tx, KEYS, Role.CLIENT, email="a@ruh.test", platform_id="c1")
        await people.update(tx, KEYS, person.id, name=Name("Adam", "Young"))
        await people.update(tx, KEYS, person.id, status=PersonStatus.ARCHIVED)
        after = await people.details(tx, KEYS, person.id)
        await people.update(tx, KEYS, person.id, email="")
        without = await people.details(tx, KEYS, person.id)
    assert after.person.name.full == "Adam Young"
    assert after.person.status is PersonStatus.ARCHIVED
    assert (after.email, after.time_zone, without.email) == ("a@ruh.test", "Europe/Berlin", None)


async def test_nobody_is_said_to_be_nobody(pool: Pool) -> None:
    stranger = PersonId(uuid4())
    async with transaction(pool) as tx:
        with pytest.raises(PersonUnknown):
            await people.get(tx, KEYS, stranger)
        with pytest.raises(PersonUnknown):
            await people.update(tx, KEYS, stranger, name=Name("A", "B"))
        with pytest.raises(PersonUnknown):
            await people.set_password_hash(tx, stranger, "x")
        assert await people.get_many(tx, KEYS, [stranger]) == {}
        assert await people.find_by_platform_id(tx, KEYS, "nobody") is None


async def test_sign_in_finds_active_staff_by_any_spelling_of_their_address(pool: Pool) -> None:
    therapist, _ = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        assert await people.find_staff_by_email(tx, KEYS, "SARA@ruh.test ") == (therapist, None)
        await people.set_password_hash(tx, therapist.id, "$argon2id$x")
        assert await people.find_staff_by_email(tx, KEYS, "sara@ruh.test") == (therapist, "$argon2id$x")
        await people.update(tx, KEYS, therapist.id, status=PersonStatus.ARCHIVED)
        assert await people.find_staff_by_email(tx, KEYS, "sara@ruh.test") is None


async def test_a_client_is_nobody_at_the_portals_sign_in(pool: Pool) -> None:
    async with transaction(pool) as tx:
        client = await make(tx, KEYS, Role.CLIENT, email="amina@ruh.test")
        assert await people.find_staff_by_email(tx, KEYS, "amina@ruh.test") is None
        with pytest.raises(PersonUnknown):
            await people.set_password_hash(tx, client.id, "$argon2id$x")


async def test_a_name_moved_to_another_person_does_not_open(pool: Pool) -> None:
    async with transaction(pool) as tx:
        amina, adam = await make(tx, KEYS), await make(tx, KEYS, first="Adam")
        await tx.execute(
            "UPDATE person SET name_sealed = (SELECT name_sealed FROM person WHERE id = $1) WHERE id = $2",
            amina.id, adam.id,
        )  # fmt: skip
        with pytest.raises(SealBroken):
            await people.get(tx, KEYS, adam.id)


async def test_many_people_cost_one_query(pool: Pool) -> None:
    async with transaction(pool) as tx:
        made = [await make(tx, KEYS, last=f"Number{n}") for n in range(20)]
        queries: list[str] = []
        with tx.query_logger(lambda record: queries.append(record.query)):
            found = await people.get_many(tx, KEYS, [person.id for person in made])
    assert found == {person.id: person for person in made}
    assert len(queries) == 1


async def test_a_changed_name_is_seen_at_once(pool: Pool) -> None:
    async with transaction(pool) as tx:
        person = await make(tx, KEYS)
        await people.update(tx, KEYS, person.id, name=Name("Amina", "Married"))
        assert (await people.get(tx, KEYS, person.id)).name.last == "Married"


async def _book(pool: Pool, client: PersonId, therapist: PersonId) -> None:
    async with transaction(pool) as tx:
        await tx.execute(
            "INSERT INTO booking (platform_id, client_id, therapist_id) VALUES ($1, $2, $3)",
            str(uuid4()), client, therapist,
        )  # fmt: skip


async def test_a_therapist_finds_the_clients_who_booked_with_them_and_no_others(pool: Pool) -> None:
    therapist, amina = await pair(pool, KEYS)
    async with transaction(pool) as tx:
        other = await make(tx, KEYS, Role.THERAPIST, email="other@ruh.test")
        await make(tx, KEYS, first="Aminata")
        care = await make(tx, KEYS, Role.CLIENT_CARE, email="care@ruh.test")
    await _book(pool, amina.id, therapist.id)
    async with transaction(pool) as tx:
        assert await people.search(tx, KEYS, therapist, "ami") == [amina]
        assert await people.search(tx, KEYS, other, "") == []
        assert len(await people.search(tx, KEYS, care, "ami")) == 2
        assert await people.search(tx, KEYS, amina, "") == []


async def test_search_finds_word_beginnings_whatever_case_and_accents(pool: Pool) -> None:
    async with transaction(pool) as tx:
        jose = await make(tx, KEYS, first="José-María", last="O’Neill Łuka")
        care = await make(tx, KEYS, Role.CLIENT_CARE, "Cara", email="care@ruh.test")
        for text in ("jose", "MARIA", "oneill", "o'ne", "jos oneill", "luka jose", ""):
            assert await people.search(tx, KEYS, care, text) == [jose], text
        for text in ("ose", "neill x", "cara"):
            assert await people.search(tx, KEYS, care, text) == [], text


async def test_search_leaves_archived_clients_out_and_goes_page_by_page(pool: Pool) -> None:
    async with transaction(pool) as tx:
        care = await make(tx, KEYS, Role.CLIENT_CARE, email="care@ruh.test")
        for first in ("Éva", "Bea", "Adam", "Carl"):
            made = await make(tx, KEYS, first=first)
        await people.update(tx, KEYS, made.id, status=PersonStatus.ARCHIVED)
        first_page = await people.search(tx, KEYS, care, "", limit=2)
        second_page = await people.search(tx, KEYS, care, "", limit=2, offset=2)
    assert [p.name.first for p in first_page + second_page] == ["Adam", "Bea", "Éva"]


async def test_another_master_key_opens_nothing(pool: Pool) -> None:
    async with transaction(pool) as tx:
        person = await make(tx, KEYS)
        with pytest.raises(SealBroken):
            await people.get(tx, Keyring(b"x" * 32), person.id)


async def test_who_is_archived_is_signed_out_for_good(pool: Pool) -> None:
    """Back at work they sign in anew: a page left open somewhere doesn't come to life again."""
    async with transaction(pool) as tx:
        sara = await make(tx, KEYS, Role.THERAPIST, "Sara", "Khan", email="sara@ruh.test")
        await sessions.begin(tx, sara.id, datetime.now(UTC))
        await people.update(tx, KEYS, sara.id, status=PersonStatus.ARCHIVED)
        await people.update(tx, KEYS, sara.id, status=PersonStatus.ACTIVE)
    assert await pool.fetchval("SELECT count(*) FROM portal_session") == 0
