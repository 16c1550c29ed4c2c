"""When timers fire, and when they do not: due times, pause, suspension, deadlines, schedules, Secrets, retention."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from durable_timer.errors import StoreUnavailable
from durable_timer.models.group import GroupState
from durable_timer.models.results import Target, WhenRunning
from durable_timer.models.timer import Header, LastOutcome, Missed, Schedule, SecretRef, TimerChange, TimerState
from durable_timer.planning.answers import Answer
from durable_timer.stores.base import Taken
from tests.engine.conftest import Rig
from tests.support.waiting import eventually


async def test_never_early_and_soon(rig: Rig) -> None:
    loop = asyncio.get_running_loop()
    await rig.group()
    await rig.start()
    now, at = await rig.store.now(), loop.time()
    for number in range(100):
        await rig.create(f"t{number}", f"http://target/{number}", execute_at=now + timedelta(milliseconds=10 * number))
    await eventually(lambda: len(rig.targets.sent) == 100)
    late = {int(r.url.rsplit("/", 1)[1]): sent - at for sent, r in rig.targets.sent}
    assert all(late[number] >= number / 100 - 0.001 for number in range(100))
    assert all(late[number] <= number / 100 + 0.5 for number in range(100))


async def test_what_a_wake_up_forgot_is_found_by_the_probe(rig: Rig) -> None:
    await rig.group()
    await rig.start()
    rig.store.database._listeners.clear()
    await rig.create("a")
    await rig.becomes("a", TimerState.COMPLETED, 5)


async def test_a_paused_group_gives_back_and_fires_when_it_goes_on(rig: Rig) -> None:
    await rig.group()
    executor = await rig.start(look_ahead=timedelta(seconds=5))
    await rig.create("near", in_seconds=4.5)
    await rig.becomes("near", TimerState.RUNNING)
    await rig.group(paused=True)
    row = await rig.becomes("near", TimerState.PENDING)
    assert (row.attempt, row.occurrence, row.due_at) == (0, 1, row.execute_at)
    await rig.create("later")
    await asyncio.sleep(5)
    assert rig.targets.sent == []
    assert executor._holdings.count == 0
    await rig.group(paused=False)
    for timer_id in ("near", "later"):
        await rig.becomes(timer_id, TimerState.COMPLETED)


async def test_a_deleted_group_is_let_go_and_taken_up_again(rig: Rig) -> None:
    await rig.group()
    executor = await rig.start()
    await rig.store.set_group_state("g", "file:g", GroupState.DELETED)
    await eventually(lambda: not rig.owned(executor))
    await rig.create("a")
    await asyncio.sleep(1.2)
    assert rig.targets.sent == []
    await rig.group()
    await rig.becomes("a", TimerState.COMPLETED)


async def test_a_suspended_timer_waits_and_can_run_once(rig: Rig) -> None:
    await rig.group()
    await rig.start()
    await rig.create("a", suspended=True, schedule=Schedule("0 0 1 1 *"))
    await asyncio.sleep(1.2)
    assert rig.targets.sent == []
    await rig.store.run("g", [Target("a")])
    await eventually(lambda: len(rig.targets.sent) == 1)
    row = await rig.row_when("a", lambda row: row.occurrence == 3)
    assert row.state is TimerState.PENDING
    assert row.suspended


async def test_a_one_shot_past_its_deadline_fails_unsent(rig: Rig) -> None:
    await rig.group()
    await rig.create("a", in_seconds=-10, starting_deadline=timedelta(seconds=5))
    await rig.create("b", in_seconds=-10, starting_deadline=timedelta(hours=5))
    await rig.start()
    row = await rig.becomes("a", TimerState.FAILED)
    assert (row.last_error, row.attempt) == ("DEADLINE_EXCEEDED", 0)
    await rig.becomes("b", TimerState.COMPLETED)
    assert len(rig.targets.sent) == 1


@pytest.mark.parametrize("missed", list(Missed))
async def test_after_downtime_a_schedule_catches_up_once_or_not_at_all(rig: Rig, missed: Missed) -> None:
    await rig.group()
    deadline = timedelta(minutes=1) if missed is Missed.SKIP else None
    schedule = Schedule("0 0 1 1 *", missed=missed)
    await rig.create("a", in_seconds=-3600, schedule=schedule, starting_deadline=deadline)
    await rig.start()
    row = await rig.row_when("a", lambda row: row.occurrence == 2)
    assert row.execute_at > await rig.store.now()
    assert len(rig.targets.sent) == (missed is Missed.RUN)
    assert row.last_outcome is (LastOutcome.COMPLETED if missed is Missed.RUN else LastOutcome.MISSED)


async def test_a_schedule_ends_with_its_last_occurrence(rig: Rig) -> None:
    await rig.group()
    end = await rig.store.now() + timedelta(seconds=1)
    await rig.create("a", schedule=Schedule("0 0 1 1 *", end_at=end))
    await rig.start()
    assert (await rig.becomes("a", TimerState.COMPLETED)).occurrence == 1


async def test_a_timer_whose_secret_is_missing_waits_uncounted(rig: Rig) -> None:
    await rig.group()
    await rig.start()
    await rig.create("a", headers=(Header("authorization", SecretRef("tokens", "api")), Header("x-plain", "1")))
    row = await rig.row_when("a", lambda row: row.last_error and row.state is TimerState.PENDING)
    assert (row.attempt, row.last_error) == (0, "SECRET_UNAVAILABLE")
    assert row.due_at - await rig.store.now() > timedelta(seconds=2)
    rig.secrets.values[None, "tokens", "api"] = b"s3cret\n"
    await rig.store.run("g", [Target("a")])
    await rig.becomes("a", TimerState.COMPLETED)
    assert ("authorization", "s3cret") in rig.targets.sent[0][1].headers
    assert ("x-plain", "1") in rig.targets.sent[0][1].headers


async def test_a_group_that_signs_is_not_taken_before_its_secret_was_read(rig: Rig) -> None:
    await rig.group(callback={"signing": {"secretRefs": [{"name": "s", "key": "k"}]}})
    await rig.start()
    await rig.create("a")
    await asyncio.sleep(1.2)
    assert rig.targets.sent == []
    rig.secrets.values[None, "s", "k"] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    await rig.becomes("a", TimerState.COMPLETED)
    assert "webhook-signature" in dict(rig.targets.sent[0][1].headers)
    del rig.secrets.values[None, "s", "k"]
    await rig.create("b")
    await rig.becomes("b", TimerState.COMPLETED)


async def test_retention(rig: Rig) -> None:
    await rig.group(retention={"completed": "0s", "failed": "1h"})
    await rig.start(retention_interval=0.1)
    await rig.create("gone")
    await eventually(lambda: _absent(rig, "gone"))
    await rig.group(retention={"completed": "1s", "failed": "1h"})
    await asyncio.sleep(1.2)
    await rig.create("kept")
    await rig.becomes("kept", TimerState.COMPLETED)
    await eventually(lambda: _absent(rig, "kept"))


async def _absent(rig: Rig, timer_id: str) -> bool:
    return await rig.row(timer_id) is None


async def test_stopping_a_running_timer_lets_the_delivery_end_and_nothing_follow(rig: Rig) -> None:
    answered = asyncio.Event()

    async def slow(request: object) -> Answer:
        await answered.wait()
        return Answer(500)

    rig.targets.by_host["slow"] = slow
    await rig.group()
    await rig.start()
    await rig.create("a", "http://slow/x", schedule=Schedule("* * * * *"))
    await eventually(lambda: rig.targets.under_way)
    await rig.store.delete("g", [Target("a")], WhenRunning.STOP)
    answered.set()
    await eventually(lambda: _absent(rig, "a"))
    assert len(rig.targets.sent) == 1


async def test_a_rescheduled_timer_fires_at_its_new_time_only(rig: Rig) -> None:
    await rig.group()
    await rig.start()
    await rig.create("a", in_seconds=0.6)
    await rig.store.update("g", Target("a"), TimerChange(execute_at=await rig.store.now() + timedelta(seconds=1.5)))
    await asyncio.sleep(1.0)
    assert rig.targets.sent == []
    await rig.becomes("a", TimerState.COMPLETED)
    assert len(rig.targets.sent) == 1


async def test_what_a_pause_held_up_is_not_called_late(rig: Rig) -> None:
    await rig.group()
    executor = await rig.start()
    await rig.create("prompt")
    await rig.becomes("prompt", TimerState.COMPLETED)
    await rig.group(paused=True)
    await eventually(lambda: executor._book.groups["g"].fires is False)
    await rig.create("held")
    await asyncio.sleep(1)
    await rig.group(paused=False)
    await rig.becomes("held", TimerState.COMPLETED)
    window = executor._book.groups["g"].lateness
    assert sum(sum(counts) for _, counts in window._slices) == 1


async def test_a_pause_while_outcomes_cannot_be_written_leaves_the_loops_turning(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.group()
    executor = await rig.start(look_ahead=timedelta(seconds=30))
    await rig.create("near", in_seconds=25)
    await rig.becomes("near", TimerState.RUNNING)

    async def refused(*_: object) -> list[bool]:
        raise StoreUnavailable("a settle that fails")

    monkeypatch.setattr(executor._store, "settle", refused)
    await rig.group(paused=True)
    await eventually(lambda: executor._book.groups["g"].fires is False)
    turned = executor._upkeep.turned_at
    await eventually(lambda: executor._upkeep.turned_at > turned + 1)


async def test_with_other_secrets_a_group_waits_for_them(rig: Rig) -> None:
    rig.secrets.values[None, "s", "k"] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    await rig.group(callback={"signing": {"secretRefs": [{"name": "s", "key": "k"}]}})
    executor = await rig.start()
    await eventually(lambda: executor._book.groups["g"].fires)
    await rig.group(callback={"signing": {"secretRefs": [{"name": "other", "key": "k"}]}})
    await eventually(lambda: not executor._book.groups["g"].fires)


async def test_run_counts_whatever_the_starting_deadline(rig: Rig) -> None:
    await rig.group()
    await rig.start()
    await rig.create("a", in_seconds=-10, suspended=True, starting_deadline=timedelta(seconds=5))
    await rig.store.run("g", [Target("a")])
    await rig.becomes("a", TimerState.COMPLETED)


async def test_a_take_that_is_answered_after_its_groups_pause_is_given_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.group()
    executor = await rig.start()
    store, group = executor._taking._store, executor._book.groups["g"]
    take_due = store.take_due

    async def slow(*asked: Any) -> Taken:
        taken = await take_due(*asked)
        if taken.timers:
            monkeypatch.undo()
            await rig.group(paused=True)
            await eventually(lambda: not group.fires)
        return taken

    monkeypatch.setattr(store, "take_due", slow)
    await rig.create("t1")
    row = await rig.row_when("t1", lambda row: row.state is TimerState.PENDING and row.version > 1)
    assert (row.attempt, rig.targets.sent) == (0, [])
    await rig.group(paused=False)
    await rig.becomes("t1", TimerState.COMPLETED)
