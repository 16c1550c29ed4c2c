"""The fingerprint of a create: two creates with the same one ask for the same timer.

It is made of the parsed values: times as instants, durations as lengths, `delay` as given, JSON in canonical form
(names sorted, numbers by value), what was not given left unfilled, so that changed defaults change no fingerprint.
Rows keep it, so its form must never change for what exists; a new field is added only where it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from durable_timer.models.timer import CallbackFormat, CallbackMethod, Header, RetryPolicy, Schedule

FINGERPRINT_SIZE: Final = 16
"""Bytes of a fingerprint."""

_MICROSECOND: Final = timedelta(microseconds=1)
_CANONICAL: Final = orjson.OPT_SORT_KEYS


class JsonPayload(NamedTuple):
    """A payload that is JSON, parsed; numbers that are whole are integers."""

    value: object


def fingerprint(
    *,
    callback_url: str,
    execute_at: datetime | None = None,
    delay: timedelta | None = None,
    schedule: Schedule | None = None,
    payload: JsonPayload | bytes | None = None,
    content_type: str | None = None,
    callback_method: CallbackMethod | None = None,
    callback_format: CallbackFormat | None = None,
    headers: Iterable[Header] = (),
    labels: Mapping[str, str] | None = None,
    retry_policy: RetryPolicy | None = None,
    callback_timeout: timedelta | None = None,
    starting_deadline: timedelta | None = None,
    suspend: bool | None = None,
) -> bytes:
    """The fingerprint of what a client (or a resource) asked for; None stands for what was not given."""
    given: dict[str, object] = {
        "u": callback_url,
        "at": None if execute_at is None else _instant(execute_at),
        "in": _micros(delay),
        "cron": None if schedule is None else _schedule(schedule),
        "ct": content_type,
        "m": callback_method,
        "f": callback_format,
        "h": sorted(([header.name.lower(), _header_value(header)] for header in headers), key=_name) or None,
        "l": labels or None,
        "r": None if retry_policy is None else _retry_policy(retry_policy),
        "t": _micros(callback_timeout),
        "d": _micros(starting_deadline),
        "s": suspend,
    }
    return _digest({name: value for name, value in given.items() if value is not None}, payload)


def _digest(given: dict[str, object], payload: JsonPayload | bytes | None) -> bytes:
    if isinstance(payload, JsonPayload):
        given["p"] = payload.value
        return blake2b(orjson.dumps(given, option=_CANONICAL), digest_size=FINGERPRINT_SIZE).digest()
    hashed = blake2b(orjson.dumps(given, option=_CANONICAL), digest_size=FINGERPRINT_SIZE)
    if payload is not None:
        hashed.update(b"\0")
        hashed.update(payload)
    return hashed.digest()


def _name(header: list[object]) -> str:
    return str(header[0])


def _micros(length: timedelta | None) -> int | None:
    return None if length is None else length // _MICROSECOND


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _header_value(header: Header) -> object:
    value = header.value
    return value if isinstance(value, str) else [value.namespace, value.name, value.key]


def _schedule(schedule: Schedule) -> list[object]:
    return [
        schedule.cron,
        schedule.time_zone,
        schedule.missed,
        None if schedule.start_at is None else _instant(schedule.start_at),
        None if schedule.end_at is None else _instant(schedule.end_at),
    ]


def _retry_policy(policy: RetryPolicy) -> list[object]:
    return [
        policy.max_attempts,
        policy.backoff_multiplier,
        _micros(policy.max_attempts_duration),
        _micros(policy.initial_interval),
        _micros(policy.max_interval),
    ]
