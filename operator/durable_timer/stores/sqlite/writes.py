"""Conditional writes of single rows: read, decide by the pure transition, write; and deletes in bulk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from durable_timer.models.results import DeleteResult, DeleteStatus, Refusal, Target, WhenRunning, WriteResult
from durable_timer.models.timer import Suspension, Timer, TimerChange, TimerState
from durable_timer.planning import transitions
from durable_timer.stores.sql.documents import instant_to_micros, to_micros
from durable_timer.stores.sqlite.statements import FIRST, json, rewrite, rows_of
from durable_timer.stores.sqlite.transaction import Transaction

Verb = Callable[[Timer | None, Target, datetime], Timer | Refusal]

PURGE: Final = """
    DELETE FROM timers WHERE rowid IN (
        SELECT rowid FROM timers
        WHERE group_id = ? AND state = ? AND state >= 2 AND executed_at > ? AND executed_at < ? AND managed_by IS NULL
        ORDER BY executed_at LIMIT ?)
"""
"""Deletes the oldest finished rows of a state, not managed."""

_PURGE_GROUP: Final = """
    DELETE FROM timers WHERE rowid IN (
        SELECT rowid FROM timers WHERE group_id = ?1
            AND EXISTS (SELECT 1 FROM timer_groups WHERE group_id = ?1 AND state = 2)
        LIMIT ?2)
"""
_DELETE: Final = "DELETE FROM timers WHERE group_id = ? AND timer_id IN (SELECT value FROM json_each(?))"


def update(
    transaction: Transaction, group_id: str, target: Target, change: TimerChange, *, managed: bool
) -> WriteResult:
    """PUT and PATCH."""

    def changed(row: Timer | None, target: Target, now: datetime) -> Timer | Refusal:
        return transitions.changed(row, target, change, now, managed=managed)

    return apply(transaction, group_id, [target], changed)[0]


def apply(transaction: Transaction, group_id: str, targets: Sequence[Target], verb: Verb) -> list[WriteResult]:
    """Applies a verb to each target in order; those that name the same timer see what the earlier ones wrote."""
    rows = rows_of(transaction.connection, group_id, [target.timer_id for target in targets])
    return [_apply(transaction, rows, target, verb) for target in targets]


def _apply(transaction: Transaction, rows: dict[str, Timer], target: Target, verb: Verb) -> WriteResult:
    row = rows.get(target.timer_id)
    written = verb(row, target, transaction.now)
    if isinstance(written, Refusal):
        return WriteResult(row, written)
    if written is not row:
        rewrite(transaction.connection, written)
        rows[target.timer_id] = written
        if written.state is TimerState.PENDING and written.suspended is not Suspension.SUSPENDED:
            transaction.wake_if_soon(written.group_id, written.shard, instant_to_micros(written.due_at))
    return WriteResult(written)


def delete(
    transaction: Transaction, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool
) -> list[DeleteResult]:
    """Deletes, refuses, or marks what runs to go."""
    rows = rows_of(transaction.connection, group_id, [target.timer_id for target in targets])
    gone: list[str] = []
    results = []
    for target in targets:
        row = rows.get(target.timer_id)
        decision = transitions.deleted(row, target, when_running, managed=managed)
        if isinstance(decision, Refusal) or row is None:
            refusal = decision if isinstance(decision, Refusal) else Refusal.NOT_FOUND
            results.append(DeleteResult(DeleteStatus.REFUSED, refusal, row))
            continue
        if decision is DeleteStatus.DELETED:
            gone.append(target.timer_id)
            del rows[target.timer_id]
        elif not row.cancel_requested:
            rows[target.timer_id] = stopped = transitions.stopping(row, transaction.now)
            rewrite(transaction.connection, stopped)
        results.append(DeleteResult(decision))
    if gone:
        transaction.connection.execute(_DELETE, (group_id, json(gone)))
    return results


def purge(transaction: Transaction, group_id: str, completed_for: timedelta, failed_for: timedelta, limit: int) -> int:
    """Deletes what completed or failed long enough ago, the oldest first."""
    purged = 0
    for state, kept_for in ((2, completed_for), (3, failed_for)):
        if purged < limit:
            before = transaction.micros - to_micros(kept_for)
            purged += transaction.connection.execute(PURGE, (group_id, state, FIRST, before, limit - purged)).rowcount
    return purged


def purge_group(transaction: Transaction, group_id: str, limit: int) -> int:
    """Deletes rows of a purging group, whatever their state."""
    return transaction.connection.execute(_PURGE_GROUP, (group_id, limit)).rowcount
