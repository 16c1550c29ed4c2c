"""What is to be done next for a Timer resource: one step at a time, out of all that is known. Pure.

The caller applies a step, looks at the row again and asks anew, until it gets a verdict. Each step is conditional on
what it was decided by (the row's version, the stored request), so that a repetition, another leader, or an executor in
between does no harm.

A resource is declared once per generation. Its row says which generation of which object it carries (`managed_by`), and
is not purged while the resource is there; where it is gone nevertheless, `status.declaredGeneration` tells that it was
there, and a one-shot whose time has passed is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from durable_timer.models import limits
from durable_timer.models.group import Group, GroupState
from durable_timer.models.manifest import DeletionPolicy
from durable_timer.models.resource import REDRIVE_REQUESTED, RUN_REQUESTED, Resource
from durable_timer.models.results import Version
from durable_timer.models.status import TimerReason, TimerStatus
from durable_timer.models.timer import (
    UNSET,
    ManagedBy,
    NewTimer,
    Suspension,
    Timer,
    TimerChange,
    TimerState,
    Unset,
)
from durable_timer.planning.declared import DeclaredTimer, Refused, timer_id_of
from durable_timer.planning.schedule import effective_starting_deadline, first_occurrence
from durable_timer.planning.sharding import shard_of

_FINISHED: Final = frozenset({TimerState.COMPLETED, TimerState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision is made of.

    `group` is the row of the group that `groupRef` names (None: none is registered), `declared` the resource as read by
    its rules (None without a group), `row` the timer's. `now` is the store's. `precision` is the store's: stored times
    are rounded up to it.
    """

    resource: Resource
    status: TimerStatus
    group: Group | None
    declared: DeclaredTimer | Refused | None
    row: Timer | None
    now: datetime
    precision: timedelta

    @property
    def timer_id(self) -> str:
        return timer_id_of(self.resource.namespace, self.resource.name)


@dataclass(frozen=True, slots=True)
class Create:
    """There is no row: it is created."""

    timer: NewTimer


@dataclass(frozen=True, slots=True)
class Change:
    """The row is written as declared, if it still has this version. `why` is for people, where it is worth an Event."""

    change: TimerChange
    version: Version
    why: Notice | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """`run` under this request."""

    request: str


@dataclass(frozen=True, slots=True)
class Redrive:
    """`redrive` under this request."""

    request: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The row is what the resource declares. `busy`: a request waits for the end of a delivery."""

    message: str
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """It goes on by itself when something else has happened."""

    reason: TimerReason
    message: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """It goes on when somebody has changed the resource or its group."""

    reason: TimerReason
    message: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """A newer generation than this one is declared already: the watch will bring it."""


Step = Create | Change | Run | Redrive
Verdict = Ready | Waiting | Stalled | Outdated


GROUP_NOT_FOUND: Final = Waiting(TimerReason.GROUP_NOT_FOUND, "its TimerGroup is not there, or not registered yet")
"""The verdict on a resource without a group."""


def decide(now: Situation) -> Step | Verdict:
    """The next step for a resource that is not being deleted."""
    if now.group is None:
        return GROUP_NOT_FOUND
    if now.group.state is not GroupState.ACTIVE:
        return Waiting(TimerReason.GROUP_NOT_READY, f"its group {now.group.group_id} is {_ENDING[now.group.state]}")
    if now.row is None:
        return _without_row(now, now.group)
    managed = now.row.managed_by
    if managed is None or managed.uid != now.resource.uid or managed.generation < now.resource.generation:
        return _anew(now, now.row)
    if managed.generation > now.resource.generation:
        return Outdated()
    return _as_declared(now, now.row, managed)


_ENDING: Final = {GroupState.DELETED: "deleted", GroupState.PURGING: "being purged"}


def _without_row(now: Situation, group: Group) -> Step | Verdict:
    declared, known = now.declared, now.status.declared_generation
    if isinstance(declared, DeclaredTimer) and known is not None and _is_over(declared, now, known):
        return Ready(f"generation {known} was declared, and its row is gone: it is not declared again after its time")
    if not isinstance(declared, DeclaredTimer):
        return _refused(declared)
    execute_at = declared.execute_at or _first(declared, now.now)
    if wrong := _wrong_time(declared, execute_at, now.now):
        return wrong
    return Create(_new_timer(declared, group, execute_at, now))


def _is_over(declared: DeclaredTimer, now: Situation, known: int) -> bool:
    """Whether what was declared may have fired already."""
    if declared.execute_at is None:
        return _first(declared, now.now) is None
    ended = known == now.resource.generation and now.status.state in _FINISHED
    return declared.execute_at <= now.now or ended


def _anew(now: Situation, row: Timer) -> Step | Verdict:
    """The row carries an earlier generation, another object's (a cluster built anew), or none at all."""
    declared = now.declared
    if not isinstance(declared, DeclaredTimer):
        return _refused(declared)
    if row.state is TimerState.RUNNING:
        return Waiting(TimerReason.RUNNING, "a callback is under way; what is declared is written when it has ended")
    execute_at = _new_time(declared, row, now.now)
    first = _first(declared, now.now) if isinstance(execute_at, Unset) else execute_at
    if first is not None and (wrong := _wrong_time(declared, first, now.now)):
        return wrong
    return Change(_change(declared, now, row.managed_by, execute_at), Version(row.uid, row.version))


def _as_declared(now: Situation, row: Timer, managed: ManagedBy) -> Step | Verdict:
    declared = now.declared
    if not isinstance(declared, DeclaredTimer) or row.state is TimerState.RUNNING:
        return _requests(now, row, managed)
    if wrong := differences(declared, row, now.precision):
        execute_at = declared.execute_at if "executeAt" in wrong and declared.execute_at else UNSET
        return Change(
            _change(declared, now, managed, execute_at),
            Version(row.uid, row.version),
            Notice("Repaired", f"somebody changed its row: {', '.join(wrong)}", warning=True),
        )
    return _requests(now, row, managed)


def _requests(now: Situation, row: Timer, managed: ManagedBy) -> Step | Verdict:
    run, redrive = (now.resource.annotations.get(name) or None for name in (RUN_REQUESTED, REDRIVE_REQUESTED))
    new_run = run is not None and run != managed.run_request
    new_redrive = redrive is not None and redrive != managed.redrive_request
    if not new_run and not new_redrive:
        return Ready("declared")
    match row.state:
        case TimerState.RUNNING:
            return Ready("declared; a request waits for the end of the callback that is under way", busy=True)
        case TimerState.PENDING if run is not None and new_run:
            return Run(run)
        case TimerState.FAILED if redrive is not None and new_redrive:
            return Redrive(redrive)
        case TimerState.PENDING | TimerState.COMPLETED | TimerState.FAILED:
            return _put_aside(row, managed, run if new_run else None, redrive if new_redrive else None)
        case _:
            assert_never(row.state)


def _put_aside(row: Timer, managed: ManagedBy, run: str | None, redrive: str | None) -> Change:
    """Notes requests as dealt with that the timer's state refuses, lest they act when it is another one."""
    noted = replace(managed, run_request=run or managed.run_request, redrive_request=redrive or managed.redrive_request)
    refused = Notice("RunRefused", f"the timer is {row.state.value}: only a pending one is run", warning=True)
    if run is None:
        refused = Notice(
            "RedriveRefused", f"the timer is {row.state.value}: only a failed one is redriven", warning=True
        )
    return Change(TimerChange(declared=(row.fingerprint, noted)), Version(row.uid, row.version), refused)


def differences(declared: DeclaredTimer, row: Timer, precision: timedelta) -> list[str]:
    """The fields, under their names in the resource, in which the row of this generation is not what was declared.

    The time of a one-shot is compared in its first occurrence alone: a redrive and an answered `nextExecuteAt` move it.
    """
    pairs = {
        "fingerprint": (declared.fingerprint, row.fingerprint),
        "callbackUrl": (declared.callback_url, row.callback_url),
        "callbackMethod": (declared.callback_method, row.callback_method),
        "callbackFormat": (declared.callback_format, row.callback_format),
        "contentType": (declared.content_type, row.content_type),
        "payload": (declared.payload, row.payload),
        "headers": (declared.headers, row.headers),
        "labels": (declared.labels, row.labels or None),
        "retryPolicy": (declared.retry_policy, row.retry_policy),
        "callbackTimeout": (declared.callback_timeout, row.callback_timeout),
        "schedule": (declared.schedule, row.schedule),
        "startingDeadline": (_deadline(declared), row.starting_deadline),
        "suspend": (declared.suspended, row.suspended is not Suspension.NONE),
    }
    wrong = [name for name, (said, there) in pairs.items() if said != there]
    first = row.occurrence == 1 and row.state is TimerState.PENDING and declared.execute_at is not None
    if first and not timedelta(0) <= row.execute_at - (declared.execute_at or row.execute_at) < precision:
        wrong.append("executeAt")
    return wrong


@dataclass(frozen=True, slots=True)
class Drop:
    """The row goes, if it still has this version; while it runs, with its settle."""

    version: Version


@dataclass(frozen=True, slots=True)
class Release:
    """The row becomes an ordinary one, if it still has this version."""

    change: TimerChange
    version: Version


def decide_deletion(uid: str, policy: DeletionPolicy, row: Timer | None) -> Drop | Release | None:
    """What becomes of the row of a resource that is being deleted; None when nothing (more) is to be done.

    A row that another object declares (the same resource in a cluster built anew) is that one's.
    """
    if row is None or row.managed_by is None or row.managed_by.uid != uid or row.cancel_requested:
        return None
    version = Version(row.uid, row.version)
    match policy:
        case DeletionPolicy.DELETE:
            return Drop(version)
        case DeletionPolicy.RETAIN:
            return Release(TimerChange(declared=(row.fingerprint, None)), version)
        case _:
            assert_never(policy)


def _refused(declared: Refused | None) -> Stalled:
    if declared is None:
        raise ValueError("a resource with a group was not read")
    return Stalled(declared.reason, declared.message)


def _first(declared: DeclaredTimer, now: datetime) -> datetime | None:
    return None if declared.schedule is None else first_occurrence(declared.schedule, now)


def _wrong_time(declared: DeclaredTimer, execute_at: datetime | None, now: datetime) -> Stalled | None:
    if execute_at is None:
        return Stalled(TimerReason.NEVER_FIRES, "its schedule has no occurrence after now")
    if execute_at > now + limits.FUTURE_MAX:
        field = "executeAt" if declared.schedule is None else "the schedule's first occurrence"
        return Stalled(TimerReason.INVALID_SPEC, f"{field} must be at most 100 years ahead")
    return None


def _new_time(declared: DeclaredTimer, row: Timer, now: datetime) -> datetime | Unset:
    """The time that a one-shot's row is to get, UNSET where the declared one is what it was."""
    said = declared.execute_at
    if said is None or declared.fingerprint == row.fingerprint:
        return UNSET
    if row.schedule is not None:
        return said
    before = None if row.managed_by is None else row.managed_by.execute_at
    if before is not None:
        return said if said != before else UNSET
    # A row that was released: what it was declared for is not known, and what lies behind it is not fired again.
    return said if said > min(now, row.execute_at) else UNSET


def _deadline(declared: DeclaredTimer) -> timedelta | None:
    return effective_starting_deadline(declared.schedule, declared.starting_deadline)


def _manager(declared: DeclaredTimer, resource: Resource, run: str | None, redrive: str | None) -> ManagedBy:
    return ManagedBy(resource.uid, resource.generation, run, redrive, declared.execute_at)


def _new_timer(declared: DeclaredTimer, group: Group, execute_at: datetime | None, now: Situation) -> NewTimer:
    status = now.status
    return NewTimer(
        group_id=group.group_id,
        timer_id=now.timer_id,
        shard=shard_of(now.timer_id, group.shards),
        callback_url=declared.callback_url,
        fingerprint=declared.fingerprint,
        execute_at=execute_at,
        callback_method=declared.callback_method,
        callback_format=declared.callback_format,
        content_type=declared.content_type,
        payload=declared.payload,
        headers=declared.headers,
        labels=declared.labels,
        retry_policy=declared.retry_policy,
        callback_timeout=declared.callback_timeout,
        schedule=declared.schedule,
        starting_deadline=_deadline(declared),
        suspended=declared.suspended,
        managed_by=_manager(declared, now.resource, status.last_run_request, status.last_redrive_request),
    )


def _change(
    declared: DeclaredTimer, now: Situation, managed: ManagedBy | None, execute_at: datetime | Unset
) -> TimerChange:
    """All that is declared; what the row says already changes nothing."""
    run, redrive = (None, None) if managed is None else (managed.run_request, managed.redrive_request)
    return TimerChange(
        execute_at=execute_at,
        schedule=declared.schedule,
        callback_url=declared.callback_url,
        callback_method=declared.callback_method,
        callback_format=declared.callback_format,
        content_type=declared.content_type,
        payload=declared.payload,
        headers=declared.headers,
        labels=declared.labels,
        retry_policy=declared.retry_policy,
        callback_timeout=declared.callback_timeout,
        starting_deadline=declared.starting_deadline,
        suspended=declared.suspended,
        declared=(declared.fingerprint, _manager(declared, now.resource, run, redrive)),
    )
