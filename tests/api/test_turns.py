"""Work of many rows goes one at a time, with rests; what is small does not wait for it."""

import asyncio

import pytest

from durable_timer_api.turns import FEW, Turns
from tests.support.waiting import eventually

MANY = FEW + 1


async def test_work_of_a_few_rows_waits_for_no_turn() -> None:
    turns = Turns()
    async with turns.turn(MANY), turns.turn(FEW), turns.turn(FEW):
        pass


async def test_work_of_many_rows_has_its_turn_alone_and_in_order() -> None:
    turns, seen, release = Turns(), list[str](), asyncio.Event()

    async def work(name: str) -> None:
        async with turns.turn(MANY):
            seen.append(f"{name} begins")
            await release.wait()
            seen.append(f"{name} ends")

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(work(name))
        await eventually(lambda: bool(seen))
        await asyncio.sleep(0)
        assert seen == ["a begins"]
        release.set()
    assert seen == [f"{name} {what}" for name in ("a", "b", "c") for what in ("begins", "ends")]


async def test_after_a_turn_nobody_has_one_for_as_long_as_it_took() -> None:
    turns, loop = Turns(), asyncio.get_running_loop()
    async with turns.turn(MANY):
        begun = loop.time()
        await asyncio.sleep(0.03)
        ended = loop.time()
    async with turns.turn(MANY):
        assert loop.time() - ended >= (ended - begun) * 0.9


async def test_a_turn_that_fails_or_is_given_up_is_followed_by_the_next() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="no"):
        async with turns.turn(MANY):
            raise ValueError("no")
    held, waiting = turns.turn(MANY), asyncio.Event()

    async def given_up() -> None:
        waiting.set()
        async with turns.turn(MANY):
            pytest.fail("it was cancelled while it waited")

    async with held:
        task = asyncio.create_task(given_up())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with turns.turn(MANY):
        pass
