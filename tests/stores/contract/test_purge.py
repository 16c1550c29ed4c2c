"""What goes by retention, what a purged group loses, and how many rows there are."""

from datetime import timedelta

import pytest

from durable_timer.models.group import GroupState
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.timer import ManagedBy, TimerState
from tests.stores.contract.world import LATER, NOW, SECOND, Executor, World, outcome, unique
from tests.support.waiting import eventually

COMPLETED, FAILED = TimerState.COMPLETED, TimerState.FAILED


async def finish(world: World, executor: Executor, kind: OutcomeKind, *timer_ids: str, **fields: object) -> None:
    await world.create(*timer_ids, **fields)
    taken = (await executor.take()).timers
    assert all(await world.store.settle([outcome(item, kind, attempt=1) for item in taken]))


async def purge(world: World, completed: timedelta, failed: timedelta, limit: int = 1000) -> int:
    return await world.store.purge(world.group_id, completed, failed, limit)


class TestRetention:
    async def test_each_state_has_its_own(self, world: World, executor: Executor) -> None:
        await finish(world, executor, OutcomeKind.COMPLETED, "done")
        await finish(world, executor, OutcomeKind.FAILED, "failed")
        assert await purge(world, LATER, LATER) == 0
        assert await eventually(lambda: purge(world, NOW, LATER)) == 1
        assert (await world.find("done"), (await world.row("failed")).state) == (None, FAILED)
        assert await eventually(lambda: purge(world, LATER, NOW)) == 1
        assert await world.find("failed") is None

    async def test_what_is_not_over_stays(self, world: World, executor: Executor) -> None:
        await world.bring(executor, "running", TimerState.RUNNING)
        await world.create("pending", delay=LATER)
        await finish(world, executor, OutcomeKind.FAILED, "failed")
        await eventually(lambda: purge(world, NOW, NOW))
        assert await world.find("failed") is None
        assert await world.find("running") is not None
        assert await world.find("pending") is not None

    async def test_managed_rows_stay(self, world: World, executor: Executor) -> None:
        await finish(world, executor, OutcomeKind.COMPLETED, "managed", managed_by=ManagedBy("uid-1", 1))
        await finish(world, executor, OutcomeKind.COMPLETED, "plain")
        await eventually(lambda: purge(world, NOW, NOW))
        assert await world.find("plain") is None
        assert await world.find("managed") is not None

    async def test_in_pieces(self, world: World, executor: Executor) -> None:
        await finish(world, executor, OutcomeKind.COMPLETED, *(f"done{number}" for number in range(5)))
        await finish(world, executor, OutcomeKind.FAILED, *(f"failed{number}" for number in range(5)))
        counts = [await eventually(lambda: purge(world, NOW, NOW, 4)) for _ in range(3)]
        assert counts == [4, 4, 2]
        assert await purge(world, NOW, NOW, 4) == 0

    async def test_only_in_the_group(self, world: World, other: World, executor: Executor) -> None:
        await finish(world, executor, OutcomeKind.COMPLETED, "t")
        await eventually(lambda: _passed(world))
        assert await purge(other, NOW, NOW) == 0
        assert await world.find("t") is not None


async def _passed(world: World) -> bool:
    """Whether a purge after now would take what is finished."""
    row = await world.row("t")
    return row.executed_at is not None and await world.store.now() > row.executed_at


class TestPurgeGroup:
    async def test_everything_goes_whatever_its_state(self, world: World, executor: Executor) -> None:
        for state in TimerState:
            await world.bring(executor, state.value, state)
        await world.create("managed", "suspended", suspended=True, managed_by=ManagedBy("uid-1", 1))
        await world.store.set_group_state(world.group_id, world.owner, GroupState.PURGING)
        pieces = [await world.store.purge_group(world.group_id, 4) for _ in range(3)]
        assert pieces == [4, 2, 0]
        assert (await world.store.counts(world.group_id)).pending == 0
        assert await world.find("managed") is None

    @pytest.mark.parametrize("state", [GroupState.ACTIVE, GroupState.DELETED])
    async def test_only_where_the_group_is_purging(self, world: World, state: GroupState) -> None:
        await world.create("t", delay=LATER)
        await world.store.set_group_state(world.group_id, world.owner, state)
        assert await world.store.purge_group(world.group_id, 10) == 0
        assert await world.find("t") is not None

    async def test_only_in_the_group(self, world: World, other: World) -> None:
        await other.create("t", delay=LATER)
        await world.store.set_group_state(world.group_id, world.owner, GroupState.PURGING)
        assert await world.store.purge_group(world.group_id, 10) == 0
        assert await other.find("t") is not None

    async def test_what_ran_is_not_settled_into_life(self, world: World, executor: Executor) -> None:
        await world.create("t")
        taken = await executor.take_one()
        await world.store.set_group_state(world.group_id, world.owner, GroupState.PURGING)
        await world.store.purge_group(world.group_id, 10)
        assert not await executor.settle(taken, OutcomeKind.RETRY, attempt=1, delay=SECOND)
        assert await world.find("t") is None


class TestCounts:
    async def test_by_state_and_what_is_due(self, world: World, executor: Executor) -> None:
        await finish(world, executor, OutcomeKind.COMPLETED, "c1", "c2", "c3")
        await finish(world, executor, OutcomeKind.FAILED, "f1", "f2")
        await world.bring(executor, "running", TimerState.RUNNING)
        await world.create("later", delay=LATER)
        await world.create("suspended", suspended=True)
        (oldest,) = await world.create("due1")
        await world.create("due2")
        counts = await world.store.counts(world.group_id)
        assert (counts.pending, counts.running, counts.completed, counts.failed) == (4, 1, 3, 2)
        assert (counts.due, counts.oldest_due_at) == (2, oldest.due_at)
        assert counts.estimated == frozenset()

    async def test_an_empty_group(self, world: World, other: World) -> None:
        await other.create("t")
        counts = await world.store.counts(world.group_id)
        assert (counts.pending, counts.running, counts.completed, counts.failed) == (0, 0, 0, 0)
        assert (counts.due, counts.oldest_due_at) == (0, None)

    async def test_of_a_group_that_is_not_there(self, world: World) -> None:
        assert (await world.store.counts(unique("none"))).pending == 0
