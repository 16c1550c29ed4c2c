"""From a request's JSON to what a store is asked: all rules that need the group or the time, all wrong values at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from uuid_utils import uuid7

from durable_timer.models import limits
from durable_timer.models.instants import format_instant
from durable_timer.models.timer import (
    UNSET,
    Header,
    Missed,
    NewTimer,
    RetryPolicy,
    Schedule,
    Timer,
    TimerChange,
    Unset,
)
from durable_timer.planning.fingerprint import fingerprint
from durable_timer.planning.schedule import effective_starting_deadline, first_occurrence
from durable_timer.planning.sharding import shard_of
from durable_timer_api.invalid import read_body
from durable_timer_api.json_text import JsonObject
from durable_timer_api.payloads import Payload, PayloadRules
from durable_timer_api.problems import Wrong, pointer
from durable_timer_api.schemas import NewTimerBody, RetryPolicyBody, ScheduleBody, TimerBody, TimerChangeBody

BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
"""The one instant that drivers take for minus infinity."""

_TIMES: Final = ("executeAt", "delay", "schedule")
_AS_THEY_ARE: Final = {
    "execute_at", "callback_url", "callback_method", "callback_format", "starting_deadline",
}  # fmt: skip
"""Fields of a change that mean on the wire what they mean inside."""

_NO_RETRIES_OF_ITS_OWN: Final = RetryPolicy()


class Surroundings(NamedTuple):
    """What a request is judged by: its group, and the store's time as far as this process knows it."""

    group_id: str
    shards: int
    payloads: PayloadRules
    now: datetime
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A PUT or PATCH as read.

    `plain` is all of it but the payload, which is compared with the present one before it is written: `payload` is the
    new one, None to remove it, UNSET to keep it. `content_type` is one that came without a payload, UNSET if none did.
    `too_far` is what is wrong with its executeAt and its schedule, unless it is the present one.
    """

    plain: TimerChange
    payload: Payload | Unset | None
    content_type: str | Unset | None
    too_far: tuple[Wrong, ...] = ()

    def wrong_for(self, present: Timer) -> list[Wrong]:
        """What is too far ahead and not what the timer has already."""
        plain = self.plain
        return [
            wrong
            for wrong in self.too_far
            if (wrong.pointer != "/executeAt" or plain.execute_at != present.execute_at)
            and (wrong.pointer != "/schedule" or plain.schedule != present.schedule)
        ]


def new_timer(document: JsonObject, where: Surroundings, *at: str | int) -> NewTimer | list[Wrong]:
    """Reads a create; `at` are the steps from the request's root to the document."""
    members = document.members
    body, errors = read_body(NewTimerBody, members, *at)
    errors += _one_time(members, at) + _own_group(members, where, at)
    payload = _payload(document, where.payloads, at, errors)
    if members.get("contentType") is not None and "payload" not in members and members.get("payloadBase64") is None:
        errors.append(_lonely_content_type(at))
    if body is None:
        return errors
    schedule = None if body.schedule is None else _schedule(body.schedule)
    execute_at = body.execute_at
    if execute_at is not None:
        if execute_at == BEGINNING or execute_at > where.now + limits.FUTURE_MAX:
            errors += _drivable(execute_at, at) + _near_enough(execute_at, where.now, *at, "executeAt")
    elif schedule is not None:
        execute_at = first_occurrence(schedule, where.now)
        if execute_at is None:
            errors.append(Wrong("must have an occurrence after now", pointer(*at, "schedule")))
        else:
            errors += _near_enough(execute_at, where.now, *at, "schedule")
    if errors:
        return errors
    return _new_timer(body, schedule, execute_at, payload, where)


def _new_timer(
    body: NewTimerBody,
    schedule: Schedule | None,
    execute_at: datetime | None,
    payload: Payload | None,
    where: Surroundings,
) -> NewTimer:
    headers, retry_policy, timeout = _headers(body), _retry_policy(body.retry_policy), _timeout(body)
    timer_id = body.id if body.id is not None else str(uuid7())
    labels = body.labels or None
    content_type = None if payload is None else payload.content_type
    return NewTimer(
        group_id=where.group_id,
        timer_id=timer_id,
        shard=shard_of(timer_id, where.shards),
        callback_url=body.callback_url,
        fingerprint=fingerprint(
            callback_url=body.callback_url,
            execute_at=body.execute_at,
            delay=body.delay,
            schedule=schedule,
            payload=None if payload is None else payload.value,
            content_type=content_type,
            callback_method=body.callback_method,
            callback_format=body.callback_format,
            headers=headers,
            labels=labels,
            retry_policy=retry_policy,
            callback_timeout=timeout,
            starting_deadline=body.starting_deadline,
            suspend=body.suspend,
        ),
        execute_at=execute_at,
        delay=body.delay,
        callback_method=body.callback_method,
        callback_format=body.callback_format,
        content_type=content_type,
        payload=None if payload is None else payload.content,
        headers=headers,
        labels=labels,
        retry_policy=retry_policy,
        callback_timeout=timeout,
        schedule=schedule,
        starting_deadline=effective_starting_deadline(schedule, body.starting_deadline),
        suspended=bool(body.suspend),
        traceparent=where.traceparent,
    )


def timer_change(document: JsonObject, timer_id: str, where: Surroundings) -> Change | list[Wrong]:
    """Reads a PUT or PATCH of the timer."""
    members = {name: value for name, value in document.members.items() if name not in TimerChangeBody.READ_ONLY}
    body, errors = read_body(TimerChangeBody, members)
    errors += _never_null(members) + _one_change_of_time(members) + _own_group(members, where, ())
    if isinstance(members.get("id"), str) and members["id"] != timer_id:
        errors.append(Wrong("must be the path's timer", pointer("id")))
    payload = _payload(document, where.payloads, (), errors)
    if body is None:
        return errors
    given = body.model_fields_set
    if body.execute_at is not None:
        errors += _drivable(body.execute_at, ())
    too_far = _too_far(body, where.now)
    if errors:
        return errors + too_far
    without_payload = payload is None
    removed = without_payload and "payload_base64" in given
    return Change(
        plain=_plain_change(body, given),
        payload=(None if removed else UNSET) if without_payload else payload,
        content_type=body.content_type if without_payload and not removed and "content_type" in given else UNSET,
        too_far=tuple(too_far),
    )


def _plain_change(body: TimerChangeBody, given: set[str]) -> TimerChange:
    asked: dict[str, object] = {name: getattr(body, name) for name in _AS_THEY_ARE & given}
    if body.delay is not None:
        asked["delay"] = body.delay
    if "schedule" in given:
        asked["schedule"] = None if body.schedule is None else _schedule(body.schedule)
    if "headers" in given:
        asked["headers"] = _headers(body)
    if "labels" in given:
        asked["labels"] = body.labels or None
    if "retry_policy" in given:
        asked["retry_policy"] = _retry_policy(body.retry_policy)
    if "callback_timeout_seconds" in given:
        asked["callback_timeout"] = _timeout(body)
    if "suspend" in given:
        asked["suspended"] = bool(body.suspend)
    return replace(TimerChange(), **asked)  # type: ignore[arg-type] # each under its field's name, of its field's type


def _one_time(members: dict[str, object], at: tuple[str | int, ...]) -> list[Wrong]:
    get = members.get
    if (get("executeAt") is not None) + (get("delay") is not None) + (get("schedule") is not None) == 1:
        return []
    given = [name for name in _TIMES if get(name) is not None]
    if not given:
        return [Wrong("one of executeAt, delay and schedule is required", pointer(*at, "executeAt"))]
    return [Wrong("only one of executeAt, delay and schedule may be given", pointer(*at, name)) for name in given]


def _never_null(members: dict[str, object]) -> list[Wrong]:
    return [
        Wrong("must not be null, it has no default", pointer(name))
        for name in ("executeAt", "callbackUrl")
        if name in members and members[name] is None
    ]


def _one_change_of_time(members: dict[str, object]) -> list[Wrong]:
    given = [name for name in _TIMES if members.get(name) is not None]
    if "delay" not in given or len(given) == 1:
        return []
    return [Wrong("delay excludes executeAt and schedule", pointer(name)) for name in given]


def _own_group(members: dict[str, object], where: Surroundings, at: tuple[str | int, ...]) -> list[Wrong]:
    group_id = members.get("groupId")
    if not isinstance(group_id, str) or group_id == where.group_id:
        return []
    return [Wrong("must be the path's group", pointer(*at, "groupId"))]


def _drivable(execute_at: datetime, at: tuple[str | int, ...]) -> list[Wrong]:
    if execute_at != BEGINNING:
        return []
    return [Wrong("must be later than 0001-01-01T00:00:00Z", pointer(*at, "executeAt"))]


def _near_enough(execute_at: datetime, now: datetime, *steps: str | int) -> list[Wrong]:
    latest = now + limits.FUTURE_MAX
    if execute_at <= latest:
        return []
    first = "have its first occurrence" if steps[-1] == "schedule" else "be"
    return [Wrong(f"must {first} at most 100 years ahead, before {format_instant(latest)}", pointer(*steps))]


def _too_far(body: TimerChangeBody, now: datetime) -> list[Wrong]:
    wrong = [] if body.execute_at is None else _near_enough(body.execute_at, now, "executeAt")
    first = None if body.schedule is None else first_occurrence(_schedule(body.schedule), now)
    return wrong if first is None else wrong + _near_enough(first, now, "schedule")


def _payload(
    document: JsonObject, rules: PayloadRules, at: tuple[str | int, ...], errors: list[Wrong]
) -> Payload | None:
    members = document.members
    base64, content_type = members.get("payloadBase64"), members.get("contentType")
    if content_type is not None and not isinstance(content_type, str):
        return None  # refused as a field
    if "payload" in members and base64 is not None:
        errors += [
            Wrong("only one of payload and payloadBase64 may be given", pointer(*at, name))
            for name in ("payload", "payloadBase64")
        ]
        return None
    if "payload" in members:
        return rules.json(members["payload"], document.texts["payload"], content_type, at, errors)
    if isinstance(base64, str):
        return rules.base64(base64, content_type, at, errors)
    return None


def _lonely_content_type(at: tuple[str | int, ...]) -> Wrong:
    return Wrong("must come with payload or payloadBase64", pointer(*at, "contentType"))


def _headers(body: TimerBody) -> tuple[Header, ...]:
    if not body.headers:
        return ()
    return tuple(Header(name, value) for name, value in sorted(body.headers.items()))


def _timeout(body: TimerBody) -> timedelta | None:
    seconds = body.callback_timeout_seconds
    return None if seconds is None else timedelta(seconds=seconds)


def _retry_policy(body: RetryPolicyBody | None) -> RetryPolicy | None:
    if body is None:
        return None
    policy = RetryPolicy(
        max_attempts=body.max_attempts,
        max_attempts_duration=body.max_attempts_duration,
        initial_interval=body.initial_interval,
        backoff_multiplier=body.backoff_multiplier,
        max_interval=body.max_interval,
    )
    return None if policy == _NO_RETRIES_OF_ITS_OWN else policy


def _schedule(body: ScheduleBody) -> Schedule:
    return Schedule(
        cron=body.cron,
        time_zone=body.time_zone or "UTC",
        missed=body.missed or Missed.RUN,
        start_at=body.start_at,
        end_at=body.end_at,
    )
