"""Who waits for a client in a room hears of exactly that client, in that room, coming in."""

from typing import Any

import pytest

from appservice.arrivals import Arrivals

ROOM, CLIENT = "!leg:ruh.test", "@c1:ruh.test"


def member(membership: str = "join", who: str = CLIENT) -> dict[str, Any]:
    return {"type": "m.room.member", "state_key": who, "content": {"membership": membership}}


def test_it_is_heard_when_they_come() -> None:
    arrivals = Arrivals()
    with arrivals.expected(ROOM, CLIENT) as came:
        arrivals.heard({ROOM: [{"type": "m.room.name", "state_key": "", "content": {}}, member()]})
        assert came.is_set()


@pytest.mark.parametrize(
    "events",
    [
        {},
        {ROOM: [member("invite")]},
        {ROOM: [member("leave")]},
        {ROOM: [member(who="@c2:ruh.test")]},
        {"!other:ruh.test": [member()]},
        {ROOM: [{"type": "m.room.message", "content": {"membership": "join"}}]},
    ],
)
def test_nothing_else_counts(events: dict[str, list[dict[str, Any]]]) -> None:
    arrivals = Arrivals()
    with arrivals.expected(ROOM, CLIENT) as came:
        arrivals.heard(events)
        assert not came.is_set()


def test_who_has_stopped_waiting_is_forgotten() -> None:
    arrivals = Arrivals()
    with arrivals.expected(ROOM, CLIENT):
        pass
    arrivals.heard({ROOM: [member()]})
    with arrivals.expected(ROOM, CLIENT) as came:
        assert not came.is_set()
