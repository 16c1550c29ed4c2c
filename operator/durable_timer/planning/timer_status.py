"""What is shown of a Timer resource: its status, out of its row and of what was decided about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, assert_never

from durable_timer.models.status import Condition, ConditionStatus, ConditionType, TimerReason, TimerStatus
from durable_timer.models.timer import LastOutcome, Suspension, Timer, TimerState
from durable_timer.planning.conditions import Finding, News, conditions, false, news, true
from durable_timer.planning.declaration import Outdated, Ready, Situation, Stalled, Verdict, Waiting

_LOOK_AFTER: Final = timedelta(seconds=1)
"""How long after it was due a row is looked at for its outcome, and how soon again what is under way."""

_LOOK_AHEAD: Final = timedelta(minutes=2)
"""A row that is due later than this is left to the comparison of all rows, which finds it when it is nearer."""

_LOOK_UNTIL: Final = timedelta(minutes=1)
"""A row that is due for longer than this (of a paused group, say) is left to the comparison of all rows."""


_PASSING: Final = frozenset({
    TimerReason.GROUP_NOT_FOUND,
    TimerReason.GROUP_NOT_READY,
    TimerReason.PROGRESSING,
    TimerReason.RUNNING,
    TimerReason.STORE_UNREACHABLE,
})  # fmt: skip


def timer_status(now: Situation, verdict: Ready | Waiting | Stalled, at: datetime) -> TimerStatus:
    """The whole status; what is not known now (without a row, without a group) stays as it was.

    `at` is the time that new conditions begin, in the operator's clock.
    """
    row, before = now.row, now.status
    known = before if row is None else _of_row(row, before, now.resource.uid)
    unknown = isinstance(verdict, Waiting) and verdict.reason is TimerReason.STORE_UNREACHABLE
    return known.model_copy(
        update={
            "observed_generation": now.resource.generation,
            "timer_id": now.timer_id,
            "group_id": before.group_id if now.group is None else now.group.group_id,
            "next_run_time": _next_run(row) if row is not None else before.next_run_time if unknown else None,
            "conditions": conditions(before.conditions, _findings(now, verdict), now.resource.generation, at),
        }
    )


def is_declared(status: TimerStatus, generation: int) -> bool:
    """Whether the status says that this generation is declared."""
    ready = any(
        known.type == ConditionType.READY.value and known.status is ConditionStatus.TRUE for known in status.conditions
    )
    return ready and status.observed_generation == generation


def look_again(now: Situation, verdict: Verdict) -> timedelta | None:
    """When the status is to follow what the row has become meanwhile; None when that is far away, or a change needs it.

    What is overdue is looked at after as long as it has been overdue, so a long delivery costs a few looks.
    """
    if isinstance(verdict, Outdated | Stalled) or now.row is None:
        return None
    if isinstance(verdict, Waiting):
        return _LOOK_AFTER if verdict.reason is TimerReason.RUNNING else None
    if verdict.busy:
        return _LOOK_AFTER
    waits = now.row.state is TimerState.RUNNING or _is_queued(now.row)
    overdue = now.now - now.row.due_at
    if not waits or not -_LOOK_AHEAD <= overdue <= _LOOK_UNTIL:
        return None
    return max(_LOOK_AFTER, abs(overdue)) if overdue >= timedelta(0) else _LOOK_AFTER - overdue


def timer_news(before: Sequence[Condition], current: Sequence[Condition]) -> list[News]:
    """The Events about what changed: that it stalls and goes on again, that its runs fail and succeed again.

    A Timer that is declared at its first look is no news, nor one that waits: there may be ten thousand.
    """
    known = {condition.type for condition in before}
    quiet = set(_PASSING)
    if ConditionType.STALLED not in known:
        quiet.add(TimerReason.DECLARED)
    if ConditionType.LAST_RUN_SUCCEEDED not in known:
        quiet.add(TimerReason.SUCCEEDED)
    return news(before, current, (ConditionType.READY, ConditionType.LAST_RUN_SUCCEEDED), quiet)


def _of_row(row: Timer, before: TimerStatus, uid: str) -> TimerStatus:
    managed = row.managed_by
    mine = managed is not None and managed.uid == uid
    return before.model_copy(
        update={
            "declared_generation": managed.generation if managed is not None and mine else before.declared_generation,
            "state": row.state.value,
            "last_run_time": row.last_run_at,
            "last_outcome": None if row.last_outcome is None else row.last_outcome.value,
            "last_error": row.last_error,
            "last_run_request": before.last_run_request if managed is None else managed.run_request,
            "last_redrive_request": before.last_redrive_request if managed is None else managed.redrive_request,
        }
    )


def _next_run(row: Timer) -> datetime | None:
    """The occurrence's time, or the next attempt's once there was one."""
    if not _is_queued(row):
        return None
    return row.due_at if row.attempt else row.execute_at


def _is_queued(row: Timer) -> bool:
    return row.state is TimerState.PENDING and row.suspended is not Suspension.SUSPENDED


def _findings(now: Situation, verdict: Ready | Waiting | Stalled) -> list[Finding]:
    findings = _readiness(verdict)
    if now.row is not None and now.row.suspended is not Suspension.NONE:
        findings.append(true(ConditionType.SUSPENDED, TimerReason.SUSPENDED, "spec.suspend is true: it does not fire"))
    if now.row is not None and now.row.last_outcome is not None:
        findings.append(_last_run(now.row.last_outcome, now.row.last_error))
    elif now.row is None:
        findings += [_as_before(known) for known in now.status.conditions if known.type == _LAST_RUN]
    return findings


_LAST_RUN: Final = ConditionType.LAST_RUN_SUCCEEDED.value


def _as_before(known: Condition) -> Finding:
    return Finding(ConditionType.LAST_RUN_SUCCEEDED, known.status, known.reason, known.message)


def _readiness(verdict: Ready | Waiting | Stalled) -> list[Finding]:
    match verdict:
        case Ready():
            return [true(ConditionType.READY, TimerReason.DECLARED, verdict.message)]
        case Waiting():
            kind = ConditionType.RECONCILING
        case Stalled():
            kind = ConditionType.STALLED
        case _:
            assert_never(verdict)
    return [
        false(ConditionType.READY, verdict.reason, verdict.message),
        true(kind, verdict.reason, verdict.message),
    ]


def _last_run(outcome: LastOutcome, error: str | None) -> Finding:
    match outcome:
        case LastOutcome.COMPLETED:
            return true(ConditionType.LAST_RUN_SUCCEEDED, TimerReason.SUCCEEDED, "delivered")
        case LastOutcome.FAILED:
            return false(ConditionType.LAST_RUN_SUCCEEDED, TimerReason.FAILED, error or "failed")
        case LastOutcome.MISSED:
            return false(ConditionType.LAST_RUN_SUCCEEDED, TimerReason.MISSED, "later than its starting deadline")
        case _:
            assert_never(outcome)
