"""The row of a Timer resource: how it is created, changed and compared. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from durable_timer.models.group import Group
from durable_timer.models.resource import Resource
from durable_timer.models.status import TimerStatus
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
from durable_timer.planning.declared import DeclaredTimer, timer_id_of
from durable_timer.planning.schedule import effective_starting_deadline
from durable_timer.planning.sharding import shard_of


def new_timer(
    declared: DeclaredTimer, resource: Resource, status: TimerStatus, group: Group, execute_at: datetime
) -> NewTimer:
    """The create of a row that is not there; requests that the status says were acted on are taken over."""
    timer_id = timer_id_of(resource.namespace, resource.name)
    return NewTimer(
        group_id=group.group_id,
        timer_id=timer_id,
        shard=shard_of(timer_id, group.shards),
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
        managed_by=_manager(declared, resource, status.last_run_request, status.last_redrive_request),
    )


def change_of(
    declared: DeclaredTimer, resource: Resource, managed: ManagedBy | None, execute_at: datetime | Unset
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
        declared=(declared.fingerprint, _manager(declared, resource, run, redrive)),
    )


def new_time(declared: DeclaredTimer, row: Timer, now: datetime) -> datetime | Unset:
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


def _deadline(declared: DeclaredTimer) -> timedelta | None:
    return effective_starting_deadline(declared.schedule, declared.starting_deadline)


def _manager(declared: DeclaredTimer, resource: Resource, run: str | None, redrive: str | None) -> ManagedBy:
    return ManagedBy(resource.uid, resource.generation, run, redrive, declared.execute_at)
