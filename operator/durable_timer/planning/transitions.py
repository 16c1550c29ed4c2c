"""What an operation does to one timer: the table of states and operations as pure functions.

Stores that can run them under a row lock do; a statement that does the same in SQL is held to them by the contract
suite. Rows are never changed in place: each function returns a new one, its `version` one higher, `updated_at` now.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeVar, assert_never

from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.results import (
    CreateStatus,
    DeleteStatus,
    IfExists,
    Refusal,
    Target,
    Version,
    WhenRunning,
)
from durable_timer.models.timer import (
    UNSET,
    LastOutcome,
    ManagedBy,
    Missed,
    NewTimer,
    Schedule,
    Suspension,
    Timer,
    TimerChange,
    TimerState,
    Unset,
    is_plain,
)
from durable_timer.planning.schedule import SKIP_STARTING_DEADLINE, next_occurrence

T = TypeVar("T")

FINISHED: Final = frozenset({TimerState.COMPLETED, TimerState.FAILED})
"""The states in which a timer is over, until it is purged, replaced or redriven."""


def created(new: NewTimer, *, uid: int, now: datetime) -> Timer:
    """The row of a create that found none."""
    execute_at = _execute_at(new, now)
    row = Timer(
        group_id=new.group_id,
        timer_id=new.timer_id,
        shard=new.shard,
        uid=uid,
        version=1,
        state=TimerState.PENDING,
        execute_at=execute_at,
        due_at=max(execute_at, now),
        occurrence=1,
        attempt=0,
        callback_url=new.callback_url,
        fingerprint=new.fingerprint,
        created_at=now,
        updated_at=now,
        payload=new.payload,
    )
    if not is_plain(new):
        row.suspended = Suspension.SUSPENDED if new.suspended else Suspension.NONE
        row.callback_method = new.callback_method
        row.callback_format = new.callback_format
        row.content_type = new.content_type
        row.headers = new.headers
        row.labels = new.labels
        row.retry_policy = new.retry_policy
        row.callback_timeout = new.callback_timeout
        row.schedule = new.schedule
        row.starting_deadline = new.starting_deadline
        row.managed_by = new.managed_by
        row.traceparent = new.traceparent
    return row


def create_over(row: Timer, new: NewTimer, if_exists: IfExists, now: datetime) -> tuple[CreateStatus, Timer]:
    """A create that found `row`: the status, and the row as it is to be (the same object when nothing is written)."""
    if row.fingerprint == new.fingerprint or if_exists is IfExists.KEEP:
        return CreateStatus.IDENTICAL, row
    if if_exists is IfExists.FAIL or row.managed_by is not None:
        return CreateStatus.CONFLICT, row
    if row.state is TimerState.RUNNING:
        return CreateStatus.EXECUTING, row
    fresh = created(new, uid=row.uid, now=now)
    return CreateStatus.REPLACED, replace(
        fresh, version=row.version + 1, occurrence=row.occurrence + 1, created_at=row.created_at
    )


def refused(row: Timer | None, if_version: Version | None, *, managed: bool) -> Refusal | None:
    """What comes before the state: 404, then 412, then that only an operator writes managed rows."""
    if row is None:
        return Refusal.NOT_FOUND
    if if_version is not None and if_version != Version(row.uid, row.version):
        return Refusal.VERSION_MISMATCH
    if row.managed_by is not None and not managed:
        return Refusal.MANAGED
    return None


def changed(row: Timer | None, target: Target, change: TimerChange, now: datetime, *, managed: bool) -> Timer | Refusal:
    """PUT and PATCH. The row itself, when the change says nothing new.

    A new time starts a new occurrence; `execute_at` equal to the present one is no new time. A new schedule starts at
    its first occurrence after now, or at `execute_at` where that is given and new as well. A finished one-shot that an
    operator declares anew starts a new occurrence only if its time changed. A schedule that has no occurrence left
    completes. A running row takes nothing but its release from its resource, which its delivery does not depend on.
    """
    refusal = refused(row, target.if_version, managed=managed)
    if row is None or refusal is not None:
        return refusal or Refusal.NOT_FOUND
    if row.state is TimerState.RUNNING and not _only_releases(change):
        return Refusal.EXECUTING
    if row.state in FINISHED and not managed:
        return Refusal.FINISHED
    plain = _merged(row, change)
    timed = _with_time(plain, row, change, now)
    woken = _suspension(timed, row, change, now)
    if woken == row:
        return row
    return replace(woken, version=row.version + 1, updated_at=now)


def run_now(row: Timer | None, target: Target, now: datetime) -> Timer | Refusal:
    """The `run` verb; the row itself when `target.request` was acted on before.

    A one-shot counts as taken from then on: who asks for it now does not mean its starting deadline.
    """
    refusal = refused(row, target.if_version, managed=True)
    if row is None or refusal is not None:
        return refusal or Refusal.NOT_FOUND
    if target.request is not None and row.managed_by is not None and row.managed_by.run_request == target.request:
        return row
    if row.state is TimerState.RUNNING:
        return Refusal.EXECUTING
    if row.state in FINISHED:
        return Refusal.FINISHED
    if row.schedule is None:
        due = replace(row, due_at=now, taken_at=row.taken_at or now)
    else:
        due = _new_occurrence(row, now, now)
    suspended = Suspension.NONE if row.suspended is Suspension.NONE else Suspension.RUN_ONCE
    return replace(
        due,
        suspended=suspended,
        managed_by=_requested(row.managed_by, run=target.request),
        version=row.version + 1,
        updated_at=now,
    )


def redriven(row: Timer | None, target: Target, now: datetime) -> Timer | Refusal:
    """The `redrive` verb; the row itself when `target.request` was acted on before."""
    refusal = refused(row, target.if_version, managed=True)
    if row is None or refusal is not None:
        return refusal or Refusal.NOT_FOUND
    if target.request is not None and row.managed_by is not None and row.managed_by.redrive_request == target.request:
        return row
    if row.state is not TimerState.FAILED:
        return Refusal.NOT_FAILED
    suspended = Suspension.NONE if row.suspended is Suspension.NONE else Suspension.RUN_ONCE
    return replace(
        _new_occurrence(row, now, now),
        suspended=suspended,
        managed_by=_requested(row.managed_by, redrive=target.request),
        version=row.version + 1,
        updated_at=now,
    )


def deleted(row: Timer | None, target: Target, when_running: WhenRunning, *, managed: bool) -> DeleteStatus | Refusal:
    """DELETED: the row goes. STOPPING: `stopping(row)` is written, where it is not yet so."""
    refusal = refused(row, target.if_version, managed=managed)
    if row is None or refusal is not None:
        return refusal or Refusal.NOT_FOUND
    if row.state is not TimerState.RUNNING:
        return DeleteStatus.DELETED
    return DeleteStatus.STOPPING if when_running is WhenRunning.STOP else Refusal.EXECUTING


def stopping(row: Timer, now: datetime) -> Timer:
    """A running row that goes with its settle or its recovery."""
    return replace(row, cancel_requested=True, version=row.version + 1, updated_at=now)


def taken(row: Timer, *, run: int, epoch: int, now: datetime) -> Timer:
    """A pending row in the hands of an executor."""
    return replace(
        row,
        state=TimerState.RUNNING,
        run=run,
        taken_epoch=epoch,
        taken_at=row.taken_at or now,
        version=row.version + 1,
        updated_at=now,
    )


def deadline_exceeded(row: Timer, now: datetime) -> bool:
    """Whether `row`, about to be taken, is too late for its occurrence's first take."""
    return row.taken_at is None and row.starting_deadline is not None and now > row.execute_at + row.starting_deadline


def recovered(row: Timer, now: datetime) -> Timer | None:
    """A running row whose owner is gone: pending again as it was, or None where it is to be deleted."""
    if row.cancel_requested:
        return None
    return _pending(row, now)


def settled(row: Timer | None, outcome: Outcome, now: datetime) -> Timer | Refusal | None:
    """A settle: the new row, None where it is to be deleted, a refusal where the run does not match."""
    if row is None or row.state is not TimerState.RUNNING or row.run != outcome.run:
        return Refusal.NOT_FOUND
    if row.cancel_requested:
        return None
    match outcome.kind:
        case OutcomeKind.COMPLETED | OutcomeKind.FAILED:
            return _ended(row, outcome, now)
        case OutcomeKind.RETRY:
            return replace(
                _pending(row, now),
                due_at=now + outcome.delay,
                attempt=outcome.attempt,
                first_attempt_at=row.first_attempt_at or now - outcome.began,
                last_error=outcome.last_error,
                last_status=outcome.last_status,
            )
        case OutcomeKind.DEFERRED:
            return replace(
                _pending(row, now),
                due_at=now + outcome.delay if outcome.delay > timedelta(0) else row.due_at,
                last_error=outcome.last_error if outcome.last_error is not None else row.last_error,
            )
        case OutcomeKind.NEXT:
            return _next(row, outcome, now)
        case _:
            assert_never(outcome.kind)


def _ended(row: Timer, outcome: Outcome, now: datetime) -> Timer | None:
    if outcome.forget and row.managed_by is None:
        return None
    completed = outcome.kind is OutcomeKind.COMPLETED
    return replace(
        _pending(row, now),
        state=TimerState.COMPLETED if completed else TimerState.FAILED,
        attempt=outcome.attempt,
        first_attempt_at=row.first_attempt_at or now - outcome.began,
        suspended=_after_run(row.suspended),
        last_error=outcome.last_error,
        last_status=outcome.last_status,
        last_run_at=now,
        last_outcome=outcome.last_outcome or (LastOutcome.COMPLETED if completed else LastOutcome.FAILED),
        executed_at=now,
    )


def _next(row: Timer, outcome: Outcome, now: datetime) -> Timer:
    if outcome.at is None:
        raise ValueError("an outcome NEXT needs its instant")
    return replace(
        _new_occurrence(_pending(row, now), outcome.at, now),
        suspended=_after_run(row.suspended),
        last_error=outcome.last_error,
        last_status=outcome.last_status,
        last_run_at=now,
        last_outcome=outcome.last_outcome,
    )


def _pending(row: Timer, now: datetime) -> Timer:
    return replace(row, state=TimerState.PENDING, run=None, taken_epoch=None, version=row.version + 1, updated_at=now)


def _new_occurrence(row: Timer, execute_at: datetime, now: datetime) -> Timer:
    return replace(
        row,
        state=TimerState.PENDING,
        execute_at=execute_at,
        due_at=max(execute_at, now),
        occurrence=row.occurrence + 1,
        attempt=0,
        first_attempt_at=None,
        taken_at=None,
        executed_at=None,
    )


def _after_run(suspended: Suspension) -> Suspension:
    return Suspension.SUSPENDED if suspended is Suspension.RUN_ONCE else suspended


def _execute_at(new: NewTimer, now: datetime) -> datetime:
    if new.execute_at is not None:
        return new.execute_at
    if new.delay is not None:
        return now + new.delay
    raise ValueError("a create needs execute_at or delay")


def _requested(managed: ManagedBy | None, *, run: str | None = None, redrive: str | None = None) -> ManagedBy | None:
    if managed is None:
        return None
    return replace(
        managed,
        run_request=run if run is not None else managed.run_request,
        redrive_request=redrive if redrive is not None else managed.redrive_request,
    )


def _kept(value: T | Unset, present: T) -> T:
    return present if isinstance(value, Unset) else value


def _only_releases(change: TimerChange) -> bool:
    declared = change.declared
    return not isinstance(declared, Unset) and declared[1] is None and change == TimerChange(declared=declared)


def _merged(row: Timer, change: TimerChange) -> Timer:
    """All but time and suspension."""
    fingerprint, managed_by = (
        (row.fingerprint, row.managed_by) if isinstance(change.declared, Unset) else change.declared
    )
    return replace(
        row,
        callback_url=_kept(change.callback_url, row.callback_url),
        callback_method=_kept(change.callback_method, row.callback_method),
        callback_format=_kept(change.callback_format, row.callback_format),
        content_type=_kept(change.content_type, row.content_type),
        payload=_kept(change.payload, row.payload),
        headers=_kept(change.headers, row.headers),
        labels=_kept(change.labels, row.labels),
        retry_policy=_kept(change.retry_policy, row.retry_policy),
        callback_timeout=_kept(change.callback_timeout, row.callback_timeout),
        starting_deadline=_deadline(row, change),
        fingerprint=fingerprint,
        managed_by=managed_by,
    )


def _deadline(row: Timer, change: TimerChange) -> timedelta | None:
    """The effective deadline: one that came with `missed: Skip` goes with it."""
    schedule = _kept(change.schedule, row.schedule)
    skips = schedule is not None and schedule.missed is Missed.SKIP
    skipped = row.schedule is not None and row.schedule.missed is Missed.SKIP
    own = _kept(change.starting_deadline, row.starting_deadline)
    if skipped and not skips and change.starting_deadline is UNSET and own == SKIP_STARTING_DEADLINE:
        return None
    return SKIP_STARTING_DEADLINE if skips and own is None else own


def _with_time(plain: Timer, row: Timer, change: TimerChange, now: datetime) -> Timer:
    schedule = _kept(change.schedule, row.schedule)
    plain = replace(plain, schedule=schedule)
    asked = _asked(change, now)
    if asked is not None and asked != row.execute_at:
        return _moved(plain, asked, now)
    if schedule is not None and schedule != row.schedule:
        return _scheduled(plain, schedule, now)
    return plain


def _asked(change: TimerChange, now: datetime) -> datetime | None:
    if not isinstance(change.delay, Unset):
        return now + change.delay
    return None if change.execute_at is UNSET else change.execute_at


def _moved(row: Timer, execute_at: datetime, now: datetime) -> Timer:
    """A new occurrence at a new time; one that was to run once while suspended waits for its end again."""
    return replace(_new_occurrence(row, execute_at, now), suspended=_after_run(row.suspended))


def _scheduled(row: Timer, schedule: Schedule, now: datetime) -> Timer:
    first = next_occurrence(schedule, now)
    return _without_occurrence(row, now) if first is None else _moved(row, first, now)


def _without_occurrence(row: Timer, now: datetime) -> Timer:
    return replace(row, state=TimerState.COMPLETED, suspended=_after_run(row.suspended), executed_at=now)


def _suspension(timed: Timer, row: Timer, change: TimerChange, now: datetime) -> Timer:
    """Suspends, or lets go: a one-shot past its time fires at once, a schedule goes to its first occurrence after now."""
    if isinstance(change.suspended, Unset) or change.suspended == (timed.suspended is not Suspension.NONE):
        return timed
    if change.suspended:
        return replace(timed, suspended=Suspension.SUSPENDED)
    free = replace(timed, suspended=Suspension.NONE)
    if free.state in FINISHED:
        return free
    if row.suspended is Suspension.RUN_ONCE and free.occurrence == row.occurrence:
        return free
    if free.schedule is None or free.execute_at > now:
        return replace(free, due_at=max(free.due_at, now))
    upcoming = next_occurrence(free.schedule, now)
    return _without_occurrence(free, now) if upcoming is None else _new_occurrence(free, upcoming, now)
