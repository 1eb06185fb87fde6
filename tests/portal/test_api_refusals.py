"""What the platform's API refuses, in which words, and what nobody but the platform gets from it.

Tables in loops, not a test a row: each test costs a database.
"""

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quart import Quart

from bridge.config import PortalSettings, load
from bridge.database import Pool
from portal.api import MAX_BODY
from portal.app import create_app
from tests.support.platform import BOOKING, CLIENT, SETTINGS, THERAPIST, TOKEN, Platform, api_app

WRONG_BOOKINGS: list[tuple[dict[str, object], int, str, str | None]] = [
    ({"client": "nobody"}, 404, "person_unknown", "client"),
    ({"therapist": "nobody"}, 404, "person_unknown", "therapist"),
    ({"therapist": "c1"}, 422, "not_a_therapist", None),
    ({"client": "t1"}, 422, "not_a_client", None),
    ({"client": "c2", "booking_id": "taken"}, 409, "booking_conflict", "booking_id"),
    ({"starts_at": "2026-11-23T09:00:00"}, 422, "invalid", "starts_at"),
    ({"starts_at": "9999-12-31T23:59:59-12:00"}, 422, "invalid", "starts_at"),
    ({"starts_at": "tomorrow"}, 422, "invalid", "starts_at"),
    ({"booking_id": ""}, 422, "invalid", "booking_id"),
    ({"booking_id": "x" * 129}, 422, "invalid", "booking_id"),
    ({"booking_id": "a\u0000b"}, 422, "invalid", "booking_id"),
    ({"therapst": "t1"}, 422, "invalid", "therapst"),
]
WRONG_PEOPLE: list[tuple[dict[str, object], str]] = [
    ({"role": "owner"}, "role"),
    ({"name": {"last": "Khan"}}, "name.first"),
    ({"name": {"first": "  "}}, "name.first"),
    ({"name": {"first": "x" * 101}}, "name.first"),
    ({"name": {"first": "a\u202eb"}}, "name.first"),
    ({"name": {"first": "a\nb"}}, "name.first"),
    ({"name": "Sara Khan"}, "name"),
    ({"email": "sara"}, "email"),
    ({"email": "sara@"}, "email"),
    ({"email": "a b@ruh.test"}, "email"),
    ({"email": None}, "email"),
    ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ({"time_zone": "../../etc/passwd"}, "time_zone"),
    ({"tme_zone": "UTC"}, "tme_zone"),
]
NOT_THERE: list[tuple[str, str, object]] = [
    ("GET", "/people/nobody", None),
    ("PATCH", "/people/nobody", {}),
    ("POST", "/people/nobody/archive", None),
    ("POST", "/people/nobody/activation", None),
    ("GET", "/people/%00", None),
    ("GET", "/people/..%2f..%2fx", None),
    ("GET", "/groups/nobody", None),
    ("DELETE", "/groups/nobody", None),
    ("GET", "/groups/%00", None),
    ("GET", "/nothing/here", None),
    ("DELETE", "/people/c1", None),
]
WRONG_GROUPS: list[tuple[dict[str, object], int, str]] = [
    ({"members": ["c1", "nobody", "c9"]}, 404, "members"),
    ({"members": ["c1", "t1"]}, 422, "members"),
    ({"members": ["c 1"]}, 422, "members.0"),
    ({"members": "c1"}, 422, "members"),
    ({"members": None}, 422, "members"),
    ({"members": ["c1"] * 1001}, 422, "members"),
    ({"name": " "}, 422, "name"),
    ({"name": "x" * 101}, 422, "name"),
    ({"name": "a\nb"}, 422, "name"),
    ({"nmae": "Evening"}, 422, "nmae"),
]
NOT_AS_AGREED = [
    (b"{", "application/json", 400),
    (b"[]", "application/json", 400),
    (b"null", "application/json", 400),
    (b'"text"', "application/json", 400),
    (b"[" * 60_000, "application/json", 400),
    (b"\xff\xfe{}", "application/json", 400),
    (b"{}", "text/plain", 415),
    (b"", "application/json", 400),
    (b'{"name": "' + b"x" * MAX_BODY + b'"}', "application/json", 413),
    (b'{"\\ud800": 1}', "application/json", 422),
]
WRONG_LISTS = ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=YWJj", "page=2", "client=%00"]
CALLS = [
    ("POST", "/people", THERAPIST | {"platform_id": "t1"}),
    ("PUT", "/people/t1", THERAPIST),
    ("GET", "/people/t1", None),
    ("PATCH", "/people/t1", {"time_zone": "UTC"}),
    ("POST", "/people/t1/archive", None),
    ("POST", "/people/t1/activation", None),
    ("POST", "/bookings", {"booking_id": "b1", "client": "c1", "therapist": "t1"}),
    ("GET", "/conversations", None),
    ("PUT", "/groups/t1", {"name": "Evening", "members": []}),
    ("GET", "/groups/t1", None),
    ("DELETE", "/groups/t1", None),
    ("GET", "/nothing/here", None),
]


@pytest.fixture
def app(pool: Pool) -> Quart:
    return api_app(pool)


@pytest.fixture
def platform(app: Quart) -> Platform:
    return Platform(app)


async def test_a_booking_that_is_wrong_is_refused_with_its_field(platform: Platform) -> None:
    await platform.pair()
    await platform("PUT", "/people/c2", CLIENT)
    await platform.book("taken")
    for change, status, code, field in WRONG_BOOKINGS:
        refused = await platform("POST", "/bookings", BOOKING | change)
        error = refused.json["error"]
        assert (refused.status, error["code"], error["field"]) == (status, code, field), change
        assert error["message"]


async def test_a_person_who_is_wrong_is_refused_with_their_field(platform: Platform, pool: Pool) -> None:
    for change, field in WRONG_PEOPLE:
        refused = await platform("PUT", "/people/t1", THERAPIST | change)
        assert (refused.status, refused.json["error"]["field"]) == (422, field), change
        assert refused.json["error"]["message"].startswith(f"{field}: ")
    assert await pool.fetchval("SELECT count(*) FROM person") == 0


async def test_a_group_that_is_wrong_is_refused_with_its_field(platform: Platform, pool: Pool) -> None:
    await platform.pair()
    for change, status, field in WRONG_GROUPS:
        given = {"name": "Evening", "members": ["c1"]} | change
        refused = await platform("PUT", "/groups/g1", given)
        assert (refused.status, refused.json["error"]["field"]) == (status, field), change
    assert (await platform("PUT", "/groups/g%201", {"name": "Evening", "members": []})).status == 422
    assert await pool.fetchval("SELECT count(*) FROM client_group") == 0


async def test_what_is_not_there_is_not_found(platform: Platform) -> None:
    for method, path, body in NOT_THERE:
        missing = await platform(method, path, body)
        assert missing.status == 404, path
        assert missing.json["error"]["code"] in ("person_unknown", "group_unknown", "no_such_call")


async def test_what_is_not_json_as_agreed_is_refused(platform: Platform) -> None:
    for data, content_type, status in NOT_AS_AGREED:
        refused = await platform("POST", "/people", data=data, headers={"Content-Type": content_type})
        assert refused.status == status, data[:20]
        assert refused.json["error"]["message"]


async def test_a_list_that_is_asked_for_wrongly_is_refused(platform: Platform) -> None:
    for query in WRONG_LISTS:
        refused = await platform("GET", f"/conversations?{query}")
        assert (refused.status, refused.json["error"]["field"]) == (422, query.partition("=")[0]), query


async def test_an_outsider_gets_the_same_no_everywhere(app: Quart, pool: Pool) -> None:
    for token in (None, "", "wrong", TOKEN[:-1], TOKEN + "x", "ü" * 10):
        outsider = Platform(app, token)
        for method, path, body in CALLS:
            refused = await outsider(method, path, body)
            assert (refused.status, refused.json["error"]["code"]) == (401, "unauthorised"), (token, path)
            assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert await pool.fetchval("SELECT count(*) FROM person") == 0


async def test_every_call_that_is_described_is_among_those_an_outsider_tried(app: Quart) -> None:
    described = await _description(app)
    tried = {(method.lower(), re.sub(r"/t1\b", "/{platform_id}", path)) for method, path, _ in CALLS}
    for path, methods in described["paths"].items():
        for method in methods:
            assert (method, path.removeprefix("/api/v1")) in tried


async def _description(app: Quart) -> Any:
    return await (await app.test_client().get("/api/v1/openapi.json")).get_json()


async def test_the_description_lists_the_api_and_nothing_else(app: Quart) -> None:
    described = await _description(app)
    assert all(path.startswith("/api/v1/") for path in described["paths"])
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "201" in described["paths"]["/api/v1/bookings"]["post"]["responses"]
    assert (await app.test_client().get("/docs")).status_code == 404


async def test_inside_the_whole_portal_the_api_still_answers_in_json(pool: Pool, database_url: str) -> None:
    app = create_app(load(PortalSettings, SETTINGS | {"RUH_DATABASE_URL": database_url}), pool)
    async with app.test_app():
        assert (await Platform(app, None)("GET", "/people/t1")).json["error"]["code"] == "unauthorised"
        assert (await Platform(app)("GET", "/nothing")).json["error"]["code"] == "no_such_call"
        assert (await Platform(app)("GET", "/people/t1")).json["error"]["code"] == "person_unknown"
        assert set((await _description(app))["paths"]) == {f"/api/v1{path}" for path in described_paths()}


def described_paths() -> set[str]:
    return {re.sub(r"/t1\b", "/{platform_id}", path) for _, path, _ in CALLS if path != "/nothing/here"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["role", "name", "first", "last", "email", "time_zone", "platform_id"])
                | st.text(max_size=5),
                inner,
                max_size=6,
            )
        ),
        max_leaves=8,
    )
)
async def test_whatever_is_sent_is_answered_in_words(platform: Platform, body: object) -> None:
    answered = await platform(
        "POST", "/people", data=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answered.status in (201, 400, 422)
