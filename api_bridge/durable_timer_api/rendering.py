"""From rows to answers. A payload's text goes out as it came in."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Final

import orjson

from durable_timer.models.checks import is_json_media_type
from durable_timer.models.durations import format_duration
from durable_timer.models.instants import format_instant
from durable_timer.models.timer import RetryPolicy, Schedule, Suspension, Timer, TimerState

_instant: Final = lru_cache(maxsize=256)(format_instant)
"""Many timers of one insert have the same times."""

_WAITING: Final = frozenset({TimerState.PENDING, TimerState.RUNNING})


def render_timer(timer: Timer, *, payload: bool = True) -> dict[str, object]:
    """A timer on the wire; without `payload` in the basic view."""
    execute_at, created_at = _instant(timer.execute_at), _instant(timer.created_at)
    answer: dict[str, object] = {
        "id": timer.timer_id,
        "groupId": timer.group_id,
        "executeAt": execute_at,
        "callbackUrl": timer.callback_url,
        "callbackMethod": timer.callback_method,
        "callbackFormat": timer.callback_format,
        "contentType": timer.content_type,
        "labels": timer.labels or {},
        "retryPolicy": None if timer.retry_policy is None else _retry_policy(timer.retry_policy),
        "callbackTimeoutSeconds": (
            None if timer.callback_timeout is None else int(timer.callback_timeout.total_seconds())
        ),
        "startingDeadline": None if timer.starting_deadline is None else format_duration(timer.starting_deadline),
        "suspend": timer.suspended is not Suspension.NONE,
        "state": timer.state,
        "attempt": timer.attempt,
        "occurrence": timer.occurrence,
        "nextAttemptAt": None
        if timer.state not in _WAITING
        else execute_at
        if timer.due_at == timer.execute_at
        else _instant(timer.due_at),
        "lastError": timer.last_error,
        "lastStatus": timer.last_status,
        "createdAt": created_at,
        "updatedAt": created_at if timer.updated_at == timer.created_at else _instant(timer.updated_at),
        "executedAt": None if timer.executed_at is None else _instant(timer.executed_at),
        "version": timer.version,
        "headerNames": [header.name for header in timer.headers],
    }
    if timer.schedule is not None:
        answer["schedule"] = _schedule(timer.schedule)
    if payload and timer.payload is not None:
        if timer.content_type is None or is_json_media_type(timer.content_type):
            answer["payload"] = orjson.Fragment(timer.payload)
        else:
            answer["payloadBase64"] = b64encode(timer.payload).decode()
    return answer


_ordinary_fields: Final = attrgetter(
    "callback_method", "callback_format", "content_type", "labels", "retry_policy", "callback_timeout",
    "starting_deadline", "suspended", "state", "attempt", "occurrence", "last_error", "last_status", "executed_at",
    "version", "headers", "schedule",
)  # fmt: skip
_SAMPLE: Final = Timer(
    group_id="%b",
    timer_id="%b",
    shard=0,
    uid=0,
    version=1,
    state=TimerState.PENDING,
    execute_at=datetime(2001, 1, 1, tzinfo=UTC),
    due_at=datetime(2002, 1, 1, tzinfo=UTC),
    occurrence=1,
    attempt=0,
    callback_url="%b",
    fingerprint=b"",
    created_at=datetime(2003, 1, 1, tzinfo=UTC),
    updated_at=datetime(2004, 1, 1, tzinfo=UTC),
)
"""A timer that was just created with no more than its id, its time, its URL and a payload."""

_ORDINARY: Final = _ordinary_fields(_SAMPLE)


def _form() -> bytes:
    """The sample's answer, with a place for each value that differs from timer to timer, strings' quotes included."""
    text = orjson.dumps(render_timer(_SAMPLE)).replace(b'"%b"', b"%b")
    return re.sub(rb'"200[1-4]-01-01T00:00:00.000000Z"', b"%b", text)


_FORM: Final = _form()


@lru_cache(maxsize=1024)
def _string(value: str) -> bytes:
    return orjson.dumps(value)


@lru_cache(maxsize=256)
def _instant_string(instant: datetime) -> bytes:
    return orjson.dumps(format_instant(instant))


def timer_json(timer: Timer, *, payload: bool = True) -> bytes:
    """What `render_timer` makes, as JSON. Most timers that were just created differ in a few values only."""
    if _ordinary_fields(timer) != _ORDINARY:
        return orjson.dumps(render_timer(timer, payload=payload))
    text = _FORM % (
        orjson.dumps(timer.timer_id),
        _string(timer.group_id),
        _instant_string(timer.execute_at),
        _string(timer.callback_url),
        _instant_string(timer.due_at),
        _instant_string(timer.created_at),
        _instant_string(timer.updated_at),
    )
    if not payload or timer.payload is None:
        return text
    return b'%b,"payload":%b}' % (text[:-1], timer.payload)


def _retry_policy(policy: RetryPolicy) -> dict[str, object]:
    fields = {
        "maxAttempts": policy.max_attempts,
        "maxAttemptsDuration": policy.max_attempts_duration and format_duration(policy.max_attempts_duration),
        "initialInterval": policy.initial_interval and format_duration(policy.initial_interval),
        "backoffMultiplier": policy.backoff_multiplier,
        "maxInterval": policy.max_interval and format_duration(policy.max_interval),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _schedule(schedule: Schedule) -> dict[str, object]:
    return {
        "cron": schedule.cron,
        "timeZone": schedule.time_zone,
        "missed": schedule.missed,
        "startAt": None if schedule.start_at is None else format_instant(schedule.start_at),
        "endAt": None if schedule.end_at is None else format_instant(schedule.end_at),
    }
