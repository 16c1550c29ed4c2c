"""Calls that go to a store together."""

import asyncio
from collections.abc import Sequence

import pytest

from durable_timer.errors import StoreUnavailable
from durable_timer.reconcile.gathering import ITEMS_MAX, Gathered


class Calls:
    """Answers each item with its double, when it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.failing = False

    async def call(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.begun.set()
        await self.go.wait()
        if self.failing:
            raise StoreUnavailable("away")
        return [2 * item for item in items]


async def test_what_is_asked_meanwhile_goes_together_and_each_gets_its_own_answer() -> None:
    calls = Calls()
    gathered = Gathered(calls.call)
    first = asyncio.create_task(gathered.ask(1))
    await calls.begun.wait()
    rest = [asyncio.create_task(gathered.ask(number)) for number in range(2, ITEMS_MAX + 10)]
    await asyncio.sleep(0)
    calls.go.set()
    assert await asyncio.gather(first, *rest) == [2 * number for number in range(1, ITEMS_MAX + 10)]
    assert [len(batch) for batch in calls.batches] == [1, ITEMS_MAX, 8]


async def test_a_failure_is_that_of_all_who_were_part_of_it_and_of_nobody_else() -> None:
    calls = Calls()
    calls.failing = True
    calls.go.set()
    gathered = Gathered(calls.call)
    answers = await asyncio.gather(*(gathered.ask(number) for number in range(3)), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    calls.failing = False
    assert await gathered.ask(7) == 14


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_whoever_is_cancelled_the_others_get_their_answers(cancelled: int) -> None:
    calls = Calls()
    gathered = Gathered(calls.call)
    tasks = [asyncio.create_task(gathered.ask(number)) for number in range(3)]
    await calls.begun.wait()
    tasks[cancelled].cancel()
    await asyncio.sleep(0)
    calls.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, answer in enumerate(answers):
        if number == cancelled:
            assert isinstance(answer, asyncio.CancelledError)
        else:
            assert answer == 2 * number
