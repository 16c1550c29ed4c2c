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
_SORTED: Final = orjson.OPT_SORT_KEYS


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
    given: dict[str, object] = {"u": callback_url}
    if execute_at is not None:
        given["at"] = _utc(execute_at)
    others = {
        "in": delay,
        "cron": schedule,
        "ct": content_type,
        "m": callback_method,
        "f": callback_format,
        "h": tuple(headers) or None,
        "l": labels or None,
        "r": retry_policy,
        "t": callback_timeout,
        "d": starting_deadline,
        "s": suspend,
    }
    for name, value in others.items():
        if value is not None:
            given[name] = _canonical(value)
    return _digest(given, payload)


def plain_fingerprint(callback_url: str, execute_at: datetime, payload: bytes | None) -> bytes:
    """`fingerprint` of these alone; the payload is JSON in canonical form, as orjson writes it with sorted names."""
    given: dict[str, object] = {"at": _utc(execute_at)}
    if payload is not None:
        given["p"] = orjson.Fragment(payload)
    given["u"] = callback_url
    return blake2b(orjson.dumps(given), digest_size=FINGERPRINT_SIZE).digest()


def _canonical(value: object) -> object:
    match value:
        case timedelta():
            return value // _MICROSECOND
        case Schedule():
            return [value.cron, value.time_zone, value.missed, _utc(value.start_at), _utc(value.end_at)]
        case RetryPolicy():
            lengths = (value.max_attempts_duration, value.initial_interval, value.max_interval)
            return [
                value.max_attempts,
                value.backoff_multiplier,
                *(length and length // _MICROSECOND for length in lengths),
            ]
        case tuple():
            return sorted(([header.name.lower(), _header_value(header)] for header in value), key=_name)
        case _:
            return value


def _digest(given: dict[str, object], payload: JsonPayload | bytes | None) -> bytes:
    if isinstance(payload, JsonPayload):
        given["p"] = payload.value
        return blake2b(orjson.dumps(given, option=_SORTED), digest_size=FINGERPRINT_SIZE).digest()
    hashed = blake2b(orjson.dumps(given, option=_SORTED), digest_size=FINGERPRINT_SIZE)
    if payload is not None:
        hashed.update(b"\0")
        hashed.update(payload)
    return hashed.digest()


def _name(header: list[object]) -> str:
    return str(header[0])


def _utc(instant: datetime | None) -> datetime | None:
    return instant if instant is None or instant.tzinfo is UTC else instant.astimezone(UTC)


def _header_value(header: Header) -> object:
    value = header.value
    return value if isinstance(value, str) else [value.namespace, value.name, value.key]
