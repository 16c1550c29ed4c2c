"""Columns that hold JSON text: headers, retry policies, schedules, managers, reports and drains.

Absent fields are left out, unknown ones (of a later release) are ignored. Instants and durations inside are whole
microseconds, instants since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from durable_timer.models.ownership import Drain, MemberReport
from durable_timer.models.timer import Header, ManagedBy, Missed, RetryPolicy, Schedule, SecretRef

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(value: timedelta) -> int:
    """A duration in whole microseconds."""
    return value // _MICROSECOND


def from_micros(value: int) -> timedelta:
    """A duration from whole microseconds."""
    return timedelta(microseconds=value)


def instant_to_micros(value: datetime) -> int:
    """An instant in microseconds since 1970, UTC."""
    return (value - _EPOCH) // _MICROSECOND


def instant_from_micros(value: int) -> datetime:
    """The instant so many microseconds after 1970, UTC."""
    return _EPOCH + timedelta(microseconds=value)


def headers_to_json(headers: tuple[Header, ...]) -> str | None:
    """`[{"name", "value"} or {"name", "secret": {"name", "key", "namespace"}}]`, in order; None without headers."""
    if not headers:
        return None
    return _dump(
        [
            {"name": header.name, "value": header.value}
            if isinstance(header.value, str)
            else {
                "name": header.name,
                "secret": {
                    "name": header.value.name,
                    "key": header.value.key,
                    "namespace": header.value.namespace,
                },
            }
            for header in headers
        ]
    )


def headers_from_json(text: str | None) -> tuple[Header, ...]:
    """What `headers_to_json` wrote."""
    if text is None:
        return ()
    return tuple(
        Header(item["name"], _secret(item["secret"]) if "secret" in item else item["value"])
        for item in orjson.loads(text)
    )


def _secret(item: dict[str, Any]) -> SecretRef:
    return SecretRef(item["name"], item["key"], item.get("namespace"))


def labels_to_json(labels: dict[str, str] | None) -> str | None:
    """A flat object; None where the timer has no labels set."""
    return None if labels is None else _dump(labels)


def labels_from_json(text: str | None) -> dict[str, str] | None:
    """What `labels_to_json` wrote."""
    return None if text is None else orjson.loads(text)


def policy_to_json(policy: RetryPolicy | None) -> str | None:
    """The fields that the timer sets itself; None where it has no policy."""
    if policy is None:
        return None
    return _dump(
        _without_none(
            {
                "maxAttempts": policy.max_attempts,
                "maxAttemptsDuration": _micros(policy.max_attempts_duration),
                "initialInterval": _micros(policy.initial_interval),
                "backoffMultiplier": policy.backoff_multiplier,
                "maxInterval": _micros(policy.max_interval),
            }
        )
    )


def policy_from_json(text: str | None) -> RetryPolicy | None:
    """What `policy_to_json` wrote."""
    if text is None:
        return None
    item = orjson.loads(text)
    return RetryPolicy(
        item.get("maxAttempts"),
        _duration(item.get("maxAttemptsDuration")),
        _duration(item.get("initialInterval")),
        item.get("backoffMultiplier"),
        _duration(item.get("maxInterval")),
    )


def schedule_to_json(schedule: Schedule | None) -> str | None:
    """`{"cron", "timeZone", "missed", "startAt", "endAt"}`; None for a one-shot."""
    if schedule is None:
        return None
    return _dump(
        _without_none(
            {
                "cron": schedule.cron,
                "timeZone": schedule.time_zone,
                "missed": schedule.missed.value,
                "startAt": None if schedule.start_at is None else instant_to_micros(schedule.start_at),
                "endAt": None if schedule.end_at is None else instant_to_micros(schedule.end_at),
            }
        )
    )


def schedule_from_json(text: str | None) -> Schedule | None:
    """What `schedule_to_json` wrote."""
    if text is None:
        return None
    item = orjson.loads(text)
    start_at, end_at = item.get("startAt"), item.get("endAt")
    return Schedule(
        item["cron"],
        item["timeZone"],
        Missed(item["missed"]),
        None if start_at is None else instant_from_micros(start_at),
        None if end_at is None else instant_from_micros(end_at),
    )


def manager_to_json(managed_by: ManagedBy | None) -> str | None:
    """`{"uid", "generation", "runRequest", "redriveRequest", "executeAt"}`; None for a row that no resource declares."""
    if managed_by is None:
        return None
    return _dump(
        _without_none(
            {
                "uid": managed_by.uid,
                "generation": managed_by.generation,
                "runRequest": managed_by.run_request,
                "redriveRequest": managed_by.redrive_request,
                "executeAt": None if managed_by.execute_at is None else instant_to_micros(managed_by.execute_at),
            }
        )
    )


def manager_from_json(text: str | None) -> ManagedBy | None:
    """What `manager_to_json` wrote."""
    if text is None:
        return None
    item = orjson.loads(text)
    execute_at = item.get("executeAt")
    return ManagedBy(
        item["uid"],
        item["generation"],
        item.get("runRequest"),
        item.get("redriveRequest"),
        None if execute_at is None else instant_from_micros(execute_at),
    )


def report_to_json(report: MemberReport) -> str:
    """`{"version", "unreadableSecrets", "latenessP99", "change"}`."""
    return _dump(
        {
            "version": report.version,
            "unreadableSecrets": report.unreadable_secrets,
            "latenessP99": report.lateness_p99,
            "change": report.change,
        }
    )


def report_from_json(text: str) -> MemberReport:
    """What `report_to_json` wrote."""
    item = orjson.loads(text)
    return MemberReport(
        item.get("version", ""),
        tuple(item.get("unreadableSecrets", ())),
        dict(item.get("latenessP99", {})),
        item.get("change", 0),
    )


def drains_to_json(drains: Sequence[Drain]) -> str:
    """`[{"epoch", "incarnation", "until"}]`."""
    return _dump(
        [
            {"epoch": drain.epoch, "incarnation": drain.incarnation, "until": instant_to_micros(drain.until)}
            for drain in drains
        ]
    )


def drains_from_json(text: str) -> tuple[Drain, ...]:
    """What `drains_to_json` wrote."""
    if text == "[]":
        return ()
    return tuple(
        Drain(item["epoch"], item["incarnation"], instant_from_micros(item["until"])) for item in orjson.loads(text)
    )


def _micros(value: timedelta | None) -> int | None:
    return None if value is None else to_micros(value)


def _duration(value: int | None) -> timedelta | None:
    return None if value is None else from_micros(value)


def _without_none(item: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in item.items() if value is not None}


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()
