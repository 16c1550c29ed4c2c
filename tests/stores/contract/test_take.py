"""Take: what is due, for whom, how much of it, and what it says of the rest."""

from datetime import datetime, timedelta

import pytest

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.ownership import Claim
from durable_timer.models.page import TimerFilter
from durable_timer.models.results import Refusal, Target
from durable_timer.models.timer import Timer, TimerChange, TimerState
from durable_timer.stores.base import NEXT_DUE_WITHIN, TakeGroup, Taken, TakeShard
from tests.stores.contract.world import LATER, MINUTE, NOW, SECOND, Executor, World, new_run
from tests.support.waiting import eventually

AHEAD = timedelta(milliseconds=800)


def ids(taken: Taken) -> set[str]:
    return {timer.timer_id for timer in taken.timers}


class TestDue:
    async def test_what_is_due_runs_under_the_token(self, world: World, executor: Executor) -> None:
        (created,) = await world.create("t")
        run = new_run()
        taken = await executor.take(run=run)
        (timer,) = taken.timers
        row = await world.row("t")
        assert (timer.run, timer.timer_id, timer.shard, timer.group_id) == (run, "t", row.shard, world.group_id)
        assert (row.state, row.run, row.taken_epoch) == (TimerState.RUNNING, run, 1)
        assert (row.version, row.due_at, row.execute_at) == (2, created.due_at, created.execute_at)
        assert row.taken_at == row.updated_at == taken.now
        assert timer.remaining == pytest.approx((row.due_at - taken.now).total_seconds(), abs=1e-5)
        assert timer.remaining <= 0
        assert (timer.attempt, timer.first_attempt_age, timer.deadline_exceeded) == (0, None, False)

    async def test_what_is_taken_is_not_taken_again(self, world: World, executor: Executor) -> None:
        await world.create("t")
        assert ids(await executor.take()) == {"t"}
        assert ids(await executor.take()) == set()

    async def test_what_is_not_due_waits(self, world: World, executor: Executor) -> None:
        await world.create("later", delay=LATER)
        await world.create("soon", delay=SECOND / 5)
        assert ids(await executor.take()) == set()
        taken = await eventually(lambda: _nonempty(executor))
        assert ids(taken) == {"soon"}
        assert all(timer.remaining <= 0 for timer in taken.timers)

    async def test_the_stores_now_is_between_before_and_after(self, world: World, executor: Executor) -> None:
        before = await world.store.now()
        taken = await executor.take()
        assert before <= taken.now <= await world.store.now()

    async def test_oldest_first_within_a_shard(self, world: World, executor: Executor) -> None:
        now = await world.store.now()
        for number in range(12):
            await world.create(f"t{number}", execute_at=now + SECOND / 10 - timedelta(milliseconds=number))
        await eventually(lambda: _passed(world, now + SECOND / 10))
        taken = (await executor.take()).timers
        assert len(taken) == 12
        for shard in range(world.shards):
            due = [timer.due_at for timer in taken if timer.shard == shard]
            assert due == sorted(due)

    async def test_taken_at_is_that_of_the_occurrences_first_take(self, world: World, executor: Executor) -> None:
        await world.create("t")
        taken = await executor.take_one()
        first = (await world.row("t")).taken_at
        await executor.settle(taken, OutcomeKind.DEFERRED)
        await executor.take_one()
        assert (await world.row("t")).taken_at == first

    async def test_all_states_but_pending_are_left(self, world: World, executor: Executor) -> None:
        await world.bring(executor, "done", TimerState.COMPLETED)
        await world.bring(executor, "failed", TimerState.FAILED)
        await world.create("suspended", suspended=True)
        assert ids(await executor.take(ahead=AHEAD)) == set()


class TestAhead:
    async def test_it_brings_what_is_about_to_be_due_with_the_time_left(self, world: World, executor: Executor) -> None:
        await world.create("soon", delay=AHEAD / 2)
        await world.create("later", delay=AHEAD * 100)
        taken = await executor.take(ahead=AHEAD)
        assert ids(taken) == {"soon"}
        row = await world.row("soon")
        assert taken.timers[0].remaining == pytest.approx((row.due_at - taken.now).total_seconds(), abs=1e-5)
        assert 0 < taken.timers[0].remaining <= (AHEAD / 2).total_seconds()

    async def test_taken_ahead_is_running(self, world: World, executor: Executor) -> None:
        await world.create("t", delay=AHEAD / 2)
        await executor.take(ahead=AHEAD)
        update = await world.store.update(world.group_id, Target("t"), TimerChange(delay=LATER))
        assert update.refusal is Refusal.EXECUTING


class TestDeadline:
    async def test_a_first_take_that_is_too_late_says_so(self, world: World, executor: Executor) -> None:
        past = await world.store.now() - LATER
        await world.create("late", execute_at=past, starting_deadline=SECOND)
        await world.create("intime", execute_at=past, starting_deadline=LATER * 2)
        await world.create("none", execute_at=past)
        taken = {timer.timer_id: timer.deadline_exceeded for timer in (await executor.take()).timers}
        assert taken == {"late": True, "intime": False, "none": False}

    async def test_a_later_take_of_the_occurrence_never_is(self, world: World, executor: Executor) -> None:
        past = await world.store.now() - LATER
        await world.create("t", execute_at=past, starting_deadline=LATER * 2)
        await executor.settle(await executor.take_one(), OutcomeKind.DEFERRED)
        await world.store.update(world.group_id, Target("t"), TimerChange(starting_deadline=SECOND))
        assert not (await executor.take_one()).deadline_exceeded

    async def test_a_new_occurrence_counts_anew(self, world: World, executor: Executor) -> None:
        await world.create("t", starting_deadline=SECOND)
        past = await world.store.now() - LATER
        await executor.settle(await executor.take_one(), OutcomeKind.NEXT, at=past)
        assert (await executor.take_one()).deadline_exceeded


class TestLimits:
    async def test_no_more_than_the_limit(self, world: World, executor: Executor) -> None:
        await world.create(*(f"t{number}" for number in range(20)))
        seen: set[str] = set()
        for expected in (7, 7, 6, 0):
            taken = await executor.take(limit=7)
            assert len(taken.timers) == expected
            assert not seen & ids(taken)
            seen |= ids(taken)
        assert len(seen) == 20

    async def test_one_at_a_time(self, world: World, executor: Executor) -> None:
        await world.create("a", "b", "c")
        assert [len((await executor.take(limit=1)).timers) for _ in range(4)] == [1, 1, 1, 0]

    async def test_each_group_has_its_own(self, world: World, other: World, executor: Executor) -> None:
        theirs = Executor(other, other.store, executor.me, await other.claim(executor.me))
        await world.create(*(f"t{number}" for number in range(9)))
        await other.create(*(f"t{number}" for number in range(9)))
        request = [
            TakeGroup(world.group_id, shards_of(executor), 4),
            TakeGroup(other.group_id, shards_of(theirs), 2),
        ]
        taken = await world.store.take_due(request, executor.me, NOW, new_run())
        groups = [timer.group_id for timer in taken.timers]
        assert (groups.count(world.group_id), groups.count(other.group_id)) == (4, 2)
        assert [len(group) for group in taken.next_due] == [4, 4]

    async def test_one_shard_with_a_backlog_leaves_room_to_the_others(self, world: World, executor: Executor) -> None:
        """Not a promise for every limit; but what was taken goes, so the next takes reach the rest."""
        await world.create(*(world.id_in(0) for _ in range(50)))
        quiet = world.id_in(1)
        await world.create(quiet)
        seen: set[str] = set()
        for _ in range(60):
            seen |= ids(await executor.take(limit=8))
        assert quiet in seen
        assert len(seen) == 51

    async def test_only_the_named_shards(self, world: World, executor: Executor) -> None:
        names = [world.id_in(shard) for shard in range(4)]
        await world.create(*names)
        taken = await executor.take(claims=executor.claims[1:3])
        assert ids(taken) == {names[1], names[2]}

    async def test_a_floor_never_hides_what_is_at_or_above_it(self, world: World, executor: Executor) -> None:
        (row,) = await world.create("t")
        request = TakeGroup(world.group_id, [TakeShard(row.shard, 1, row.due_at)], 10)
        taken = await world.store.take_due([request], executor.me, NOW, new_run())
        assert ids(taken) == {"t"}

    async def test_without_a_floor_the_oldest_come(self, world: World, executor: Executor) -> None:
        first, second = world.id_in(0), world.id_in(0)
        (old,) = await world.create(first)
        (new,) = await world.create(second)
        above = TakeGroup(world.group_id, [TakeShard(0, 1, new.due_at)], 10)
        assert second in ids(await world.store.take_due([above], executor.me, NOW, new_run()))
        await world.store.run(world.group_id, [Target(first)])
        assert (await world.row(first)).due_at >= old.due_at
        everything = TakeGroup(world.group_id, [TakeShard(0, 1, None)], 10)
        taken = await world.store.take_due([everything], executor.me, NOW, new_run())
        assert (await world.row(first)).state is TimerState.RUNNING
        assert taken.next_due == [[None]]


def shards_of(executor: Executor) -> list[TakeShard]:
    return [TakeShard(claim.shard, claim.epoch, None) for claim in executor.claims]


async def a_timer_each_half_second(world: World, shard: int, begin: timedelta = NOW) -> list[Timer]:
    """For a minute: whenever a take comes that reaches to `begin`, one of them is due next."""
    at = await world.store.now() + begin
    await world.results(*(world.new(world.id_in(shard), execute_at=at + SECOND / 2 * n) for n in range(1, 121)))
    page = await world.store.list(world.group_id, TimerFilter(), limit=200, after=None, payloads=False)
    return [row for row in page.timers if row.shard == shard]


class TestNextDue:
    async def test_in_the_order_of_the_request(self, world: World, executor: Executor) -> None:
        await a_timer_each_half_second(world, 2)
        request = TakeGroup(world.group_id, shards_of(executor)[::-1], 200)
        taken = await world.store.take_due([request], executor.me, NOW, new_run())
        ((third, second, first, zeroth),) = taken.next_due
        assert third is first is zeroth is None
        assert second is not None
        assert 0 < second <= NEXT_DUE_WITHIN.total_seconds()

    @pytest.mark.parametrize("ahead", [NOW, LATER])
    async def test_the_earliest_left(self, world: World, executor: Executor, ahead: timedelta) -> None:
        rows = await a_timer_each_half_second(world, 0, ahead)
        taken = await executor.take(ahead=ahead)
        left = min(row.due_at for row in rows if row.timer_id not in ids(taken))
        assert taken.next_due[0][0] == pytest.approx((left - taken.now).total_seconds(), abs=1e-5)

    async def test_what_is_due_long_after_the_look_ahead_is_not_told(self, world: World, executor: Executor) -> None:
        await world.create("due")
        await world.create(*(world.id_in(shard) for shard in range(4)), delay=LATER)
        taken = await executor.take(ahead=LATER - MINUTE)
        assert (ids(taken), taken.next_due) == ({"due"}, [[None] * 4])

    async def test_more_due_than_the_limit(self, world: World, executor: Executor) -> None:
        await world.create(*(world.id_in(0) for _ in range(3)))
        taken = await executor.take(limit=1)
        left = taken.next_due[0][0]
        assert left is not None
        assert left <= 0

    async def test_suspended_and_running_do_not_count(self, world: World, executor: Executor) -> None:
        await world.create(world.id_in(0), suspended=True)
        await world.create(world.id_in(0))
        assert (await executor.take()).next_due == [[None] * 4]
        assert (await executor.take()).next_due == [[None] * 4]


class TestClaims:
    async def test_under_a_wrong_epoch_nothing_comes(self, world: World, executor: Executor) -> None:
        names = [world.id_in(shard) for shard in range(4)]
        await world.create(*names)
        wrong = [Claim(world.group_id, 0, 2), Claim(world.group_id, 1, 0), *executor.claims[2:]]
        assert ids(await executor.take(claims=wrong)) == set(names[2:])
        assert (await world.row(names[0])).version == 1

    async def test_for_another_member_nothing_comes(self, world: World, executor: Executor) -> None:
        await world.create("t")
        stranger = Executor(world, world.store, "stranger", executor.claims)
        assert ids(await stranger.take()) == set()

    async def test_after_a_release_nothing_comes(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.release()
        assert ids(await executor.take()) == set()

    async def test_after_a_claim_the_old_epoch_brings_nothing(self, world: World, executor: Executor) -> None:
        await world.create("t")
        old = executor.claims
        executor.claims = await world.claim(executor.me)
        assert ids(await executor.take(claims=old)) == set()
        assert ids(await executor.take()) == {"t"}
        assert (await world.row("t")).taken_epoch == 2

    async def test_an_unknown_group_or_shard_has_nothing(self, world: World, executor: Executor) -> None:
        request = [
            TakeGroup("no-such-group", [TakeShard(0, 1, None)], 5),
            TakeGroup(world.group_id, [TakeShard(99, 1, None)], 5),
        ]
        taken = await world.store.take_due(request, executor.me, NOW, new_run())
        assert (taken.timers, taken.next_due) == ([], [[None], [None]])

    async def test_nothing_asked_nothing_taken(self, world: World, executor: Executor) -> None:
        await world.create("t")
        taken = await world.store.take_due([], executor.me, NOW, new_run())
        assert (taken.timers, taken.next_due) == ([], [])


async def _nonempty(executor: Executor) -> Taken:
    taken = await executor.take()
    assert taken.timers
    return taken


async def _passed(world: World, instant: datetime) -> bool:
    return await world.store.now() > instant
