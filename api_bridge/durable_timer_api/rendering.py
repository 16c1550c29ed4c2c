"""From rows to answers. A payload's text goes out as it came in."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
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
