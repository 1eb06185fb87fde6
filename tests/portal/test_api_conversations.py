"""Bookings and conversations' states over the platform's API."""

import asyncio

import pytest

from bridge.database import Pool
from tests.support.platform import CLIENT, THERAPIST, Platform, api_app


@pytest.fixture
def platform(pool: Pool) -> Platform:
    return Platform(api_app(pool))


async def test_a_first_booking_opens_the_conversation_and_the_same_again_does_nothing(
    platform: Platform,
) -> None:
    await platform.pair()
    first, again = await platform.book(), await platform.book()
    assert first.status == 201
    assert first.json["conversation_opened"]
    assert first.json["welcome_sent"]
    assert again.status == 200
    assert again.json == first.json | {
        "new_booking": False,
        "conversation_opened": False,
        "welcome_sent": False,
    }


async def test_bookings_at_once_over_the_api_say_hello_once(platform: Platform) -> None:
    await platform.pair()
    answers = await asyncio.gather(*(platform.book(f"b{n % 4}") for n in range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 4 + [201] * 4
    assert sum(answer.json["welcome_sent"] for answer in answers) == 1


async def test_conversations_are_told_without_what_was_said(platform: Platform) -> None:
    await platform.pair()
    booked = (await platform.book()).json
    listed = await platform("GET", "/conversations")
    only, care = listed.json["conversations"]
    assert (care["kind"], care["organiser"], care["client"]) == ("client_care", "t1", None)
    assert only["id"] == booked["conversation_id"]
    assert (only["kind"], only["organiser"], only["client"], only["unread"]) == ("direct", "t1", "c1", 0)
    assert (only["states"], only["held"]) == (["waiting_to_sign_in"], "no_device")
    assert only["last_message_at"]
    assert not any(word in listed.text for word in ("Amina", "Sara", "welcome", "Hello", "@c"))


async def test_conversations_come_page_by_page_each_once(platform: Platform) -> None:
    await platform("PUT", "/people/t1", THERAPIST)
    for n in range(5):
        await platform("PUT", f"/people/c{n}", CLIENT)
        await platform.book(f"b{n}", f"c{n}")
    seen, cursor = [], ""
    while True:
        page = (await platform("GET", f"/conversations?limit=2{cursor}")).json
        seen += [conversation["client"] for conversation in page["conversations"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ["c4", "c3", "c2", "c1", "c0", None], "the therapist's Client Care group is the oldest"
    filtered = (await platform("GET", "/conversations?client=c3&organiser=t1")).json
    assert [c["client"] for c in filtered["conversations"]] == ["c3"]
    assert (await platform("GET", "/conversations?organiser=nobody")).json["conversations"] == []
