"""The table of states and operations, each cell on each store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.results import CreateStatus, DeleteStatus, IfExists, Refusal, Target, Version, WhenRunning
from durable_timer.models.timer import ManagedBy, Schedule, Suspension, Timer, TimerChange, TimerState
from tests.stores.contract.world import LATER, Executor, World, fingerprint, unset

Answer = CreateStatus | DeleteStatus | Refusal | None
Check = Callable[[Timer, Timer | None], None]
PENDING, RUNNING, COMPLETED, FAILED = TimerState
CREATED, IDENTICAL, REPLACED, CONFLICT, EXECUTING = CreateStatus


@dataclass(frozen=True)
class Operation:
    """What is asked, and for each state, in the order of `TimerState`, the answer and what becomes of the row."""

    ask: Callable[[World, str], Awaitable[tuple[Answer, Timer | None]]]
    cells: tuple[tuple[Answer, Check], ...]


def create(says: str, if_exists: IfExists) -> Callable[[World, str], Awaitable[tuple[Answer, Timer | None]]]:
    async def ask(world: World, timer_id: str) -> tuple[Answer, Timer | None]:
        new = world.new(timer_id, says=says, delay=LATER * 3, callback_url="http://other.example/")
        (result,) = await world.results(new, if_exists=if_exists)
        return result.status, result.timer

    return ask


def update(change: TimerChange) -> Callable[[World, str], Awaitable[tuple[Answer, Timer | None]]]:
    async def ask(world: World, timer_id: str) -> tuple[Answer, Timer | None]:
        result = await world.store.update(world.group_id, Target(timer_id), change)
        return result.refusal, result.timer

    return ask


def delete(when_running: WhenRunning) -> Callable[[World, str], Awaitable[tuple[Answer, Timer | None]]]:
    async def ask(world: World, timer_id: str) -> tuple[Answer, Timer | None]:
        (result,) = await world.store.delete(world.group_id, [Target(timer_id)], when_running)
        return result.refusal or result.status, result.timer

    return ask


async def run(world: World, timer_id: str) -> tuple[Answer, Timer | None]:
    (result,) = await world.store.run(world.group_id, [Target(timer_id)])
    return result.refusal, result.timer


async def redrive(world: World, timer_id: str) -> tuple[Answer, Timer | None]:
    (result,) = await world.store.redrive(world.group_id, [Target(timer_id)])
    return result.refusal, result.timer


def unchanged(before: Timer, after: Timer | None) -> None:
    assert after == before


def gone(before: Timer, after: Timer | None) -> None:
    assert after is None


def written(before: Timer, after: Timer | None) -> Timer:
    assert after is not None
    assert (after.uid, after.created_at, after.version) == (before.uid, before.created_at, before.version + 1)
    assert after.updated_at >= before.updated_at
    return after


def stopping(before: Timer, after: Timer | None) -> None:
    row = written(before, after)
    assert row.cancel_requested
    assert (row.state, row.run, row.occurrence) == (RUNNING, before.run, before.occurrence)


def new_occurrence(before: Timer, after: Timer | None) -> Timer:
    row = written(before, after)
    assert (row.state, row.occurrence, row.attempt) == (PENDING, before.occurrence + 1, 0)
    assert unset(row, "run", "taken_at", "first_attempt_at", "executed_at", "taken_epoch")
    return row


def replaced(before: Timer, after: Timer | None) -> None:
    row = new_occurrence(before, after)
    assert row.callback_url == "http://other.example/"
    assert row.fingerprint == fingerprint(f"{row.timer_id} other")
    assert row.execute_at == row.due_at >= before.updated_at + LATER * 3
    assert unset(row, "last_error", "last_status", "last_outcome", "last_run_at")


def moved(before: Timer, after: Timer | None) -> None:
    row = new_occurrence(before, after)
    assert row.execute_at == row.due_at >= before.updated_at + LATER * 2
    assert row.fingerprint == before.fingerprint


def edited(before: Timer, after: Timer | None) -> None:
    row = written(before, after)
    assert row.callback_url == "http://edited.example/"
    assert (row.execute_at, row.due_at, row.occurrence) == (before.execute_at, before.due_at, before.occurrence)


def due_now(before: Timer, after: Timer | None) -> None:
    row = written(before, after)
    assert row.state is PENDING
    assert row.due_at == row.updated_at
    assert (row.execute_at, row.occurrence) == (before.execute_at, before.occurrence)


def redriven(before: Timer, after: Timer | None) -> None:
    row = new_occurrence(before, after)
    assert row.execute_at == row.due_at == row.updated_at
    assert row.last_error == before.last_error


OPERATIONS = {
    "create-same": Operation(create("", IfExists.FAIL), ((IDENTICAL, unchanged),) * 4),
    "create-other": Operation(create("other", IfExists.FAIL), ((CONFLICT, unchanged),) * 4),
    "create-keep": Operation(create("other", IfExists.KEEP), ((IDENTICAL, unchanged),) * 4),
    "create-replace": Operation(
        create("other", IfExists.REPLACE),
        ((REPLACED, replaced), (EXECUTING, unchanged), (REPLACED, replaced), (REPLACED, replaced)),
    ),
    "create-replace-same": Operation(create("", IfExists.REPLACE), ((IDENTICAL, unchanged),) * 4),
    "put-time": Operation(
        update(TimerChange(delay=LATER * 2)),
        (
            (None, moved),
            (Refusal.EXECUTING, unchanged),
            (Refusal.FINISHED, unchanged),
            (Refusal.FINISHED, unchanged),
        ),
    ),
    "put-other": Operation(
        update(TimerChange(callback_url="http://edited.example/")),
        (
            (None, edited),
            (Refusal.EXECUTING, unchanged),
            (Refusal.FINISHED, unchanged),
            (Refusal.FINISHED, unchanged),
        ),
    ),
    "delete": Operation(
        delete(WhenRunning.REFUSE),
        (
            (DeleteStatus.DELETED, gone),
            (Refusal.EXECUTING, unchanged),
            (DeleteStatus.DELETED, gone),
            (DeleteStatus.DELETED, gone),
        ),
    ),
    "delete-stop": Operation(
        delete(WhenRunning.STOP),
        (
            (DeleteStatus.DELETED, gone),
            (DeleteStatus.STOPPING, stopping),
            (DeleteStatus.DELETED, gone),
            (DeleteStatus.DELETED, gone),
        ),
    ),
    "run": Operation(
        run,
        (
            (None, due_now),
            (Refusal.EXECUTING, unchanged),
            (Refusal.FINISHED, unchanged),
            (Refusal.FINISHED, unchanged),
        ),
    ),
    "redrive": Operation(
        redrive,
        (
            (Refusal.NOT_FAILED, unchanged),
            (Refusal.NOT_FAILED, unchanged),
            (Refusal.NOT_FAILED, unchanged),
            (None, redriven),
        ),
    ),
}


@pytest.mark.parametrize("state", TimerState)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_cell(world: World, executor: Executor, name: str, state: TimerState) -> None:
    before = await world.bring(executor, "t", state)
    operation = OPERATIONS[name]
    answer, check = operation.cells[list(TimerState).index(state)]
    said, shown = await operation.ask(world, "t")
    after = await world.find("t")
    assert said == answer
    check(before, after)
    if shown is not None:
        assert shown == after


WRITES: dict[str, Callable[[World, Target], Awaitable[Answer]]] = {}


def write(
    function: Callable[[World, Target], Awaitable[Answer]],
) -> Callable[[World, Target], Awaitable[Answer]]:
    WRITES[function.__name__.removeprefix("try_")] = function
    return function


@write
async def try_update(world: World, target: Target) -> Answer:
    return (await world.store.update(world.group_id, target, TimerChange(payload=b"1"))).refusal


@write
async def try_delete(world: World, target: Target) -> Answer:
    return (await world.store.delete(world.group_id, [target], WhenRunning.REFUSE))[0].refusal


@write
async def try_run(world: World, target: Target) -> Answer:
    return (await world.store.run(world.group_id, [target]))[0].refusal


@write
async def try_redrive(world: World, target: Target) -> Answer:
    return (await world.store.redrive(world.group_id, [target]))[0].refusal


REFUSED_WHILE_RUNNING = {"update": "executing", "delete": "executing", "run": "executing", "redrive": "not-failed"}


@pytest.mark.parametrize("verb", WRITES)
class TestErrorOrder:
    async def test_what_is_not_there_is_not_found_whatever_the_version(self, world: World, verb: str) -> None:
        assert await WRITES[verb](world, Target("none", Version(1, 1))) is Refusal.NOT_FOUND

    @pytest.mark.parametrize("wrong", ["version", "uid", "none"])
    async def test_another_version_comes_before_the_state(
        self, world: World, executor: Executor, verb: str, wrong: str
    ) -> None:
        row = await world.bring(executor, "t", RUNNING)
        named = {
            "version": Version(row.uid, row.version - 1),
            "uid": Version(row.uid ^ 1, row.version),
            "none": Version(row.uid, 0),
        }[wrong]
        assert await WRITES[verb](world, Target("t", named)) is Refusal.VERSION_MISMATCH
        assert await world.row("t") == row

    async def test_the_present_version_lets_the_state_decide(self, world: World, executor: Executor, verb: str) -> None:
        row = await world.bring(executor, "t", RUNNING)
        answer = await WRITES[verb](world, Target("t", Version(row.uid, row.version)))
        assert answer == REFUSED_WHILE_RUNNING[verb]


@pytest.mark.parametrize("verb", ["update", "delete", "run"])
async def test_a_write_under_the_present_version_is_applied(world: World, verb: str) -> None:
    (row,) = await world.create("t", delay=LATER)
    assert await WRITES[verb](world, Target("t", Version(row.uid, row.version))) is None
    after = await world.find("t")
    assert after is None or after.version == row.version + 1


async def test_a_redrive_under_the_present_version_is_applied(world: World, executor: Executor) -> None:
    row = await world.bring(executor, "t", FAILED)
    assert await try_redrive(world, Target("t", Version(row.uid, row.version))) is None


OWNED = ManagedBy("uid-1", 1)


class TestManaged:
    @pytest.mark.parametrize("state", TimerState)
    async def test_rest_may_not_write_one(self, world: World, executor: Executor, state: TimerState) -> None:
        row = await world.bring(executor, "t", state, managed_by=OWNED)
        assert await try_update(world, Target("t")) is Refusal.MANAGED
        assert await try_delete(world, Target("t")) is Refusal.MANAGED
        (stop,) = await world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP)
        assert (stop.refusal, stop.timer) == (Refusal.MANAGED, row)
        (replace,) = await world.results(world.new("t", says="other"), if_exists=IfExists.REPLACE)
        assert (replace.status, replace.timer) == (CONFLICT, row)
        assert await world.row("t") == row

    async def test_another_version_comes_before_managed(self, world: World) -> None:
        await world.create("t", delay=LATER, managed_by=OWNED)
        assert await try_update(world, Target("t", Version(0, 0))) is Refusal.VERSION_MISMATCH
        assert await try_delete(world, Target("t", Version(0, 0))) is Refusal.VERSION_MISMATCH

    async def test_run_and_redrive_work(self, world: World, executor: Executor) -> None:
        await world.create("t", delay=LATER, managed_by=OWNED)
        assert await try_run(world, Target("t")) is None
        await executor.settle(await executor.take_one(), OutcomeKind.FAILED, attempt=1)
        assert await try_redrive(world, Target("t")) is None
        row = await world.row("t")
        assert (row.state, row.managed_by) == (PENDING, OWNED)

    async def test_the_operator_may_write_and_delete_one(self, world: World, executor: Executor) -> None:
        await world.create("t", delay=LATER, managed_by=OWNED)
        declared = (fingerprint("generation 2"), ManagedBy("uid-1", 2))
        result = await world.store.update(
            world.group_id, Target("t"), TimerChange(payload=b"2", declared=declared), managed=True
        )
        assert result.refusal is None
        row = await world.row("t")
        assert (row.fingerprint, row.managed_by, row.payload) == (*declared, b"2")
        (deleted,) = await world.store.delete(world.group_id, [Target("t")], WhenRunning.REFUSE, managed=True)
        assert deleted.status is DeleteStatus.DELETED
        assert await world.find("t") is None

    async def test_the_operator_stops_a_running_one(self, world: World, executor: Executor) -> None:
        await world.bring(executor, "t", RUNNING, managed_by=OWNED)
        (refused,) = await world.store.delete(world.group_id, [Target("t")], WhenRunning.REFUSE, managed=True)
        assert refused.refusal is Refusal.EXECUTING
        (stopping,) = await world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP, managed=True)
        assert stopping.status is DeleteStatus.STOPPING

    async def test_a_finished_one_declared_anew_fires_only_at_a_new_time(
        self, world: World, executor: Executor
    ) -> None:
        done = await world.bring(executor, "t", COMPLETED, managed_by=OWNED)
        declared = (fingerprint("generation 2"), ManagedBy("uid-1", 2))
        same_time = TimerChange(execute_at=done.execute_at, callback_url="http://edited.example/", declared=declared)
        await world.store.update(world.group_id, Target("t"), same_time, managed=True)
        row = await world.row("t")
        assert (row.state, row.occurrence, row.callback_url) == (COMPLETED, 1, "http://edited.example/")
        new_time = TimerChange(execute_at=done.execute_at + LATER, declared=declared)
        await world.store.update(world.group_id, Target("t"), new_time, managed=True)
        new_occurrence(row, await world.row("t"))

    @pytest.mark.parametrize("state", TimerState)
    async def test_one_that_is_released_is_an_ordinary_one(
        self, world: World, executor: Executor, state: TimerState
    ) -> None:
        before = await world.bring(executor, "t", state, managed_by=OWNED)
        change = TimerChange(declared=(before.fingerprint, None))
        assert (await world.store.update(world.group_id, Target("t"), change)).refusal is Refusal.MANAGED
        result = await world.store.update(world.group_id, Target("t"), change, managed=True)
        row = await world.row("t")
        assert (result.refusal, result.timer) == (None, row)
        assert row == replace(before, managed_by=None, version=before.version + 1, updated_at=row.updated_at)

    async def test_a_running_one_that_is_released_settles_as_ordinary_ones_do(
        self, world: World, executor: Executor
    ) -> None:
        await world.create("t", managed_by=OWNED)
        taken = await executor.take_one()
        change = TimerChange(declared=(fingerprint("t"), None))
        await world.store.update(world.group_id, Target("t"), change, managed=True)
        assert await executor.settle(taken, OutcomeKind.COMPLETED, attempt=1, forget=True)
        assert await world.find("t") is None

    async def test_nothing_else_is_written_with_a_release_while_it_runs(self, world: World, executor: Executor) -> None:
        before = await world.bring(executor, "t", RUNNING, managed_by=OWNED)
        change = TimerChange(payload=b"2", declared=(before.fingerprint, None))
        result = await world.store.update(world.group_id, Target("t"), change, managed=True)
        assert (result.refusal, result.timer) == (Refusal.EXECUTING, before)

    @pytest.mark.parametrize("state", [COMPLETED, FAILED])
    async def test_a_finished_schedule_is_not_revived_by_the_end_of_its_suspension(
        self, world: World, executor: Executor, state: TimerState
    ) -> None:
        row = await world.bring(executor, "t", state, managed_by=OWNED, schedule=Schedule("* * * * *"))
        for suspended in (True, False):
            change = TimerChange(suspended=suspended)
            result = await world.store.update(world.group_id, Target("t"), change, managed=True)
            assert result.timer is not None
            assert (result.timer.state, result.timer.executed_at) == (state, row.executed_at)
            assert result.timer.occurrence == row.occurrence


class TestRequests:
    async def test_a_run_request_acts_once(self, world: World, executor: Executor) -> None:
        await world.create("t", delay=LATER, managed_by=OWNED)
        (first,) = await world.store.run(world.group_id, [Target("t", request="at noon")])
        assert first.timer is not None
        assert first.timer.managed_by == ManagedBy("uid-1", 1, run_request="at noon")
        (again,) = await world.store.run(world.group_id, [Target("t", request="at noon")])
        assert (again.refusal, again.timer) == (None, first.timer)
        taken = await executor.take_one()
        (while_running,) = await world.store.run(world.group_id, [Target("t", request="at noon")])
        assert while_running.refusal is None
        (another,) = await world.store.run(world.group_id, [Target("t", request="at one")])
        assert another.refusal is Refusal.EXECUTING
        await executor.settle(taken, OutcomeKind.COMPLETED, attempt=1)
        (over,) = await world.store.run(world.group_id, [Target("t", request="at noon")])
        assert over.refusal is None

    async def test_a_redrive_request_acts_once_and_keeps_the_run_request(
        self, world: World, executor: Executor
    ) -> None:
        await world.bring(executor, "t", FAILED, managed_by=ManagedBy("uid-1", 1, run_request="at noon"))
        (first,) = await world.store.redrive(world.group_id, [Target("t", request="again")])
        assert first.timer is not None
        assert first.timer.managed_by == ManagedBy("uid-1", 1, "at noon", "again")
        await executor.settle(await executor.take_one(), OutcomeKind.FAILED, attempt=1)
        failed = await world.row("t")
        (again,) = await world.store.redrive(world.group_id, [Target("t", request="again")])
        assert (again.refusal, again.timer) == (None, failed)
        (another,) = await world.store.redrive(world.group_id, [Target("t", request="once more")])
        assert another.refusal is None
        new_occurrence(failed, await world.row("t"))

    async def test_an_unmanaged_timer_has_no_place_for_a_request_and_runs(self, world: World) -> None:
        await world.create("t", delay=LATER)
        for _ in range(2):
            (result,) = await world.store.run(world.group_id, [Target("t", request="at noon")])
            assert result.refusal is None
        assert (await world.row("t")).version == 3


class TestSuspended:
    async def test_a_suspended_timer_waits_and_runs_once_when_asked(self, world: World, executor: Executor) -> None:
        await world.create("t", suspended=True)
        assert (await executor.take()).timers == []
        assert await try_run(world, Target("t")) is None
        assert (await world.row("t")).suspended is Suspension.RUN_ONCE
        await executor.settle(await executor.take_one(), OutcomeKind.COMPLETED, attempt=1)
        assert (await world.row("t")).suspended is Suspension.SUSPENDED

    async def test_a_suspended_failed_timer_is_redriven_once(self, world: World, executor: Executor) -> None:
        await world.create("t", suspended=True)
        await try_run(world, Target("t"))
        await executor.settle(await executor.take_one(), OutcomeKind.FAILED, attempt=1)
        assert await try_redrive(world, Target("t")) is None
        row = await world.row("t")
        assert (row.suspended, row.state) == (Suspension.RUN_ONCE, PENDING)
        assert [taken.timer_id for taken in (await executor.take()).timers] == ["t"]

    async def test_a_run_over_again_stays_once_through_retries(self, world: World, executor: Executor) -> None:
        await world.create("t", suspended=True)
        await try_run(world, Target("t"))
        taken = await executor.take_one()
        await executor.settle(taken, OutcomeKind.RETRY, attempt=1, delay=timedelta(microseconds=1))
        assert (await world.row("t")).suspended is Suspension.RUN_ONCE


async def test_results_come_by_position(world: World, executor: Executor) -> None:
    await world.bring(executor, "failed", FAILED)
    await world.create("pending", delay=LATER)
    names = ["none", "failed", "pending"]
    runs = await world.store.run(world.group_id, [Target(name) for name in names])
    assert [result.refusal for result in runs] == [Refusal.NOT_FOUND, Refusal.FINISHED, None]
    redrives = await world.store.redrive(world.group_id, [Target(name) for name in names])
    assert [result.refusal for result in redrives] == [Refusal.NOT_FOUND, None, Refusal.NOT_FAILED]
    deletes = await world.store.delete(world.group_id, [Target(name) for name in names], WhenRunning.REFUSE)
    assert [result.refusal for result in deletes] == [Refusal.NOT_FOUND, None, None]
    assert await world.store.get(world.group_id, names) == [None, None, None]


async def test_a_timer_named_twice_in_one_call_does_no_harm(world: World) -> None:
    await world.create("t", "u", delay=LATER)
    runs = await world.store.run(world.group_id, [Target("t"), Target("u"), Target("t")])
    assert [result.refusal for result in runs] == [None] * 3
    first, other, _ = await world.store.delete(
        world.group_id, [Target("t"), Target("u"), Target("t")], WhenRunning.REFUSE
    )
    assert first.refusal is other.refusal is None
    assert await world.find("t") is await world.find("u") is None


async def test_other_groups_are_left_alone(world: World, other: World) -> None:
    await world.create("t", delay=LATER)
    await other.create("t", delay=LATER)
    await world.store.delete(world.group_id, [Target("t")], WhenRunning.REFUSE)
    assert await world.find("t") is None
    assert await other.find("t") is not None
