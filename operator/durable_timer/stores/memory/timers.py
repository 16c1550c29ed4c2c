"""What clients do to timers."""
# ruff: noqa: D103 - a function does what the method of its name in stores.base.Store says

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from durable_timer.models.group import GroupState
from durable_timer.models.page import Counts, ListOrder, Page, Position, TimerFilter
from durable_timer.models.results import (
    CreateResult,
    CreateStatus,
    DeleteResult,
    DeleteStatus,
    IfExists,
    Refusal,
    Target,
    WhenRunning,
    WriteResult,
)
from durable_timer.models.timer import NewTimer, Suspension, Timer, TimerChange, TimerState
from durable_timer.planning import transitions
from durable_timer.stores.memory.database import MemoryDatabase

_NEVER = datetime.min.replace(tzinfo=UTC)


def create(db: MemoryDatabase, timers: Sequence[NewTimer], if_exists: IfExists) -> list[CreateResult]:
    now = db.now()
    results = []
    for new in timers:
        present = db.timer(new.group_id, new.timer_id)
        if present is None:
            status, row = CreateStatus.CREATED, transitions.created(new, uid=db.rng.getrandbits(64) - 2**63, now=now)
        else:
            status, row = transitions.create_over(present, new, if_exists, now)
        if row is not present:
            db.put(row)
        results.append(CreateResult(status, copy(row)))
    db.wake_for(r.timer for r in results if r.status in {CreateStatus.CREATED, CreateStatus.REPLACED})
    return results


def get(db: MemoryDatabase, group_id: str, timer_ids: Sequence[str]) -> list[Timer | None]:
    return [copy(db.timer(group_id, timer_id)) for timer_id in timer_ids]


def page(
    db: MemoryDatabase, group_id: str, where: TimerFilter, *, limit: int, after: Position | None, payloads: bool
) -> Page:
    found = sorted(
        ((_position(row, where.order), row) for row in db.rows(group_id) if _matches(row, where)),
        key=lambda item: _sort_key(item[0]),
    )
    rest = [item for item in found if after is None or _sort_key(item[0]) > _sort_key(after)]
    shown = rest[:limit]
    return Page(
        timers=tuple(copy(row) if payloads else replace(row, payload=None) for _, row in shown),
        end=shown[-1][0] if len(rest) > limit else None,
    )


def update(db: MemoryDatabase, group_id: str, target: Target, change: TimerChange, *, managed: bool) -> WriteResult:
    def decide(row: Timer | None, now: datetime) -> Timer | Refusal:
        return transitions.changed(row, target, change, now, managed=managed)

    return _write(db, group_id, target.timer_id, decide)


def run(db: MemoryDatabase, group_id: str, targets: Sequence[Target]) -> list[WriteResult]:
    return [_write(db, group_id, target.timer_id, _of(transitions.run_now, target)) for target in targets]


def redrive(db: MemoryDatabase, group_id: str, targets: Sequence[Target]) -> list[WriteResult]:
    return [_write(db, group_id, target.timer_id, _of(transitions.redriven, target)) for target in targets]


def delete(
    db: MemoryDatabase, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool
) -> list[DeleteResult]:
    return [_delete(db, group_id, target, when_running, managed=managed) for target in targets]


def purge(db: MemoryDatabase, group_id: str, completed_for: timedelta, failed_for: timedelta, limit: int) -> int:
    now = db.now()
    kept_for = {TimerState.COMPLETED: completed_for, TimerState.FAILED: failed_for}
    over = [
        row
        for row in db.rows(group_id)
        if row.managed_by is None and row.executed_at is not None and now - row.executed_at > kept_for[row.state]
    ]
    return _remove(db, over[:limit])


def purge_group(db: MemoryDatabase, group_id: str, limit: int) -> int:
    group = db.groups.get(group_id)
    if group is None or group.state is not GroupState.PURGING:
        return 0
    return _remove(db, list(db.rows(group_id))[:limit])


def counts(db: MemoryDatabase, group_id: str) -> Counts:
    now = db.now()
    states = [row.state for row in db.rows(group_id)]
    due = [
        row.due_at
        for row in db.rows(group_id)
        if row.state is TimerState.PENDING and row.suspended is not Suspension.SUSPENDED and row.due_at <= now
    ]
    return Counts(
        pending=states.count(TimerState.PENDING),
        running=states.count(TimerState.RUNNING),
        completed=states.count(TimerState.COMPLETED),
        failed=states.count(TimerState.FAILED),
        due=len(due),
        oldest_due_at=min(due, default=None),
    )


def _of(
    verb: Callable[[Timer | None, Target, datetime], Timer | Refusal], target: Target
) -> Callable[[Timer | None, datetime], Timer | Refusal]:
    return lambda row, now: verb(row, target, now)


def _write(
    db: MemoryDatabase, group_id: str, timer_id: str, decide: Callable[[Timer | None, datetime], Timer | Refusal]
) -> WriteResult:
    row = db.timer(group_id, timer_id)
    written = decide(row, db.now())
    if isinstance(written, Refusal):
        return WriteResult(copy(row), written)
    if written is not row:
        db.put(written)
        db.wake_for([written])
    return WriteResult(copy(written))


def _delete(
    db: MemoryDatabase, group_id: str, target: Target, when_running: WhenRunning, *, managed: bool
) -> DeleteResult:
    row = db.timer(group_id, target.timer_id)
    decision = transitions.deleted(row, target, when_running, managed=managed)
    if isinstance(decision, Refusal) or row is None:
        return DeleteResult(DeleteStatus.REFUSED, decision if isinstance(decision, Refusal) else None, copy(row))
    if decision is DeleteStatus.DELETED:
        db.remove(row)
    elif not row.cancel_requested:
        db.put(transitions.stopping(row, db.now()))
    return DeleteResult(decision)


def _remove(db: MemoryDatabase, rows: Sequence[Timer]) -> int:
    for row in rows:
        db.remove(row)
    return len(rows)


def _matches(row: Timer, where: TimerFilter) -> bool:
    return (
        (not where.states or row.state in where.states)
        and _in_due_range(row, where)
        and row.timer_id.startswith(where.id_prefix or "")
        and all((row.labels or {}).get(key) == value for key, value in where.labels)
        and (where.executed_before is None or (row.executed_at is not None and row.executed_at < where.executed_before))
    )


def _in_due_range(row: Timer, where: TimerFilter) -> bool:
    if where.due_from is None and where.due_before is None:
        return True
    return (
        row.state is TimerState.PENDING
        and (where.due_from is None or row.due_at >= where.due_from)
        and (where.due_before is None or row.due_at < where.due_before)
    )


def _position(row: Timer, order: ListOrder) -> Position:
    at = {ListOrder.BY_ID: None, ListOrder.BY_DUE: row.due_at, ListOrder.BY_EXECUTED: row.executed_at}[order]
    return Position(at, row.timer_id)


def _sort_key(position: Position) -> tuple[datetime, str]:
    """Positions of one list have all an instant, or none."""
    return (position.at or _NEVER, position.timer_id)
