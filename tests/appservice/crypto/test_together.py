"""Many who ask at once are answered by few questions; nobody by one that had begun before they came."""

import asyncio
from collections.abc import Collection

import pytest

from appservice.crypto.together import MOST, Together
from appservice.homeserver import Unavailable


class Asked:
    """What was asked; each question waits to be answered."""

    def __init__(self) -> None:
        self.questions: list[set[str]] = []
        self.begun, self.answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, key: str, users: Collection[str]) -> None:
        self.questions.append(set(users))
        self.begun.set()
        await self.answer.wait()
        if "trouble" in users:
            raise Unavailable(503, "M_UNKNOWN")


async def test_who_comes_during_a_question_waits_for_the_next() -> None:
    asked = Asked()
    together = Together(asked)
    first = asyncio.create_task(together.ask("face", ["amina"]))
    await asked.begun.wait()
    rest = [asyncio.create_task(together.ask("face", [who])) for who in ("adam", "jane", "amina")]
    await asyncio.sleep(0)
    asked.answer.set()
    await asyncio.gather(first, *rest)
    assert asked.questions == [{"amina"}, {"adam", "jane", "amina"}]


async def test_two_who_ask_as_different_users_do_not_wait_for_each_other() -> None:
    asked = Asked()
    together = Together(asked)
    asks = [asyncio.create_task(together.ask(key, ["amina"])) for key in ("face", "mask")]
    async with asyncio.timeout(5):
        while len(asked.questions) < 2:
            await asyncio.sleep(0)
    asked.answer.set()
    await asyncio.gather(*asks)


async def test_trouble_is_told_to_everybody_of_the_question_and_to_nobody_else() -> None:
    asked = Asked()
    asked.answer.set()
    together = Together(asked)
    several = [together.ask("face", ["trouble"]), together.ask("face", ["amina"])]
    assert [type(answer) for answer in await asyncio.gather(*several, return_exceptions=True)] == [
        Unavailable,
        Unavailable,
    ]
    await together.ask("face", ["amina"])


async def test_one_who_gives_up_waiting_leaves_the_others_their_answer() -> None:
    asked = Asked()
    together = Together(asked)
    impatient = asyncio.create_task(together.ask("face", ["amina"]))
    patient = asyncio.create_task(together.ask("face", ["adam"]))
    await asked.begun.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    asked.answer.set()
    await patient


async def test_a_question_stays_short() -> None:
    asked = Asked()
    asked.answer.set()
    together = Together(asked)
    await asyncio.gather(*(together.ask("face", [f"client {n}"]) for n in range(2 * MOST)))
    assert [len(question) for question in asked.questions] == [MOST, MOST]
