"""The table of callback answers, from the answer to the row."""

from datetime import timedelta

import pytest

from durable_timer.models.instants import format_instant
from durable_timer.models.timer import LastOutcome, Schedule, TimerState
from durable_timer.planning.answers import Answer, BodyEnd, NoAnswer, SendError
from tests.engine.conftest import Rig, answering

DONE, FAILED, RETRY = "done", "failed", "retry"

TABLE = [
    (Answer(200, b'{"ok":true}'), DONE),
    (Answer(204), DONE),
    (Answer(299, b"thanks"), DONE),
    (Answer(200, b'{"ok":false, "oh'), DONE),
    (Answer(200, b"[false]"), DONE),
    (Answer(200, b'{"ok": false' + b" " * 100, BodyEnd.OVER_LONG), DONE),
    (Answer(200, b'{"ok":tr', BodyEnd.BROKEN_OFF), RETRY),
    (Answer(200, b'{"ok":false}'), RETRY),
    (Answer(200, b'{"ok":false,"nextExecuteAt":"tomorrow"}'), RETRY),
    (Answer(408), RETRY),
    (Answer(425), RETRY),
    (Answer(429), RETRY),
    (Answer(500, b"down"), RETRY),
    (Answer(503, retry_after="1"), RETRY),
    (Answer(599), RETRY),
    (NoAnswer(SendError.TIMEOUT), RETRY),
    (NoAnswer(SendError.NO_CONNECTION, "refused"), RETRY),
    (NoAnswer(SendError.TARGET_DENIED), FAILED),
    (NoAnswer(SendError.INVALID_REQUEST), FAILED),
    (Answer(301), FAILED),
    (Answer(304), FAILED),
    (Answer(400, b"no such order"), FAILED),
    (Answer(404), FAILED),
    (Answer(410), FAILED),
]


@pytest.mark.parametrize(("answer", "expected"), TABLE, ids=str)
async def test_each_answer_has_its_outcome(rig: Rig, answer: Answer | NoAnswer, expected: str) -> None:
    rig.targets.by_host["target"] = answering(answer)
    await rig.group(retryPolicy={"initialInterval": "1h", "maxInterval": "1h"})
    await rig.start()
    await rig.create("a")
    if expected == RETRY:
        row = await rig.row_when("a", lambda row: row.attempt)
        assert row.state is TimerState.PENDING
        assert row.attempt == 1
        assert row.first_attempt_at is not None
        assert row.due_at > row.execute_at
        assert row.last_error
    else:
        row = await rig.becomes("a", TimerState.COMPLETED if expected == DONE else TimerState.FAILED)
        assert row.attempt == 1
        assert row.last_outcome is (LastOutcome.COMPLETED if expected == DONE else LastOutcome.FAILED)
        assert (row.last_error is None) == (expected == DONE)
    assert row.last_status == (answer.status if isinstance(answer, Answer) else None)
    assert len(rig.targets.sent) == 1


async def test_a_target_can_ask_for_another_occurrence(rig: Rig) -> None:
    await rig.group()
    await rig.start()
    at = await rig.store.now() + timedelta(hours=3)
    body = b'{"ok":false,"nextExecuteAt":"%b"}' % format_instant(at).encode()
    rig.targets.by_host["target"] = answering(Answer(200, body))
    await rig.create("a")
    row = await rig.row_when("a", lambda row: row.occurrence > 1)
    assert (row.state, row.occurrence, row.attempt, row.execute_at) == (TimerState.PENDING, 2, 0, at)


async def test_an_occurrence_asked_for_in_the_past_comes_in_a_second(rig: Rig) -> None:
    rig.targets.by_host["target"] = answering(
        Answer(200, b'{"ok":false,"nextExecuteAt":"2001-01-01T00:00:00Z"}'), Answer(200)
    )
    await rig.group()
    await rig.start()
    await rig.create("a")
    await rig.becomes("a", TimerState.COMPLETED)
    (first, _), (second, _) = rig.targets.sent
    assert second - first >= 0.99


@pytest.mark.parametrize(("status", "goes_on"), [(404, True), (500, True), (410, False)])
async def test_a_schedule_goes_on_after_a_failure_but_not_after_gone(rig: Rig, status: int, goes_on: bool) -> None:
    rig.targets.by_host["target"] = answering(Answer(status, b"why"))
    await rig.group(retryPolicy={"maxAttempts": 1})
    await rig.start()
    await rig.create("a", schedule=Schedule("0 0 1 1 *"))
    if goes_on:
        row = await rig.row_when("a", lambda row: row.occurrence > 1)
        assert row.state is TimerState.PENDING
        assert (row.execute_at.month, row.execute_at.day, row.execute_at.hour) == (1, 1, 0)
        assert row.last_error == f"HTTP {status}: why"
        assert row.last_outcome is LastOutcome.FAILED
    else:
        assert (await rig.becomes("a", TimerState.FAILED)).occurrence == 1


async def test_a_policy_ends(rig: Rig) -> None:
    rig.targets.by_host["target"] = answering(Answer(500))
    await rig.group(retryPolicy={"maxAttempts": 3, "initialInterval": "100ms", "maxInterval": "100ms"})
    await rig.start()
    await rig.create("a")
    row = await rig.becomes("a", TimerState.FAILED)
    assert row.attempt == 3
    assert [b'"attempt":%d' % n in request.body for n, (_, request) in enumerate(rig.targets.sent, 1)] == [True] * 3


async def test_retry_after_is_waited_for(rig: Rig) -> None:
    rig.targets.by_host["target"] = answering(Answer(503, retry_after="1"), Answer(200))
    await rig.group(retryPolicy={"initialInterval": "100ms"})
    await rig.start()
    await rig.create("a")
    await rig.becomes("a", TimerState.COMPLETED)
    (first, _), (second, _) = rig.targets.sent
    assert second - first >= 0.99


async def test_a_fault_of_our_own_costs_one_attempt_and_not_the_engine(rig: Rig) -> None:
    async def broken(request: object) -> Answer:
        raise RuntimeError("a fault")

    rig.targets.by_host["broken"] = broken
    await rig.group(retryPolicy={"maxAttempts": 1})
    executor = await rig.start()
    await rig.create("a", "http://broken/x")
    assert (await rig.becomes("a", TimerState.FAILED)).last_error == "INTERNAL_ERROR"
    await rig.create("b")
    await rig.becomes("b", TimerState.COMPLETED)
    assert executor.healthy()


async def test_what_this_machine_lacks_is_not_the_targets_failure(rig: Rig) -> None:
    rig.targets.by_host["target"] = answering(NoAnswer(SendError.NO_RESOURCES, "Too many open files"), Answer(200))
    await rig.group()
    await rig.start()
    await rig.create("a")
    row = await rig.becomes("a", TimerState.COMPLETED)
    assert (row.attempt, len(rig.targets.sent)) == (1, 2)
