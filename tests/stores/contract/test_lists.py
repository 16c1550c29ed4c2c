"""Lists: filters, orders, and pages that put together are the whole."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.page import ListOrder, Position, TimerFilter
from durable_timer.models.timer import Suspension, Timer, TimerState
from tests.stores.contract.world import LATER, SECOND, Executor, World, outcome

PENDING, RUNNING, COMPLETED, FAILED = TimerState
IDS = ["a", "A", "Z", "ab", "b.1", "b:1", "b~", "b-1", "b_", "b@x", "job-1", "job-10", "job-2", "job%", "z" * 40]


async def names(world: World, where: TimerFilter) -> list[str]:
    return [row.timer_id for row in await pages(world, where, 1000)]


async def pages(world: World, where: TimerFilter, limit: int, *, payloads: bool = True) -> list[Timer]:
    """All rows, page by page, each page as full as can be."""
    rows: list[Timer] = []
    after: Position | None = None
    while True:
        page = await world.store.list(world.group_id, where, limit=limit, after=after, payloads=payloads)
        rows += page.timers
        assert len(page.timers) <= limit
        if page.end is None:
            return rows
        assert len(page.timers) == limit
        after = page.end


def key(row: Timer, order: ListOrder) -> tuple[object, ...]:
    at = {ListOrder.BY_ID: None, ListOrder.BY_DUE: row.due_at, ListOrder.BY_EXECUTED: row.executed_at}[order]
    return (at, row.timer_id.encode()) if at else (row.timer_id.encode(),)


def matches(row: Timer, where: TimerFilter) -> bool:
    by_due = where.due_from is not None or where.due_before is not None
    return all((
        not where.states or row.state in where.states,
        not by_due or row.state is PENDING,
        where.due_from is None or row.due_at >= where.due_from,
        where.due_before is None or row.due_at < where.due_before,
        where.id_prefix is None or row.timer_id.startswith(where.id_prefix),
        set(where.labels) <= set((row.labels or {}).items()),
        where.executed_before is None or (row.executed_at is not None and row.executed_at < where.executed_before),
    ))  # fmt: skip


async def fill(world: World, executor: Executor) -> list[Timer]:
    """Rows of all states, shards and labels; several of the same due time, some suspended."""
    start = await world.store.now()
    finished = [f"done{number}" for number in range(6)] + [f"failed{number}" for number in range(6)]
    await world.create(*finished, labels={"kind": "done"}, payload=b"{}")
    taken = (await executor.take()).timers
    kinds = {True: OutcomeKind.COMPLETED, False: OutcomeKind.FAILED}
    for batch in (taken[:7], taken[7:]):
        await world.store.settle([outcome(item, kinds[item.timer_id < "e"], attempt=1) for item in batch])
    await world.create("running1", "running2", "Running3", labels={"kind": "run", "app": "shop"})
    await executor.take()
    for number, timer_id in enumerate(IDS):
        labels = {"app": "shop" if number % 2 else "bank"} if number % 3 else None
        at = start + LATER + SECOND * (number % 4)
        await world.create(timer_id, execute_at=at, labels=labels, suspended=number % 5 == 0, payload=b"[1]")
    every = [*finished, "running1", "running2", "Running3", *IDS]
    rows = await world.store.get(world.group_id, every)
    return [row for row in rows if row is not None]


async def test_every_filter_page_by_page_is_one_sorted_list(world: World, executor: Executor) -> None:
    rows = await fill(world, executor)
    loop = asyncio.get_running_loop()
    executed = sorted(row.executed_at for row in rows if row.executed_at)
    instants = [min(row.due_at for row in rows if row.state is PENDING) + SECOND * step for step in range(5)]
    labels = [(), (), (("app", "shop"),), (("kind", "run"), ("app", "shop")), (("app", "none"),)]
    filters = st.builds(
        TimerFilter,
        states=st.frozensets(st.sampled_from(TimerState), max_size=3),
        due_from=st.none() | st.sampled_from(instants),
        due_before=st.none() | st.sampled_from(instants),
        id_prefix=st.none() | st.sampled_from(["", "b", "job", "job-1", "job%", "b_", "R", "zz", "nothing", "done"]),
        labels=st.sampled_from(labels if world.store.capabilities.label_filter else labels[:1]),
        executed_before=st.none() | st.sampled_from([executed[0], executed[-1], executed[-1] + LATER]),
    )

    @settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(filters, st.integers(1, 12))
    def check(where: TimerFilter, limit: int) -> None:
        found = asyncio.run_coroutine_threadsafe(pages(world, where, limit), loop).result(30)
        expected = sorted((row for row in rows if matches(row, where)), key=lambda row: key(row, where.order))
        assert found == expected

    await asyncio.to_thread(check)


class TestOrder:
    async def test_by_id_as_bytes(self, world: World) -> None:
        await world.create(*IDS, delay=LATER)
        assert await names(world, TimerFilter()) == sorted(IDS, key=str.encode)
        assert await names(world, TimerFilter(id_prefix="b")) == ["b-1", "b.1", "b:1", "b@x", "b_", "b~"]

    async def test_pending_by_due_over_all_shards(self, world: World) -> None:
        ids = [f"t{number}" for number in range(40)]
        now = await world.store.now()
        for number, timer_id in enumerate(ids):
            await world.create(timer_id, execute_at=now + LATER - SECOND * number)
        assert await names(world, TimerFilter(states=frozenset({PENDING}))) == ids[::-1]
        middle = TimerFilter(due_from=now + LATER - SECOND * 20, due_before=now + LATER - SECOND * 10)
        assert await names(world, middle) == ids[11:21][::-1]

    async def test_finished_by_the_time_they_ended(self, world: World, executor: Executor) -> None:
        for timer_id in ["c", "a", "b"]:
            await world.bring(executor, timer_id, COMPLETED)
        await world.bring(executor, "Z", FAILED)
        assert await names(world, TimerFilter(states=frozenset({COMPLETED}))) == ["c", "a", "b"]
        assert await names(world, TimerFilter(states=frozenset({COMPLETED, FAILED}))) == ["c", "a", "b", "Z"]
        assert await names(world, TimerFilter(states=frozenset({FAILED}))) == ["Z"]

    async def test_a_due_range_leaves_out_what_is_not_pending(self, world: World, executor: Executor) -> None:
        await world.bring(executor, "running", RUNNING)
        row = await world.bring(executor, "pending", PENDING)
        assert await names(world, TimerFilter(due_before=row.due_at + SECOND)) == ["pending"]
        none = TimerFilter(states=frozenset({RUNNING}), due_before=row.due_at + SECOND)
        assert await names(world, none) == []

    async def test_executed_before_is_half_open(self, world: World, executor: Executor) -> None:
        row = await world.bring(executor, "t", FAILED)
        assert row.executed_at is not None
        failed = TimerFilter(states=frozenset({FAILED}), executed_before=row.executed_at)
        assert await names(world, failed) == []
        after = replace(failed, executed_before=row.executed_at + timedelta(microseconds=1))
        assert await names(world, after) == ["t"]


class TestPages:
    async def test_the_last_page_says_so_when_it_is_full_too(self, world: World) -> None:
        await world.create("a", "b", delay=LATER)
        page = await world.store.list(world.group_id, TimerFilter(), limit=2, after=None, payloads=True)
        assert ([row.timer_id for row in page.timers], page.end) == (["a", "b"], None)

    async def test_a_position_survives_the_row_it_names(self, world: World) -> None:
        await world.create("a", "c", delay=LATER)
        page = await world.store.list(world.group_id, TimerFilter(), limit=10, after=Position(None, "b"), payloads=True)
        assert [row.timer_id for row in page.timers] == ["c"]

    async def test_rows_of_the_same_instant_are_told_apart_by_id(self, world: World) -> None:
        at = await world.store.now() + LATER
        await world.create(*(f"t{number}" for number in range(9)), execute_at=at)
        found = await pages(world, TimerFilter(due_from=at), 2)
        assert [row.timer_id for row in found] == [f"t{number}" for number in range(9)]

    async def test_without_payloads_all_else_is_there(self, world: World) -> None:
        (row,) = await world.create("t", payload=b"{}", content_type="text/plain", delay=LATER)
        assert await pages(world, TimerFilter(), 10, payloads=False) == [replace(row, payload=None)]

    async def test_an_empty_group_has_one_empty_page(self, world: World) -> None:
        page = await world.store.list(world.group_id, TimerFilter(), limit=10, after=None, payloads=True)
        assert (page.timers, page.end) == ((), None)

    async def test_another_groups_timers_are_not_listed(self, world: World, other: World) -> None:
        await other.create("t", delay=LATER)
        assert await names(world, TimerFilter()) == []


async def test_suspended_timers_are_listed_among_the_pending(world: World) -> None:
    at = await world.store.now() + LATER
    await world.create("a", execute_at=at)
    await world.create("b", execute_at=at + SECOND, suspended=True)
    await world.create("c", execute_at=at + SECOND * 2)
    found = await pages(world, TimerFilter(states=frozenset({PENDING})), 1)
    assert [(row.timer_id, row.suspended) for row in found] == [
        ("a", Suspension.NONE),
        ("b", Suspension.SUSPENDED),
        ("c", Suspension.NONE),
    ]
