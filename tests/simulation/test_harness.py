"""The harness itself: time, processes, the network, and that a seed is the same everywhere."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from durable_timer.errors import StoreUnavailable
from durable_timer.stores.memory import MemoryDatabase
from tests.simulation.clocks import EPOCH, StoreClock
from tests.simulation.history import History
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import CALL_TIMEOUT, WORLD, Network
from tests.simulation.observer import Observer
from tests.simulation.parallel import play_seeds
from tests.simulation.scenario import scenario_of
from tests.simulation.weather import CALM, WEATHERS, Weather


def run(loop: VirtualLoop, work: Coroutine[Any, Any, Any], process: Process | None = None) -> Any:
    task = loop.spawn(process or Process("p"), work, "work")
    loop.run_until(task.done, 10_000.0)
    return task.result()


def network(loop: VirtualLoop, weather: Weather = CALM) -> Network:
    clock = StoreClock(loop)
    database = MemoryDatabase(clock.now)
    observer = Observer(database, History(loop, clock))
    return Network(loop, database, observer, scenario_of(0, weather).rng("network"), weather)


def test_time_passes_only_when_nothing_is_ready() -> None:
    loop = VirtualLoop()

    async def work() -> list[float]:
        before = loop.time()
        await asyncio.sleep(0)
        between = loop.time()
        await asyncio.sleep(3600)
        return [before, between, loop.time()]

    assert run(loop, work()) == [0.0, 0.0, 3600.0]


def test_delays_are_rounded_to_the_nearest_millisecond_as_uvloop_rounds_them() -> None:
    loop = VirtualLoop()
    fired: list[float] = []
    for delay in (0.0104, 0.0106, 0.0001):
        loop.call_later(delay, lambda: fired.append(loop.time()), context=WORLD)
    loop.run_until(lambda: len(fired) == 3, 1.0)
    assert fired == [0.00005, 0.010, 0.011]


def test_nothing_of_a_crashed_process_runs_again() -> None:
    loop, process, ran = VirtualLoop(), Process("p"), list[str]()

    async def child() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ran.append("finally")

    async def work() -> None:
        task = asyncio.create_task(child())
        asyncio.get_running_loop().call_later(5, ran.append, "timer")
        await task

    _ = loop.spawn(process, work(), "work")
    loop.call_exactly(1.0, loop.crash, process, context=WORLD)
    loop.run_until(lambda: False, 100.0)
    assert ran == []
    loop.dispose()


def test_a_paused_process_does_nothing_and_goes_on_where_it_was() -> None:
    loop, process = VirtualLoop(), Process("p")

    async def work() -> list[float]:
        times = []
        for _ in range(3):
            await asyncio.sleep(1)
            times.append(loop.time())
        return times

    task = loop.spawn(process, work(), "work")
    loop.call_exactly(1.5, loop.pause, process, context=WORLD)
    loop.call_exactly(5.0, loop.resume, process, context=WORLD)
    loop.run_until(task.done, 100.0)
    assert task.result() == [1.0, 5.0, 6.0]


def test_what_a_process_starts_belongs_to_it() -> None:
    loop, process = VirtualLoop(), Process("p")
    ran: list[str] = []

    async def grandchild() -> None:
        await asyncio.sleep(3)
        ran.append("grandchild")

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(grandchild())

    _ = loop.spawn(process, work(), "work")
    loop.call_exactly(1.0, loop.crash, process, context=WORLD)
    loop.run_until(lambda: False, 100.0)
    assert ran == []
    loop.dispose()


def test_a_cut_process_learns_that_its_store_is_away_and_nothing_is_written() -> None:
    loop = VirtualLoop()
    net, process = network(loop), Process("p")
    net.cut["p"] = 1

    async def work() -> float:
        try:
            await net.store_for(process).leave("nobody")
        except StoreUnavailable:
            return loop.time()
        return -1.0

    assert 0 < run(loop, work(), process) <= CALL_TIMEOUT


def test_a_call_may_be_committed_and_its_answer_lost() -> None:
    loop = VirtualLoop()
    net, process = network(loop, Weather(name="lossy", error_after=1.0)), Process("p")

    async def work() -> int:
        try:
            return await net.store_for(process).raise_term("default", "p")
        except StoreUnavailable:
            return -1

    assert run(loop, work(), process) == -1
    assert net.database.terms == {"default": 1}


def test_the_stores_clock_may_step_back() -> None:
    loop = VirtualLoop()
    clock = StoreClock(loop)
    run(loop, asyncio.sleep(10))
    before = clock.now()
    clock.step_back(before - EPOCH)
    assert clock.now() == EPOCH


def test_a_seed_gives_the_same_trace_in_another_process() -> None:
    seeds = range(len(WEATHERS))
    first, second = (
        {
            told.verdict.seed: told.verdict.digest
            for told in play_seeds(seeds, weather=None, planted=None, processes=processes)
        }
        for processes in (1, 2)
    )
    assert first == second
    assert len(set(first.values())) == len(seeds)
