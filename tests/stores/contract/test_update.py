"""PUT and PATCH: one merge, new times, schedules, suspension."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.results import Refusal, Target
from durable_timer.models.timer import (
    CallbackFormat,
    CallbackMethod,
    Header,
    ManagedBy,
    Missed,
    RetryPolicy,
    Schedule,
    Suspension,
    Timer,
    TimerChange,
    TimerState,
)
from tests.stores.contract.world import LATER, SECOND, Executor, World, fingerprint

YEARLY = Schedule("0 0 1 1 *")
EACH_MINUTE = Schedule("* * * * *")


async def change(world: World, **fields: Any) -> Timer:
    result = await world.store.update(world.group_id, Target("t"), TimerChange(**fields))
    assert result.refusal is None
    row = await world.row("t")
    assert result.timer == row
    return row


def next_new_year(now: datetime) -> datetime:
    return now.replace(year=now.year + 1, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)


NEW_VALUES: dict[str, Any] = {
    "callback_url": "http://other.example/",
    "callback_method": CallbackMethod.GET,
    "callback_format": CallbackFormat.RAW,
    "headers": (Header("x-a", "b"),),
    "labels": {"a": "b"},
    "retry_policy": RetryPolicy(max_attempts=1),
    "callback_timeout": timedelta(seconds=9),
    "starting_deadline": timedelta(minutes=9),
}


class TestMerge:
    @pytest.mark.parametrize("name", NEW_VALUES)
    async def test_one_field_changes_and_the_others_keep(self, world: World, name: str) -> None:
        (before,) = await world.create(
            "t", delay=LATER, payload=b"{}", labels={"k": "v"}, callback_method=CallbackMethod.PUT
        )
        row = await change(world, **{name: NEW_VALUES[name]})
        assert getattr(row, name) == NEW_VALUES[name]
        expected = {field: getattr(before, field) for field in NEW_VALUES if field != name}
        assert {field: getattr(row, field) for field in NEW_VALUES if field != name} == expected
        assert (row.version, row.occurrence, row.payload) == (2, 1, b"{}")
        assert (row.execute_at, row.due_at, row.fingerprint) == (before.execute_at, before.due_at, before.fingerprint)

    async def test_none_restores_the_default(self, world: World) -> None:
        await world.create("t", delay=LATER, payload=b"x", content_type="text/plain", **NEW_VALUES)
        names = [name for name in NEW_VALUES if name not in {"callback_url", "headers"}]
        row = await change(world, payload=None, content_type=None, headers=(), **dict.fromkeys(names, None))
        assert (row.payload, row.content_type, row.headers) == (None, None, ())
        assert [getattr(row, name) or None for name in names] == [None] * len(names)

    async def test_a_payload_of_null_is_a_payload(self, world: World) -> None:
        await world.create("t", delay=LATER)
        assert (await change(world, payload=b"null", content_type=None)).payload == b"null"

    async def test_what_changes_nothing_writes_nothing(self, world: World) -> None:
        (before,) = await world.create("t", delay=LATER, labels={"a": "b"}, payload=b"{}")
        same = {"execute_at": before.execute_at, "labels": {"a": "b"}, "payload": b"{}", "suspended": False}
        assert await change(world, **same) == before
        assert await change(world) == before

    async def test_a_declaration_writes_fingerprint_and_generation_at_once(self, world: World) -> None:
        await world.create("t", delay=LATER)
        declared = (fingerprint("declared"), ManagedBy("uid-1", 1))
        result = await world.store.update(world.group_id, Target("t"), TimerChange(declared=declared), managed=True)
        assert result.timer is not None
        assert (result.timer.fingerprint, result.timer.managed_by) == declared


class TestTime:
    async def test_a_new_time_is_a_new_occurrence(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await executor.settle(await executor.take_one(), OutcomeKind.RETRY, attempt=1, delay=LATER, last_error="no")
        at = await world.store.now() + LATER * 2
        row = await change(world, execute_at=at)
        assert (row.execute_at, row.due_at, row.occurrence) == (at, at, 2)
        assert (row.attempt, row.first_attempt_at, row.taken_at, row.last_error) == (0, None, None, "no")

    async def test_the_present_time_keeps_a_retry_waiting(self, world: World, executor: Executor) -> None:
        (before,) = await world.create("t")
        await executor.settle(await executor.take_one(), OutcomeKind.RETRY, attempt=1, delay=LATER)
        waiting = await world.row("t")
        assert await change(world, execute_at=before.execute_at) == waiting

    async def test_the_old_time_does_not_fire(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await change(world, delay=LATER)
        assert (await executor.take()).timers == []

    async def test_a_time_in_the_past_is_due_now(self, world: World, executor: Executor) -> None:
        await world.create("t", delay=LATER)
        past = await world.store.now() - LATER
        row = await change(world, execute_at=past)
        assert row.execute_at == past
        assert row.due_at == row.updated_at > past
        assert (await executor.take_one()).timer_id == "t"

    async def test_a_delay_is_added_to_the_stores_clock(self, world: World) -> None:
        await world.create("t", delay=LATER)
        row = await change(world, delay=SECOND * 90)
        assert row.execute_at == row.due_at == row.updated_at + SECOND * 90


class TestSchedule:
    async def test_a_new_schedule_begins_after_now(self, world: World) -> None:
        await world.create("t", delay=LATER)
        row = await change(world, schedule=YEARLY)
        assert (row.schedule, row.occurrence) == (YEARLY, 2)
        assert row.execute_at == row.due_at == next_new_year(row.updated_at)

    async def test_the_same_schedule_is_none(self, world: World) -> None:
        (before,) = await world.create("t", delay=LATER, schedule=YEARLY)
        assert await change(world, schedule=YEARLY) == before

    async def test_a_time_put_on_a_schedule_moves_this_occurrence(self, world: World) -> None:
        await world.create("t", delay=LATER, schedule=YEARLY)
        row = await change(world, delay=LATER * 2)
        assert row.schedule == YEARLY
        assert row.execute_at == row.updated_at + LATER * 2

    async def test_without_its_schedule_it_is_a_one_shot(self, world: World) -> None:
        (before,) = await world.create("t", delay=LATER, schedule=YEARLY)
        row = await change(world, schedule=None)
        assert (row.schedule, row.execute_at, row.occurrence) == (None, before.execute_at, 1)

    async def test_one_with_nothing_left_completes(self, world: World) -> None:
        await world.create("t", delay=LATER)
        over = Schedule("* * * * *", end_at=await world.store.now() - LATER)
        row = await change(world, schedule=over)
        assert row.state is TimerState.COMPLETED
        assert row.executed_at == row.updated_at

    async def test_run_makes_a_new_occurrence_now(self, world: World, executor: Executor) -> None:
        await world.create("t", delay=LATER, schedule=YEARLY)
        (result,) = await world.store.run(world.group_id, [Target("t")])
        row = await world.row("t")
        assert result.timer == row
        assert (row.occurrence, row.schedule) == (2, YEARLY)
        assert row.execute_at == row.due_at == row.updated_at
        assert (await executor.take_one()).occurrence == 2

    async def test_skip_brings_its_deadline_and_takes_it_away(self, world: World) -> None:
        await world.create("t", delay=LATER)
        skipping = Schedule("0 0 1 1 *", missed=Missed.SKIP)
        assert (await change(world, schedule=skipping)).starting_deadline == timedelta(minutes=1)
        assert (await change(world, schedule=YEARLY)).starting_deadline is None


class TestSuspension:
    async def test_a_suspended_timer_keeps_its_time(self, world: World, executor: Executor) -> None:
        (before,) = await world.create("t")
        row = await change(world, suspended=True)
        assert (row.suspended, row.execute_at, row.occurrence) == (Suspension.SUSPENDED, before.execute_at, 1)
        assert (await executor.take()).timers == []

    async def test_a_one_shot_past_its_time_fires_when_let_go(self, world: World, executor: Executor) -> None:
        (before,) = await world.create("t", suspended=True)
        row = await change(world, suspended=False)
        assert (row.suspended, row.execute_at, row.occurrence) == (Suspension.NONE, before.execute_at, 1)
        assert row.due_at == row.updated_at
        assert (await executor.take_one()).timer_id == "t"

    async def test_a_one_shot_before_its_time_waits_on(self, world: World) -> None:
        (before,) = await world.create("t", suspended=True, delay=LATER)
        row = await change(world, suspended=False)
        assert (row.suspended, row.due_at) == (Suspension.NONE, before.due_at)

    async def test_a_schedule_goes_on_after_now(self, world: World) -> None:
        past = await world.store.now() - LATER
        await world.create("t", suspended=True, execute_at=past, schedule=YEARLY)
        row = await change(world, suspended=False)
        assert (row.suspended, row.occurrence) == (Suspension.NONE, 2)
        assert row.execute_at == row.due_at == next_new_year(row.updated_at)

    async def test_let_go_and_moved_in_one_write(self, world: World) -> None:
        await world.create("t", suspended=True)
        row = await change(world, suspended=False, delay=LATER)
        assert (row.suspended, row.due_at) == (Suspension.NONE, row.updated_at + LATER)

    async def test_moving_a_suspended_timer_leaves_it_suspended(self, world: World, executor: Executor) -> None:
        await world.create("t", suspended=True, delay=LATER)
        row = await change(world, execute_at=await world.store.now() - LATER)
        assert row.suspended is Suspension.SUSPENDED
        assert (await executor.take()).timers == []

    async def test_a_run_once_is_let_go_as_it_stands(self, world: World, executor: Executor) -> None:
        await world.create("t", suspended=True, schedule=EACH_MINUTE)
        await world.store.run(world.group_id, [Target("t")])
        row = await change(world, suspended=False)
        assert (row.suspended, row.occurrence) == (Suspension.NONE, 2)
        assert (await executor.take_one()).timer_id == "t"


async def test_only_the_operator_writes_a_finished_timer(world: World, executor: Executor) -> None:
    await world.bring(executor, "t", TimerState.COMPLETED)
    refused = await world.store.update(world.group_id, Target("t"), TimerChange(callback_url="http://other.example/"))
    assert refused.refusal is Refusal.FINISHED
    written = await world.store.update(
        world.group_id, Target("t"), TimerChange(callback_url="http://other.example/"), managed=True
    )
    assert written.refusal is None
    row = await world.row("t")
    assert (row.state, row.callback_url) == (TimerState.COMPLETED, "http://other.example/")
