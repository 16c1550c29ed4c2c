"""Rows ⇄ domain types. A row is a sequence in the order of its columns' tuple here; drivers answer them so.

Instants are `datetime`s in a row; a store whose driver has other values there gives the conversions to `RowCodec`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from durable_timer.errors import UnreadableRow
from durable_timer.models.group import Group, GroupState, spec_from_json
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.ownership import Member, Shard
from durable_timer.models.timer import (
    CallbackFormat,
    CallbackMethod,
    LastOutcome,
    Suspension,
    TakenTimer,
    Timer,
    TimerState,
)
from durable_timer.stores.sql import documents

STATES: Final = (TimerState.PENDING, TimerState.RUNNING, TimerState.COMPLETED, TimerState.FAILED)
"""By their number in a row."""

STATE_CODES: Final = {state: code for code, state in enumerate(STATES)}

GROUP_STATES: Final = (GroupState.ACTIVE, GroupState.DELETED, GroupState.PURGING)
"""By their number in a row."""

GROUP_STATE_CODES: Final = {state: code for code, state in enumerate(GROUP_STATES)}

OUTCOME_CODES: Final = {
    OutcomeKind.COMPLETED: 0,
    OutcomeKind.FAILED: 1,
    OutcomeKind.RETRY: 2,
    OutcomeKind.DEFERRED: 3,
    OutcomeKind.NEXT: 4,
}
"""By these numbers a settle statement knows what became of a take; no row holds them."""

TIMER_COLUMNS: Final = (
    "group_id", "timer_id", "shard", "uid", "version", "state", "execute_at", "due_at", "occurrence", "attempt",
    "callback_url", "fingerprint", "created_at", "updated_at", "first_attempt_at", "run", "taken_epoch", "taken_at",
    "cancel_requested", "suspended", "callback_method", "callback_format", "content_type", "payload", "headers",
    "labels", "retry_policy", "callback_timeout", "schedule", "starting_deadline", "managed_by", "traceparent",
    "last_error", "last_status", "last_run_at", "last_outcome", "executed_at",
)  # fmt: skip
"""All of a timer's row, in the order in which `RowCodec` reads and writes it."""

TAKEN_COLUMNS: Final = (
    "group_id", "timer_id", "shard", "run", "uid", "occurrence", "attempt", "execute_at", "due_at", "callback_url",
    "callback_method", "callback_format", "content_type", "payload", "headers", "labels", "retry_policy",
    "callback_timeout", "schedule", "traceparent",
)  # fmt: skip
"""What a take reads of a row; after it come `remaining`, `first_attempt_age` (seconds) and `deadline_exceeded`."""

GROUP_COLUMNS: Final = (
    "group_id", "owner", "shards", "pool", "spec", "generation", "state", "state_since", "emptied_at", "change",
)  # fmt: skip

MEMBER_COLUMNS: Final = ("incarnation", "name", "pool", "host", "beat", "draining", "dead", "report")

SHARD_COLUMNS: Final = ("group_id", "shard", "epoch", "owner", "assigned_to", "plan_term", "drains")


def _same(value: Any) -> Any:
    return value


UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError)
"""What reading a document or a value raises that another release wrote."""

log = structlog.get_logger(__name__)


class RowCodec:
    """Reads and writes whole rows; `read_instant` and `write_instant` convert what the driver has for a time."""

    def __init__(
        self, read_instant: Callable[[Any], datetime] = _same, write_instant: Callable[[datetime], Any] = _same
    ) -> None:
        self._read = read_instant
        self._write = write_instant

    def timer(self, row: Sequence[Any]) -> Timer:
        """A timer from TIMER_COLUMNS. Raises: UnreadableRow."""
        try:
            return self._timer(row)
        except UNREADABLE as error:
            raise UnreadableRow(row[0], row[1], type(error).__name__) from None

    def _timer(self, row: Sequence[Any]) -> Timer:
        (
            group_id, timer_id, shard, uid, version, state, execute_at, due_at, occurrence, attempt,
            callback_url, fingerprint, created_at, updated_at, first_attempt_at, run, taken_epoch, taken_at,
            cancel_requested, suspended, method, format_, content_type, payload, headers,
            labels, retry_policy, callback_timeout, schedule, starting_deadline, managed_by, traceparent,
            last_error, last_status, last_run_at, last_outcome, executed_at,
        ) = row  # fmt: skip
        read = self._read
        return Timer(
            group_id=group_id,
            timer_id=timer_id,
            shard=shard,
            uid=uid,
            version=version,
            state=STATES[state],
            execute_at=read(execute_at),
            due_at=read(due_at),
            occurrence=occurrence,
            attempt=attempt,
            callback_url=callback_url,
            fingerprint=fingerprint,
            created_at=read(created_at),
            updated_at=read(updated_at),
            first_attempt_at=None if first_attempt_at is None else read(first_attempt_at),
            run=run,
            taken_epoch=taken_epoch,
            taken_at=None if taken_at is None else read(taken_at),
            cancel_requested=bool(cancel_requested),
            suspended=Suspension(suspended),
            callback_method=None if method is None else CallbackMethod(method),
            callback_format=None if format_ is None else CallbackFormat(format_),
            content_type=content_type,
            payload=payload,
            headers=documents.headers_from_json(headers),
            labels=documents.labels_from_json(labels),
            retry_policy=documents.policy_from_json(retry_policy),
            callback_timeout=None if callback_timeout is None else documents.from_micros(callback_timeout),
            schedule=documents.schedule_from_json(schedule),
            starting_deadline=None if starting_deadline is None else documents.from_micros(starting_deadline),
            managed_by=documents.manager_from_json(managed_by),
            traceparent=traceparent,
            last_error=last_error,
            last_status=last_status,
            last_run_at=None if last_run_at is None else read(last_run_at),
            last_outcome=None if last_outcome is None else LastOutcome(last_outcome),
            executed_at=None if executed_at is None else read(executed_at),
        )

    def timers(self, rows: Iterable[Sequence[Any]]) -> tuple[Timer, ...]:
        """Timers from TIMER_COLUMNS; one that this release cannot read is told of and left out, so that a page is read."""
        timers = []
        for row in rows:
            try:
                timers.append(self.timer(row))
            except UnreadableRow as error:
                log.error("a timer is left out", error=str(error))  # noqa: TRY400
        return tuple(timers)

    def timer_row(self, timer: Timer) -> tuple[Any, ...]:
        """A timer in the order of TIMER_COLUMNS."""
        write = self._write
        return (
            timer.group_id,
            timer.timer_id,
            timer.shard,
            timer.uid,
            timer.version,
            STATE_CODES[timer.state],
            write(timer.execute_at),
            write(timer.due_at),
            timer.occurrence,
            timer.attempt,
            timer.callback_url,
            timer.fingerprint,
            write(timer.created_at),
            write(timer.updated_at),
            None if timer.first_attempt_at is None else write(timer.first_attempt_at),
            timer.run,
            timer.taken_epoch,
            None if timer.taken_at is None else write(timer.taken_at),
            timer.cancel_requested,
            timer.suspended.value,
            None if timer.callback_method is None else timer.callback_method.value,
            None if timer.callback_format is None else timer.callback_format.value,
            timer.content_type,
            timer.payload,
            documents.headers_to_json(timer.headers),
            documents.labels_to_json(timer.labels),
            documents.policy_to_json(timer.retry_policy),
            None if timer.callback_timeout is None else documents.to_micros(timer.callback_timeout),
            documents.schedule_to_json(timer.schedule),
            None if timer.starting_deadline is None else documents.to_micros(timer.starting_deadline),
            documents.manager_to_json(timer.managed_by),
            timer.traceparent,
            timer.last_error,
            timer.last_status,
            None if timer.last_run_at is None else write(timer.last_run_at),
            None if timer.last_outcome is None else timer.last_outcome.value,
            None if timer.executed_at is None else write(timer.executed_at),
        )

    def taken(self, row: Sequence[Any]) -> TakenTimer:
        """A taken timer from TAKEN_COLUMNS, `remaining`, `first_attempt_age`, `deadline_exceeded`, and whatever follows."""
        (
            group_id, timer_id, shard, run, uid, occurrence, attempt, execute_at, due_at, callback_url,
            method, format_, content_type, payload, headers, labels, retry_policy,
            callback_timeout, schedule, traceparent, remaining, first_attempt_age, deadline_exceeded, *_,
        ) = row  # fmt: skip
        timer = TakenTimer(
            group_id=group_id,
            timer_id=timer_id,
            shard=shard,
            run=run,
            uid=uid,
            occurrence=occurrence,
            attempt=attempt,
            execute_at=self._read(execute_at),
            due_at=self._read(due_at),
            remaining=remaining,
            callback_url=callback_url,
            first_attempt_age=first_attempt_age,
            deadline_exceeded=bool(deadline_exceeded),
            content_type=content_type,
            payload=payload,
            traceparent=traceparent,
        )
        try:
            if method is not None:
                timer.callback_method = CallbackMethod(method)
            if format_ is not None:
                timer.callback_format = CallbackFormat(format_)
            if headers is not None:
                timer.headers = documents.headers_from_json(headers)
            if labels is not None:
                timer.labels = documents.labels_from_json(labels)
            if retry_policy is not None:
                timer.retry_policy = documents.policy_from_json(retry_policy)
            if callback_timeout is not None:
                timer.callback_timeout = documents.from_micros(callback_timeout)
            if schedule is not None:
                timer.schedule = documents.schedule_from_json(schedule)
        except UNREADABLE as error:
            timer.fault = f"{type(error).__name__}: {error}"
        return timer

    def group(self, row: Sequence[Any]) -> Group:
        """A group from GROUP_COLUMNS."""
        group_id, owner, shards, pool, spec, generation, state, since, emptied_at, change = row
        return Group(
            group_id=group_id,
            owner=owner,
            shards=shards,
            pool=pool,
            spec=spec_from_json(spec),
            generation=generation,
            state=GROUP_STATES[state],
            state_since=self._read(since),
            emptied_at=None if emptied_at is None else self._read(emptied_at),
            change=change,
        )

    def groups(self, rows: Iterable[Sequence[Any]]) -> list[Group]:
        """Groups from GROUP_COLUMNS; one that this release cannot read is told of and left out, so that the rest goes on."""
        groups = []
        for row in rows:
            try:
                groups.append(self.group(row))
            except UNREADABLE as error:
                log.error("a group's row cannot be read by this release", group=row[0], error=str(error))  # noqa: TRY400
        return groups


def member(row: Sequence[Any]) -> Member:
    """A member from MEMBER_COLUMNS."""
    incarnation, name, pool, host, beat, draining, dead, report = row
    return Member(incarnation, name, pool, host, beat, bool(draining), bool(dead), documents.report_from_json(report))


def shard(row: Sequence[Any]) -> Shard:
    """A shard from SHARD_COLUMNS."""
    group_id, number, epoch, owner, assigned_to, plan_term, drains = row
    return Shard(group_id, number, epoch, owner, assigned_to, plan_term, documents.drains_from_json(drains))
