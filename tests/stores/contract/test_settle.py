"""Settle: what each outcome writes, and that the run token alone decides."""

from datetime import timedelta
from typing import Any

import pytest

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.results import Target, WhenRunning
from durable_timer.models.timer import LastOutcome, ManagedBy, Schedule, TakenTimer, TimerState
from tests.stores.contract.world import LATER, NOW, SECOND, Executor, World, new_run, outcome, unset
from tests.support.waiting import eventually

COMPLETED, FAILED, RETRY, DEFERRED, NEXT = OutcomeKind
ALL: dict[OutcomeKind, dict[str, Any]] = {
    COMPLETED: {"attempt": 1},
    FAILED: {"attempt": 1},
    RETRY: {"attempt": 1, "delay": SECOND},
    DEFERRED: {"delay": SECOND},
}
"""What each kind needs at least, save NEXT, which needs an instant."""


class TestKinds:
    @pytest.mark.parametrize("kind", [COMPLETED, FAILED])
    async def test_an_end(self, world: World, executor: Executor, kind: OutcomeKind) -> None:
        await world.create("t")
        taken = await executor.take_one()
        running = await world.row("t")
        said = {"attempt": 1, "began": SECOND, "last_error": "said so", "last_status": 503}
        assert await executor.settle(taken, kind, **said)
        row = await world.row("t")
        assert row.state == TimerState(kind.value)
        assert (row.attempt, row.last_error, row.last_status) == (1, "said so", 503)
        assert row.executed_at == row.updated_at == row.last_run_at
        assert row.executed_at is not None
        assert row.first_attempt_at == row.executed_at - SECOND
        assert row.last_outcome == LastOutcome(kind.value)
        assert (row.run, row.taken_epoch, row.version) == (None, None, running.version + 1)
        assert (row.occurrence, row.execute_at, row.due_at) == (1, running.execute_at, running.due_at)
        assert (await executor.take()).timers == []

    async def test_a_success_clears_what_went_wrong_before(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), RETRY, attempt=1, last_error="no", last_status=500)
        await executor.settle(await eventually_taken(executor), COMPLETED, attempt=2, last_status=200)
        row = await world.row("t")
        assert (row.attempt, row.last_error, row.last_status) == (2, None, 200)

    async def test_a_missed_end_says_so(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), FAILED, last_outcome=LastOutcome.MISSED)
        assert (await world.row("t")).last_outcome is LastOutcome.MISSED

    async def test_a_retry_is_due_after_its_delay(self, world: World, executor: Executor) -> None:
        (created,) = await world.create("t")
        assert await executor.settle(
            await executor.take_one(), RETRY, attempt=1, delay=LATER, began=SECOND, last_error="no", last_status=500
        )
        row = await world.row("t")
        assert (row.state, row.attempt, row.occurrence) == (TimerState.PENDING, 1, 1)
        assert (row.due_at, row.execute_at) == (row.updated_at + LATER, created.execute_at)
        assert row.first_attempt_at == row.updated_at - SECOND
        assert (row.last_error, row.last_status, row.last_outcome, row.last_run_at) == ("no", 500, None, None)
        assert (row.run, row.taken_epoch) == (None, None)
        assert row.taken_at is not None

    async def test_the_first_attempt_is_kept_and_its_age_told(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), RETRY, attempt=1, began=LATER)
        first = (await world.row("t")).first_attempt_at
        taken = await eventually_taken(executor)
        assert taken.attempt == 1
        assert taken.first_attempt_age is not None
        assert LATER.total_seconds() <= taken.first_attempt_age < LATER.total_seconds() + 60
        await executor.settle(taken, RETRY, attempt=2, began=NOW)
        row = await world.row("t")
        assert (row.attempt, row.first_attempt_at) == (2, first)

    async def test_a_deferral_counts_nothing(self, world: World, executor: Executor) -> None:
        await world.create("t")
        taken = await executor.take_one()
        running = await world.row("t")
        assert await executor.settle(taken, DEFERRED, delay=LATER, attempt=9)
        row = await world.row("t")
        assert (row.state, row.attempt, row.first_attempt_at) == (TimerState.PENDING, 0, None)
        assert (row.due_at, row.taken_at) == (row.updated_at + LATER, running.taken_at)
        assert (row.last_error, row.run) == (None, None)

    async def test_a_deferral_by_nothing_leaves_when_it_was_due(self, world: World, executor: Executor) -> None:
        (created,) = await world.create("t")
        assert await executor.settle(await executor.take_one(), DEFERRED)
        row = await world.row("t")
        assert (row.state, row.due_at) == (TimerState.PENDING, created.due_at)
        assert (await executor.take_one()).timer_id == "t"

    async def test_a_deferral_writes_an_error_only_when_it_has_one(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), DEFERRED, last_error="SECRET_UNAVAILABLE")
        assert (await world.row("t")).last_error == "SECRET_UNAVAILABLE"
        await executor.settle(await executor.take_one(), DEFERRED)
        assert (await world.row("t")).last_error == "SECRET_UNAVAILABLE"

    async def test_next_is_a_new_occurrence(self, world: World, executor: Executor) -> None:
        (created,) = await world.create("t", schedule=Schedule("* * * * *"))
        await executor.settle(await executor.take_one(), RETRY, attempt=1, began=SECOND)
        taken = await eventually_taken(executor)
        at = await world.store.now() + LATER
        assert await executor.settle(
            taken, NEXT, attempt=2, at=at, last_outcome=LastOutcome.FAILED, last_error="no", last_status=500
        )
        row = await world.row("t")
        assert (row.state, row.occurrence, row.attempt) == (TimerState.PENDING, 2, 0)
        assert (row.execute_at, row.due_at, row.uid) == (at, at, created.uid)
        assert (row.last_outcome, row.last_error, row.last_status) == (LastOutcome.FAILED, "no", 500)
        assert (row.last_run_at, row.executed_at) == (row.updated_at, None)
        assert unset(row, "first_attempt_at", "taken_at", "run", "taken_epoch")

    async def test_next_in_the_past_keeps_its_promise_and_is_due_now(self, world: World, executor: Executor) -> None:
        await world.create("t")
        past = await world.store.now() - LATER
        await executor.settle(await executor.take_one(), NEXT, at=past, last_outcome=LastOutcome.MISSED)
        row = await world.row("t")
        assert (row.execute_at, row.due_at, row.last_outcome) == (past, row.updated_at, LastOutcome.MISSED)


async def eventually_taken(executor: Executor) -> TakenTimer:
    """Takes the one timer that is about to be due."""

    async def one() -> list[TakenTimer]:
        return (await executor.take()).timers

    (taken,) = await eventually(one)
    return taken


class TestForget:
    @pytest.mark.parametrize("kind", [COMPLETED, FAILED])
    async def test_the_row_goes(self, world: World, executor: Executor, kind: OutcomeKind) -> None:
        await world.create("t")
        assert await executor.settle(await executor.take_one(), kind, attempt=1, forget=True)
        assert await world.find("t") is None

    async def test_a_managed_row_stays(self, world: World, executor: Executor) -> None:
        await world.create("t", managed_by=ManagedBy("uid-1", 1))
        assert await executor.settle(await executor.take_one(), COMPLETED, attempt=1, forget=True)
        assert (await world.row("t")).state is TimerState.COMPLETED


class TestRunToken:
    @pytest.mark.parametrize("kind", ALL)
    async def test_another_run_writes_nothing(self, world: World, executor: Executor, kind: OutcomeKind) -> None:
        await world.create("t")
        taken = await executor.take_one()
        taken.run = new_run()
        before = await world.row("t")
        assert not await executor.settle(taken, kind, **ALL[kind])
        assert await world.row("t") == before

    @pytest.mark.parametrize("kind", ALL)
    async def test_a_settled_run_settles_once(self, world: World, executor: Executor, kind: OutcomeKind) -> None:
        await world.create("t")
        taken = await executor.take_one()
        assert await executor.settle(taken, kind, **ALL[kind])
        before = await world.row("t")
        assert not await executor.settle(taken, COMPLETED, attempt=7)
        assert await world.row("t") == before

    async def test_a_row_that_went_is_not_settled(self, world: World, executor: Executor) -> None:
        await world.create("t")
        taken = await executor.take_one()
        await executor.settle(taken, COMPLETED, attempt=1, forget=True)
        assert not await executor.settle(taken, COMPLETED, attempt=1)
        await world.create("t")
        assert not await executor.settle(taken, COMPLETED, attempt=1)
        assert (await world.row("t")).state is TimerState.PENDING

    async def test_neither_owner_nor_epoch_is_asked(self, world: World, executor: Executor) -> None:
        await world.create("t")
        taken = await executor.take_one()
        await executor.release()
        assert await executor.settle(taken, COMPLETED, attempt=1)


class TestCancelRequested:
    @pytest.mark.parametrize("kind", [*ALL, NEXT])
    async def test_the_row_goes_whatever_came_of_it(self, world: World, executor: Executor, kind: OutcomeKind) -> None:
        await world.create("t")
        taken = await executor.take_one()
        await world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP)
        fields = {"at": await world.store.now()} if kind is NEXT else ALL[kind]
        assert await executor.settle(taken, kind, **fields)
        assert await world.find("t") is None

    async def test_under_another_run_it_stays(self, world: World, executor: Executor) -> None:
        await world.create("t")
        taken = await executor.take_one()
        await world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP)
        taken.run = new_run()
        assert not await executor.settle(taken, COMPLETED, attempt=1)
        assert (await world.row("t")).cancel_requested

    async def test_asking_twice_writes_once(self, world: World, executor: Executor) -> None:
        await world.bring(executor, "t", TimerState.RUNNING)
        await world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP)
        once = await world.row("t")
        await world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP)
        assert await world.row("t") == once


async def test_a_batch_of_all_kinds_is_answered_by_position(world: World, executor: Executor) -> None:
    kinds = [COMPLETED, FAILED, RETRY, DEFERRED, NEXT]
    await world.create(*kinds, "cancelled", "forgotten", "stale")
    taken = {item.timer_id: item for item in (await executor.take()).timers}
    await world.store.delete(world.group_id, [Target("cancelled")], WhenRunning.STOP)
    taken["stale"].run = new_run()
    now = await world.store.now()
    outcomes = [outcome(taken["stale"], COMPLETED, attempt=1)]
    outcomes += [outcome(taken[kind], kind, attempt=1, delay=LATER, at=now + LATER) for kind in kinds]
    outcomes += [outcome(taken["cancelled"], RETRY, attempt=1, delay=SECOND)]
    outcomes += [outcome(taken["forgotten"], COMPLETED, attempt=1, forget=True)]
    assert await world.store.settle(outcomes) == [False] + [True] * 7
    rows = await world.store.get(world.group_id, [*kinds, "cancelled", "forgotten", "stale"])
    assert [row and row.state.value for row in rows] == [
        "completed",
        "failed",
        "pending",
        "pending",
        "pending",
        None,
        None,
        "running",
    ]
    assert [row.attempt for row in rows if row] == [1, 1, 1, 0, 0, 0]
    assert [row.occurrence for row in rows if row] == [1, 1, 1, 1, 2, 1]


async def test_five_hundred_outcomes_in_one_call(world: World, executor: Executor) -> None:
    await world.create(*(f"t{number}" for number in range(500)))
    taken: list[TakenTimer] = []
    while len(taken) < 500:
        taken += (await executor.take(limit=500)).timers
    assert await world.store.settle([outcome(item, COMPLETED, attempt=1) for item in taken]) == [True] * 500
    assert (await world.store.counts(world.group_id)).completed == 500


async def test_groups_mix_in_one_call(world: World, other: World, executor: Executor) -> None:
    me = Executor(other, other.store, executor.me, await other.claim(executor.me))
    await world.create("t")
    await other.create("t")
    ours, theirs = await executor.take_one(), await me.take_one()
    ours.run, theirs.run = theirs.run, ours.run
    assert await world.store.settle([outcome(ours, COMPLETED), outcome(theirs, FAILED)]) == [False, False]
    ours.run, theirs.run = theirs.run, ours.run
    assert await world.store.settle([outcome(ours, COMPLETED), outcome(theirs, FAILED)]) == [True, True]
    assert (await world.row("t")).state is TimerState.COMPLETED
    assert (await other.row("t")).state is TimerState.FAILED


async def test_the_longest_due_date_is_kept_exactly(world: World, executor: Executor) -> None:
    await world.create("t")
    delay = timedelta(days=1, microseconds=7)
    await executor.settle(await executor.take_one(), RETRY, attempt=1, delay=delay)
    row = await world.row("t")
    assert delay <= row.due_at - row.updated_at < delay + world.store.capabilities.precision
