"""One timer, group or outcome that cannot be dealt with: it waits, told of, and everything else goes on."""

from collections.abc import Sequence
from typing import Any

import pytest

from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.timer import Schedule, TimerState
from durable_timer.stores.base import Taken
from tests.engine.conftest import Rig


async def test_a_row_that_cannot_be_read_waits_and_the_rest_fires(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.group()
    executor = await rig.start()
    take_due = executor._store.take_due

    async def with_fault(*arguments: Any) -> Taken:
        taken = await take_due(*arguments)
        for timer in taken.timers:
            if timer.timer_id == "poison":
                timer.fault = "ValueError: 'Future' is not a valid CallbackFormat"
        return taken

    monkeypatch.setattr(executor._store, "take_due", with_fault)
    await rig.create("poison")
    await rig.create("good")
    await rig.becomes("good", TimerState.COMPLETED)
    row = await rig.row_when("poison", lambda row: row.last_error and row.state is TimerState.PENDING)
    assert row.last_error == "UNREADABLE_ROW: ValueError: 'Future' is not a valid CallbackFormat"
    assert (row.attempt, len(rig.targets.sent)) == (0, 1)
    assert executor.healthy()


async def test_a_schedule_in_an_unknown_zone_waits_unsent(rig: Rig) -> None:
    await rig.group()
    await rig.start()
    await rig.create("poison", schedule=Schedule("* * * * *", time_zone="Mars/Olympus"))
    row = await rig.row_when("poison", lambda row: row.last_error and row.state is TimerState.PENDING)
    assert row.last_error is not None
    assert row.last_error.startswith("UNREADABLE_ROW: ZoneInfoNotFoundError")
    assert rig.targets.sent == []


async def test_an_outcome_that_cannot_be_written_is_put_off_and_the_others_are_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.group()
    executor = await rig.start()
    settle = executor._store.settle

    async def refusing(outcomes: Sequence[Outcome]) -> list[bool]:
        if any(o.timer_id == "poison" and o.kind is OutcomeKind.COMPLETED for o in outcomes):
            raise ValueError("cannot be encoded")
        return await settle(outcomes)

    monkeypatch.setattr(executor._store, "settle", refusing)
    for timer_id in ("poison", "good", "better"):
        await rig.create(timer_id)
    for timer_id in ("good", "better"):
        await rig.becomes(timer_id, TimerState.COMPLETED)
    row = await rig.row_when("poison", lambda row: row.last_error and row.state is TimerState.PENDING)
    assert row.last_error == "INTERNAL_ERROR"
    assert executor._holdings.count == 0


async def test_a_fault_in_dealing_with_a_timer_ends_no_worker(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.group()
    executor = await rig.start(slots=1)
    outcome = executor._delivering._outcome

    def broken(job: Any, *more: Any) -> Outcome:
        if job.timer.timer_id == "poison":
            raise RuntimeError("a fault")
        return outcome(job, *more)

    monkeypatch.setattr(executor._delivering, "_outcome", broken)
    await rig.create("poison")
    await rig.row_when("poison", lambda row: row.last_error == "INTERNAL_ERROR" and row.state is TimerState.PENDING)
    await rig.create("good")
    await rig.becomes("good", TimerState.COMPLETED)
