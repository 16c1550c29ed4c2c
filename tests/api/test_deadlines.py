"""The time limit of requests: it ends what is late, and nothing else."""

import asyncio

import pytest

from durable_timer_api.deadlines import Deadlines


async def limited(deadlines: Deadlines, work: asyncio.Event) -> str:
    deadline = deadlines.begin()
    try:
        await work.wait()
    except asyncio.CancelledError:
        if not deadline.caused_it():
            raise
        return "late"
    finally:
        deadlines.end(deadline)
    return "done"


async def test_who_is_late_is_told_so_and_who_is_done_in_time_is_left_alone() -> None:
    deadlines = Deadlines(0.05)
    never, soon = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(limited(deadlines, never))
    second = asyncio.create_task(limited(deadlines, soon))
    await asyncio.sleep(0)
    soon.set()
    assert await second == "done"
    assert await first == "late"
    assert first.cancelling() == 0
    third = asyncio.create_task(limited(deadlines, never))
    assert await third == "late"


async def test_who_is_cancelled_by_another_stays_cancelled() -> None:
    deadlines = Deadlines(60)
    task = asyncio.create_task(limited(deadlines, asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once_is_a_cancellation() -> None:
    deadlines = Deadlines(0)
    task = asyncio.create_task(limited(deadlines, asyncio.Event()))
    await asyncio.sleep(0)
    deadlines._look(asyncio.get_running_loop())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_late_one_that_failed_otherwise_leaves_its_task_as_it_was() -> None:
    deadlines = Deadlines(0)

    async def failing() -> None:
        deadline = deadlines.begin()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None
        finally:
            deadlines.end(deadline)

    task = asyncio.create_task(failing())
    with pytest.raises(ValueError, match=r"^$"):
        await task
    assert task.cancelling() == 0
