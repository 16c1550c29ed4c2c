"""From what a target answered to what is settled."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import assert_never

from durable_timer.engine.groups import GroupRuntime
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.timer import LastOutcome, TakenTimer
from durable_timer.planning.answers import Again, Done, Failed, Retry, Verdict
from durable_timer.planning.retry import effective_policy, retry_delay
from durable_timer.planning.schedule import after_run

DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
"""`lastError` of an occurrence that was first taken later than its starting deadline."""


def deadline_outcome(timer: TakenTimer, group: GroupRuntime, now: datetime) -> Outcome:
    """What becomes of a timer that is too late to be sent. `now` is the store's."""
    if timer.schedule is not None:
        return _over(timer, group, now, LastOutcome.MISSED, timer.attempt, DEADLINE_EXCEEDED, None, ends=False)
    return _over(timer, group, now, LastOutcome.FAILED, timer.attempt, DEADLINE_EXCEEDED, None, ends=True)


def attempt_outcome(
    timer: TakenTimer,
    group: GroupRuntime,
    verdict: Verdict,
    status: int | None,
    *,
    now: datetime,
    began: float,
    age: float,
    rng: random.Random,
) -> Outcome:
    """What becomes of a timer after an attempt.

    `now`: the store's time, as well as it is known. `began`: seconds since this attempt was sent. `age`: seconds since
    the occurrence's first attempt was.
    """
    attempt = timer.attempt + 1
    match verdict:
        case Done():
            outcome = _over(timer, group, now, LastOutcome.COMPLETED, attempt, None, status, ends=False)
        case Again(at):
            outcome = _outcome(timer, OutcomeKind.NEXT, attempt, None, status)
            outcome.at, outcome.last_outcome = at, LastOutcome.COMPLETED
        case Failed(error, ends_schedule):
            outcome = _over(timer, group, now, LastOutcome.FAILED, attempt, error, status, ends=ends_schedule)
        case Retry(error, retry_after):
            policy = (
                group.policy
                if timer.retry_policy is None
                else effective_policy(group.spec.retry_policy, timer.retry_policy)
            )
            delay = retry_delay(policy, attempt, age, retry_after, rng)
            if delay is None:
                outcome = _over(timer, group, now, LastOutcome.FAILED, attempt, error, status, ends=False)
            else:
                outcome = _outcome(timer, OutcomeKind.RETRY, attempt, error, status)
                outcome.delay = delay
        case _:
            assert_never(verdict)
    outcome.began = timedelta(seconds=began)
    return outcome


def _over(
    timer: TakenTimer,
    group: GroupRuntime,
    now: datetime,
    last: LastOutcome,
    attempt: int,
    error: str | None,
    status: int | None,
    *,
    ends: bool,
) -> Outcome:
    """The occurrence's end: the schedule's next one, or the end of the timer."""
    following = after_run(timer.schedule, timer.execute_at, now) if timer.schedule is not None and not ends else None
    if following is not None:
        outcome = _outcome(timer, OutcomeKind.NEXT, attempt, error, status)
        outcome.at, outcome.last_outcome = following, last
        return outcome
    failed = last is LastOutcome.FAILED
    outcome = _outcome(timer, OutcomeKind.FAILED if failed else OutcomeKind.COMPLETED, attempt, error, status)
    outcome.last_outcome = last
    outcome.forget = not failed and not group.spec.retention.completed
    return outcome


def _outcome(timer: TakenTimer, kind: OutcomeKind, attempt: int, error: str | None, status: int | None) -> Outcome:
    return Outcome(timer.group_id, timer.timer_id, timer.run, kind, attempt, last_error=error, last_status=status)
