"""Writers and readers of every kind at once: nobody fails, nothing is lost, nothing runs twice."""

import asyncio
import contextlib
import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from durable_timer.errors import StoreUnavailable
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.page import Position, TimerFilter
from durable_timer.models.results import CreateStatus, DeleteStatus, IfExists, Target, WhenRunning
from durable_timer.models.timer import TimerChange, TimerState
from durable_timer.stores.sqlite import session
from durable_timer.stores.sqlite.store import SqliteStore
from tests.stores.contract.world import NOW, SECOND, Executor, World, outcome

CLIENTS = 8
EACH = 150


class Clients:
    """Callers that create, change and delete; what the store acknowledged to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.store
        self.created: set[str] = set()
        self.deleted: set[str] = set()
        self.completed: Counter[str] = Counter()
        self.busy = CLIENTS

    async def client(self, number: int) -> None:
        chance = random.Random(number)
        for step in range(EACH):
            timers = [self.world.new(f"t{number}-{step}-{item}") for item in range(chance.randint(1, 8))]
            results = await self.store.create(timers, IfExists.FAIL)
            assert {result.status for result in results} == {CreateStatus.CREATED}
            self.created |= {new.timer_id for new in timers}
            target = Target(timers[0].timer_id)
            if chance.random() < 0.3:
                (gone,) = await self.store.delete(self.world.group_id, [target], WhenRunning.REFUSE)
                self.deleted |= {target.timer_id} if gone.status is DeleteStatus.DELETED else set()
            elif chance.random() < 0.5:
                await self.store.update(self.world.group_id, target, TimerChange(delay=SECOND / 20))
            else:
                await self.store.run(self.world.group_id, [target])
        self.busy -= 1

    async def execute(self, executor: Executor) -> None:
        chance = random.Random(99)
        while self.busy or (await self.store.counts(self.world.group_id)).pending:
            taken = await executor.take(limit=50, ahead=NOW)
            kinds = [
                OutcomeKind.COMPLETED if chance.random() < 0.8 else OutcomeKind.RETRY for _ in range(len(taken.timers))
            ]
            outcomes = [
                outcome(timer, kind, attempt=1, delay=SECOND / 50)
                for timer, kind in zip(taken.timers, kinds, strict=True)
            ]
            assert all(await self.store.settle(outcomes))
            self.completed.update(item.timer_id for item in outcomes if item.kind is OutcomeKind.COMPLETED)
            assert (await executor.sweep()).recovered == {}

    async def read(self, reading: Callable[[], Awaitable[object]]) -> None:
        while self.busy:
            await reading()


async def pages(world: World, where: TimerFilter) -> list[str]:
    """All ids of a list, page by page."""
    ids: list[str] = []
    end: Position | None = None
    while True:
        page = await world.store.list(world.group_id, where, limit=100, after=end, payloads=True)
        ids += [timer.timer_id for timer in page.timers]
        end = page.end
        if end is None:
            return ids


async def test_all_at_once(world: World, store: SqliteStore) -> None:
    executor = await world.executor()
    clients = Clients(world)
    everything, finished = TimerFilter(), TimerFilter(states=frozenset({TimerState.COMPLETED, TimerState.FAILED}))
    pending = TimerFilter(states=frozenset({TimerState.PENDING}))
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(clients.client(number))
        tasks.create_task(clients.execute(executor))
        for where in (everything, finished, pending):
            tasks.create_task(clients.read(lambda where=where: pages(world, where)))  # type: ignore[misc]
        tasks.create_task(clients.read(lambda: store.counts(world.group_id)))
        tasks.create_task(clients.read(lambda: store.shards(world.pool)))

    there = set(await pages(world, everything))
    assert there == clients.created - clients.deleted
    done = set(await pages(world, finished))
    assert done == there
    assert set(clients.completed.values()) == {1}
    assert done <= set(clients.completed)


async def test_a_slow_reader_holds_up_no_writer(world: World, store: SqliteStore) -> None:
    await world.create(*(f"t{number}" for number in range(50)), delay=timedelta(hours=1))
    slow = asyncio.create_task(
        store._readers.read(
            lambda connection: connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT 20000000) SELECT count(*) FROM n"
            ).fetchall()
        )
    )
    for number in range(20):
        await world.create(f"more{number}")
    assert not slow.done()
    assert len(await store.get(world.group_id, ["t0", "more19"])) == 2
    slow.cancel()


async def test_another_program_that_locks_the_file_costs_no_more_than_time(
    file: Path, world: World, store: SqliteStore
) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        create = asyncio.create_task(world.create("waiting", delay=timedelta(hours=1)))
        assert await world.find("waiting") is None
        tool.execute("ROLLBACK")
    await create
    assert await world.find("waiting") is not None


async def test_another_program_that_keeps_the_file_locked_makes_the_store_unavailable(
    world: World, store: SqliteStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._writer._session.drop()
    monkeypatch.setattr(session, "_SETTINGS", (*session._SETTINGS, "PRAGMA busy_timeout = 10"))
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await world.create("refused", delay=timedelta(hours=1))
        tool.execute("ROLLBACK")
    await world.create("accepted", delay=timedelta(hours=1))
    assert await world.find("refused") is None
