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
    Timer,
    TimerChange,
    TimerState,
    Unset,
)
from durable_timer.planning.declared import DeclaredTimer, Refused, timer_id_of
from durable_timer.planning.declared_row import change_of, differences, new_time, new_timer
from durable_timer.planning.schedule import first_occurrence

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
    if execute_at is None:
        return Stalled(TimerReason.NEVER_FIRES, "its schedule has no occurrence after now")
    if wrong := _too_far(declared, execute_at, now.now):
        return wrong
    return Create(new_timer(declared, now.resource, now.status, group, execute_at))


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
    execute_at = new_time(declared, row, now.now)
    first = _first(declared, now.now) if isinstance(execute_at, Unset) else execute_at
    if first is not None and (wrong := _too_far(declared, first, now.now)):
        return wrong
    return Change(change_of(declared, now.resource, row.managed_by, execute_at), Version(row.uid, row.version))


def _as_declared(now: Situation, row: Timer, managed: ManagedBy) -> Step | Verdict:
    declared = now.declared
    if not isinstance(declared, DeclaredTimer) or row.state is TimerState.RUNNING:
        return _requests(now, row, managed)
    if wrong := differences(declared, row, now.precision):
        execute_at = declared.execute_at if "executeAt" in wrong and declared.execute_at else UNSET
        return Change(
            change_of(declared, now.resource, managed, execute_at),
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


@dataclass(frozen=True, slots=True)
class Drop:
    """The row goes, if it still has this version; while it runs, with its settle."""

    version: Version


@dataclass(frozen=True, slots=True)
class Release:
    """The row becomes an ordinary one, if it still has this version."""

    change: TimerChange
    version: Version


def decide_deletion(
    uid: str, policy: DeletionPolicy, row: Timer | None, *, adopting: bool = False
) -> Drop | Release | None:
    """What becomes of the row of a resource that is being deleted; None when nothing (more) is to be done.

    A row that another object declares (the same resource in a cluster built anew) is that one's; `adopting`: this object
    is the later one, and had not come to declare it yet (it ran).
    """
    if row is None or row.managed_by is None or row.cancel_requested:
        return None
    if row.managed_by.uid != uid and not adopting:
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


def _too_far(declared: DeclaredTimer, execute_at: datetime, now: datetime) -> Stalled | None:
    if execute_at > now + limits.FUTURE_MAX:
        field = "executeAt" if declared.schedule is None else "the schedule's first occurrence"
        return Stalled(TimerReason.INVALID_SPEC, f"{field} must be at most 100 years ahead")
    return None
