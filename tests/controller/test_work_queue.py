"""The queue of what is to be reconciled, in virtual time."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from durable_timer.errors import KubeConflict, StoreUnavailable
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.resource import ResourceKey, ResourceKind
from durable_timer.reconcile.work_queue import BACKOFF_MAX, WorkQueue
from tests.simulation.clocks import ProcessClock
from tests.simulation.loop import Process, VirtualLoop

TAKES = 1.0


def group(name: str) -> ResourceKey:
    return ResourceKey(ResourceKind.TIMER_GROUP, "ns", name)


def timer(name: str) -> ResourceKey:
    return ResourceKey(ResourceKind.TIMER, "ns", name)


class Bench:
    """A queue whose work takes a second, and notes when it began and ended."""

    def __init__(self, concurrency: int = 4) -> None:
        self.loop = VirtualLoop()
        self.began: list[tuple[float, ResourceKey]] = []
        self.running: list[ResourceKey] = []
        self.most = 0
        self.raises: list[Exception] = []
        self.again: timedelta | None = None
        clock = ProcessClock(self.loop, start=0.0, offset=0.0)
        self.queue = WorkQueue(self._work, clock, random.Random(1), OperatorMetrics(), concurrency)
        self.process = Process("queue")
        self._task = self.loop.spawn(self.process, self.queue.run(), "queue")

    def until(self, time: float) -> None:
        self.loop.run_until(lambda: False, time)

    def times(self, key: ResourceKey) -> list[float]:
        return [round(at, 3) for at, one in self.began if one == key]

    async def _work(self, key: ResourceKey) -> timedelta | None:
        assert key not in self.running
        self.running.append(key)
        self.most = max(self.most, len(self.running))
        self.began.append((self.loop.time(), key))
        await asyncio.sleep(TAKES)
        self.running.remove(key)
        if self.raises:
            raise self.raises.pop(0)
        return self.again


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.dispose()
    assert not made.loop.errors


def test_a_key_added_often_is_reconciled_once_and_once_more_when_it_ran_already(bench: Bench) -> None:
    for _ in range(5):
        bench.queue.add(group("a"))
    bench.until(0.5)
    for _ in range(5):
        bench.queue.add(group("a"))
    bench.until(10)
    assert bench.times(group("a")) == [0.0, 1.0]


def test_no_more_than_so_many_at_once_and_groups_before_timers(bench: Bench) -> None:
    for number in range(8):
        bench.queue.add(timer(str(number)))
    bench.queue.add(group("a"))
    assert bench.queue.depth() == 9
    bench.until(20)
    assert bench.began[0][1] == group("a")
    assert bench.most == 4
    assert (bench.queue.depth(), bench.queue.oldest_age()) == (0, 0.0)


def test_the_earliest_wish_counts_and_a_reconcile_answers_it(bench: Bench) -> None:
    bench.queue.add_after(group("a"), 60)
    bench.queue.add_after(group("a"), 5)
    bench.queue.add_after(group("a"), 30)
    bench.until(100)
    assert bench.times(group("a")) == [5.0]


def test_what_wants_to_be_called_again_is(bench: Bench) -> None:
    bench.again = timedelta(seconds=10)
    bench.queue.add(group("a"))
    bench.until(30)
    assert bench.times(group("a")) == [0.0, 11.0, 22.0]
    bench.queue.forget(group("a"))
    bench.until(100)
    assert len(bench.began) == 3


def test_failures_are_tried_again_ever_later_and_conflicts_at_once(bench: Bench) -> None:
    bench.raises = [KubeConflict("x"), *(StoreUnavailable("x") for _ in range(10)), ValueError("a fault")]
    bench.queue.add(group("a"))
    bench.until(600)
    times = bench.times(group("a"))
    pauses = [later - earlier - TAKES for earlier, later in itertools.pairwise(times)]
    assert pauses[0] < 0.1
    assert pauses[1] < pauses[3] < pauses[5]
    assert max(pauses) <= BACKOFF_MAX
    assert len(times) == 13


def test_whoever_waits_is_woken_by_a_reconcile_that_began_later(bench: Bench) -> None:
    woken: list[float] = []

    async def wait() -> None:
        await bench.queue.reconciled(group("a"))
        woken.append(bench.loop.time())

    first = bench.loop.spawn(bench.process, wait(), "first")
    bench.until(0.5)
    second = bench.loop.spawn(bench.process, wait(), "second")
    bench.until(10)
    assert woken == [1.0, 2.0]
    assert first.done()
    assert second.done()
