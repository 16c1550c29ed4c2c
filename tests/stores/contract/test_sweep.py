"""Sweep: what a dead or departed owner left running comes back, and what a living one holds does not."""

from datetime import timedelta

import pytest

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.ownership import Claim
from durable_timer.models.results import Target, WhenRunning
from durable_timer.models.timer import UNSET, TimerState, Unset
from durable_timer.stores.base import Swept
from tests.stores.contract.world import LATER, NOW, Executor, World, new_run
from tests.support.waiting import eventually

NOTHING = Swept({}, 0, 0)
RUNNING, PENDING = TimerState.RUNNING, TimerState.PENDING


async def successor(world: World, earlier: Executor) -> Executor:
    """The member that owns all shards after `earlier` died."""
    await world.die(earlier.me)
    return await world.executor()


class TestOlderEpoch:
    async def test_a_dead_owners_rows_come_back_as_they_were(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), OutcomeKind.DEFERRED)
        await executor.take_one()
        before = await world.row("t")
        heir = await successor(world, executor)
        swept = await heir.sweep()
        row = await world.row("t")
        assert swept == Swept({(world.group_id, row.shard): 1}, 0, 1)
        assert (row.state, row.run, row.taken_epoch, row.version) == (PENDING, None, None, before.version + 1)
        assert (row.due_at, row.execute_at, row.taken_at) == (before.due_at, before.execute_at, before.taken_at)
        assert (row.attempt, row.occurrence, row.first_attempt_at) == (0, 1, None)
        assert (await heir.take_one()).timer_id == "t"

    async def test_an_attempt_counted_before_stays_counted(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), OutcomeKind.RETRY, attempt=1, last_error="no")

        async def taken() -> bool:
            return bool((await executor.take()).timers)

        await eventually(taken)
        before = await world.row("t")
        await (await successor(world, executor)).sweep()
        row = await world.row("t")
        assert (row.attempt, row.last_error) == (1, "no")
        assert (row.first_attempt_at, row.due_at) == (before.first_attempt_at, before.due_at)

    async def test_what_was_to_be_cancelled_goes(self, world: World, executor: Executor) -> None:
        await world.create("a", "b")
        await executor.take()
        await world.store.delete(world.group_id, [Target("a")], WhenRunning.STOP)
        heir = await successor(world, executor)
        swept = await heir.sweep()
        assert (sum(swept.recovered.values()), swept.cancelled, swept.found) == (1, 1, 2)
        assert await world.find("a") is None
        assert (await world.row("b")).state is PENDING

    async def test_other_states_are_left(self, world: World, executor: Executor) -> None:
        await world.bring(executor, "done", TimerState.COMPLETED)
        await world.bring(executor, "failed", TimerState.FAILED)
        await world.bring(executor, "pending", PENDING)
        before = await world.store.get(world.group_id, ["done", "failed", "pending"])
        assert await (await successor(world, executor)).sweep() == NOTHING
        assert await world.store.get(world.group_id, ["done", "failed", "pending"]) == before

    async def test_counts_by_shard(self, world: World, executor: Executor) -> None:
        await world.create(*(world.id_in(shard) for shard in (0, 0, 0, 2)))
        await executor.take()
        swept = await (await successor(world, executor)).sweep()
        assert swept.recovered == {(world.group_id, 0): 3, (world.group_id, 2): 1}

    async def test_no_more_than_the_limit(self, world: World, executor: Executor) -> None:
        await world.create(*(f"t{number}" for number in range(10)))
        await executor.take()
        heir = await successor(world, executor)
        swept = [await heir.sweep(limit=4) for _ in range(4)]
        assert [sum(each.recovered.values()) for each in swept] == [4, 4, 2, 0]
        assert [each.found for each in swept] == [4, 4, 2, 0]

    async def test_what_the_sweeper_holds_is_spared(self, world: World, executor: Executor) -> None:
        await world.create("t")
        run = new_run()
        await executor.take(run=run)
        executor.claims = await world.claim(executor.me)
        assert await executor.sweep(held=[run, new_run()]) == NOTHING
        assert (await world.row("t")).state is RUNNING
        assert sum((await executor.sweep(held=[new_run()])).recovered.values()) == 1


class TestClaims:
    async def test_only_for_claims_that_stand(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.take()
        heir = await successor(world, executor)
        assert await executor.sweep(own_age=NOW) == NOTHING
        stranger = Executor(world, world.store, "stranger", heir.claims)
        assert await stranger.sweep(own_age=NOW) == NOTHING
        stale = Executor(world, world.store, heir.me, [Claim(*claim[:2], claim.epoch + 1) for claim in heir.claims])
        assert await stale.sweep(own_age=NOW) == NOTHING
        assert (await world.row("t")).state is RUNNING

    async def test_only_in_the_claimed_shards(self, world: World, executor: Executor) -> None:
        names = [world.id_in(shard) for shard in range(4)]
        await world.create(*names)
        await executor.take()
        heir = await successor(world, executor)
        heir.claims = heir.claims[:2]
        assert set((await heir.sweep()).recovered) == {(world.group_id, 0), (world.group_id, 1)}
        rows = [await world.row(name) for name in names]
        assert [row.state for row in rows] == [PENDING, PENDING, RUNNING, RUNNING]


class TestOwnEpoch:
    async def test_a_take_of_ones_own_that_was_given_up_comes_back(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.take()
        assert await executor.sweep(own_age=LATER) == NOTHING
        swept = await eventually(lambda: _found(executor, timedelta(milliseconds=1)))
        assert sum(swept.recovered.values()) == 1
        assert (await world.row("t")).state is PENDING

    async def test_its_age_is_since_this_take_not_since_the_first(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), OutcomeKind.DEFERRED)
        await world.pass_time(LATER)
        await executor.take_one()
        assert await executor.sweep(own_age=LATER / 2) == NOTHING
        await world.pass_time(LATER)
        assert sum((await executor.sweep(own_age=LATER / 2)).recovered.values()) == 1

    async def test_held_ones_are_spared_however_old(self, world: World, executor: Executor) -> None:
        await world.create("mine", "lost")
        held = new_run()
        await executor.take(limit=1, run=held)
        await executor.take(limit=1)
        swept = await eventually(lambda: _found(executor, timedelta(milliseconds=1), held))
        assert sum(swept.recovered.values()) == 1
        rows = [await world.row("mine"), await world.row("lost")]
        assert sorted(row.state for row in rows) == [PENDING, RUNNING]
        assert {row.run for row in rows} == {None, held}

    async def test_a_cancelled_one_goes(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.take()
        await world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP)
        swept = await eventually(lambda: _found(executor, timedelta(milliseconds=1)))
        assert swept == Swept({}, 1, 1)
        assert await world.find("t") is None


class TestDrains:
    async def test_rows_of_a_departing_owner_are_spared(self, shared: World) -> None:
        departing = await shared.executor()
        await shared.create("t")
        taken = await departing.take_one()
        await departing.release(LATER)
        heir = await shared.executor()
        assert await heir.sweep(own_age=NOW) == NOTHING
        assert await departing.settle(taken, OutcomeKind.COMPLETED, attempt=1)

    async def test_until_has_passed_they_are_not(self, shared: World) -> None:
        departing = await shared.executor()
        await shared.create("t")
        taken = await departing.take_one()
        await departing.release(timedelta(milliseconds=200))
        heir = await shared.executor()
        assert await heir.sweep() == NOTHING
        swept = await eventually(lambda: _found(heir, LATER))
        assert sum(swept.recovered.values()) == 1
        assert not await departing.settle(taken, OutcomeKind.COMPLETED, attempt=1)

    @pytest.mark.parametrize("said", [True, False])
    async def test_nor_are_they_before_it_is_known_that_it_has(self, shared: World, said: bool) -> None:
        """However late the sweep arrives that was asked for with this."""
        departing = await shared.executor()
        await shared.create("t")
        taken = await departing.take_one()
        drains_over = await shared.store.now() - timedelta(minutes=10) if said else None
        await departing.release(timedelta(minutes=-9))
        heir = await shared.executor()
        assert await heir.sweep(own_age=NOW, within=timedelta(0), drains_over=drains_over) == NOTHING
        assert await departing.settle(taken, OutcomeKind.COMPLETED, attempt=1)

    @pytest.mark.parametrize("drains_over", [UNSET, None])
    @pytest.mark.parametrize("how", ["die", "leave"])
    async def test_once_it_is_dead_or_gone_they_are_not(
        self, shared: World, how: str, drains_over: Unset | None
    ) -> None:
        departing = await shared.executor()
        await shared.create("t")
        await departing.take_one()
        await departing.release(LATER)
        heir = await shared.executor()
        if how == "die":
            await shared.die(departing.me)
        else:
            await shared.store.leave(departing.me)
        assert sum((await heir.sweep(drains_over=drains_over)).recovered.values()) == 1

    async def test_a_drain_covers_its_own_epoch_only(self, shared: World) -> None:
        lost = await shared.executor()
        await shared.create(shared.id_in(0), shared.id_in(1))
        await lost.take()
        await shared.die(lost.me)
        departing = await shared.executor()
        await departing.release(LATER)
        heir = await shared.executor()
        assert heir.claims[0].epoch == 3
        assert sum((await heir.sweep()).recovered.values()) == 2

    async def test_two_hand_overs_in_a_row_spare_both(self, shared: World) -> None:
        first, second = shared.id_in(0), shared.id_in(1)
        departing = await shared.executor()
        await shared.create(first)
        early = await departing.take_one()
        await departing.release(LATER)
        between = await shared.executor()
        await shared.create(second)
        late = await between.take_one()
        await between.release(LATER)
        heir = await shared.executor()
        assert await heir.sweep(own_age=NOW) == NOTHING
        assert await departing.settle(early, OutcomeKind.COMPLETED, attempt=1)
        assert await between.settle(late, OutcomeKind.COMPLETED, attempt=1)


class TestWithin:
    async def test_what_was_taken_within_is_found(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.take()
        swept = await eventually(lambda: _found(executor, timedelta(milliseconds=1), within=LATER))
        assert sum(swept.recovered.values()) == 1
        assert (await world.row("t")).state is PENDING

    async def test_of_an_older_epoch_too(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.take()
        heir = await successor(world, executor)
        assert sum((await heir.sweep(within=LATER)).recovered.values()) == 1

    async def test_what_ran_before_is_found_where_an_owner_departed_lately(self, shared: World) -> None:
        departing = await shared.executor()
        await shared.create("t")
        await departing.take()
        await departing.release(timedelta(milliseconds=200))
        heir = await shared.executor()
        swept = await eventually(lambda: _found(heir, LATER, within=timedelta(milliseconds=1)))
        assert sum(swept.recovered.values()) == 1


async def _found(executor: Executor, own_age: timedelta, held: int = 0, within: timedelta | None = None) -> Swept:
    swept = await executor.sweep(own_age=own_age, held=[held], within=within)
    assert swept != NOTHING
    return swept
