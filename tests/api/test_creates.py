"""Single creates that arrive while an insert is under way go together into the next one."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

import pytest

from durable_timer.errors import StoreUnavailable
from durable_timer.models.results import CreateResult, CreateStatus, IfExists
from durable_timer.models.timer import NewTimer
from durable_timer.planning.transitions import created
from durable_timer.stores.memory import MemoryStore
from durable_timer_api.creates import Creates
from tests.support.waiting import eventually


class Inserting(MemoryStore):
    """Holds each insert until it is let go, and notes the ids in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inserts: list[list[str]] = []
        self.go = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> list[CreateResult]:
        assert if_exists is IfExists.FAIL
        self.inserts.append([timer.timer_id for timer in timers])
        await self.go.acquire()
        if self.error is not None:
            raise self.error
        now = datetime.now(UTC)
        return [CreateResult(CreateStatus.CREATED, created(timer, uid=1, now=now)) for timer in timers]


def timer(number: int, payload: bytes = b"1") -> NewTimer:
    return NewTimer(
        group_id="g",
        timer_id=f"t{number}",
        shard=0,
        callback_url="http://host/",
        fingerprint=b"x",
        execute_at=datetime.now(UTC),
        payload=payload,
    )


@pytest.fixture
def store() -> Inserting:
    return Inserting()


async def started(creates: Creates, *timers: NewTimer) -> list[asyncio.Task[CreateResult]]:
    tasks = [asyncio.create_task(creates.create(one)) for one in timers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_the_first_does_not_wait_and_the_others_share(store: Inserting) -> None:
    creates = Creates(store, IfExists.FAIL)
    tasks = await started(creates, *map(timer, range(6)))
    assert store.inserts == [["t0", "t1", "t2", "t3", "t4", "t5"]]
    tasks += await started(creates, timer(6)) + await started(creates, timer(7))
    assert len(store.inserts) == 1
    store.go.release()
    await eventually(lambda: len(store.inserts) == 2)
    assert store.inserts[1] == ["t6", "t7"]
    store.go.release()
    results = await asyncio.gather(*tasks)
    assert [result.timer.timer_id for result in results] == [f"t{number}" for number in range(8)]


async def test_what_comes_after_a_while_does_not_wait_for_a_slow_insert(store: Inserting) -> None:
    creates = Creates(store, IfExists.FAIL)
    tasks = await started(creates, timer(0)) + await started(creates, timer(1))
    numbers = count(2)

    async def second_is_under_way() -> bool:
        tasks.extend(await started(creates, timer(next(numbers))))
        return len(store.inserts) == 2

    await eventually(second_is_under_way)
    assert store.inserts[0] == ["t0"]
    assert store.inserts[1] == [f"t{number}" for number in range(1, next(numbers))]
    for _ in range(3):
        store.go.release()
    await asyncio.gather(*tasks)


async def test_a_failed_insert_fails_its_own_creates_alone(store: Inserting) -> None:
    creates = Creates(store, IfExists.FAIL)
    tasks = [task for number in range(4) for task in await started(creates, timer(number))]
    store.error = StoreUnavailable("gone")
    store.go.release()
    await eventually(lambda: len(store.inserts) == 2)
    store.error = None
    store.go.release()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, StoreUnavailable) for result in results] == [True, False, False, False]


async def test_one_that_was_given_up_while_waiting_is_not_inserted(store: Inserting) -> None:
    creates = Creates(store, IfExists.FAIL)
    tasks = [task for number in range(4) for task in await started(creates, timer(number))]
    tasks[2].cancel()
    store.go.release()
    await eventually(lambda: len(store.inserts) == 2)
    assert store.inserts[1] == ["t1", "t3"]
    tasks[3].cancel()
    for _ in range(3):
        store.go.release()
    await creates.close()
    assert [task.cancelled() for task in tasks] == [False, False, True, True]


async def test_an_insert_is_bounded_by_bytes_and_items(store: Inserting) -> None:
    creates = Creates(store, IfExists.FAIL)
    large = b"x" * 2**20
    tasks = await started(creates, *(timer(number, large) for number in range(12)))
    tasks += await started(creates, *(timer(number) for number in range(12, 1100)))
    for _ in range(20):
        store.go.release()
    await asyncio.gather(*tasks)
    assert max(len(insert) for insert in store.inserts) == 500
    assert [len(insert) for insert in store.inserts[:2]] == [4, 4]
    assert [one for insert in store.inserts for one in insert] == [f"t{number}" for number in range(1100)]


class Answering(MemoryStore):
    """Has each insert done by the next turn of the loop."""

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> list[CreateResult]:
        await asyncio.sleep(0)
        now = datetime.now(UTC)
        return [CreateResult(CreateStatus.CREATED, created(timer, uid=1, now=now)) for timer in timers]


async def test_a_create_that_comes_just_as_an_insert_ends_is_inserted() -> None:
    creates = Creates(Answering(), IfExists.FAIL)
    async with asyncio.timeout(10):
        for number in range(5):
            assert (await creates.create(timer(number))).timer.timer_id == f"t{number}"
