"""What a Timer resource asks for: its spec, read, and judged by its group's rules for payloads."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import jsonschema_rs
import orjson
from pydantic import JsonValue, ValidationError

from durable_timer.models import limits
from durable_timer.models.checks import (
    BYTES_MEDIA_TYPE,
    JSON_MEDIA_TYPE,
    RESERVED_ID_PREFIX,
    is_json_media_type,
)
from durable_timer.models.group import PayloadSpec
from durable_timer.models.resource import Resource
from durable_timer.models.status import TimerReason
from durable_timer.models.timer import (
    CallbackFormat,
    CallbackMethod,
    Header,
    RetryPolicy,
    Schedule,
    SecretRef,
)
from durable_timer.models.timer_manifest import TimerSpec
from durable_timer.planning.fingerprint import JsonPayload, fingerprint
from durable_timer.planning.schedule import check_schedule

_MESSAGE_MAX: Final = 1024
_WRONG_MAX: Final = 5
"""How many wrong fields or places of a payload one message names."""


class Refused(NamedTuple):
    """Why a resource cannot be declared until it, or its group, is changed."""

    reason: TimerReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTimer:
    """A Timer resource's spec as domain values.

    Exactly one of `execute_at` and `schedule` is set. `starting_deadline` is the resource's own, not yet the effective
    one. None and empty mean what they mean in `models.timer.NewTimer`.
    """

    callback_url: str
    fingerprint: bytes
    execute_at: datetime | None
    schedule: Schedule | None
    callback_method: CallbackMethod | None
    callback_format: CallbackFormat | None
    content_type: str | None
    payload: bytes | None
    headers: tuple[Header, ...]
    labels: dict[str, str] | None
    retry_policy: RetryPolicy | None
    callback_timeout: timedelta | None
    starting_deadline: timedelta | None
    suspended: bool


def timer_id_of(namespace: str, name: str) -> str:
    """The id of the row that a Timer resource of this name declares."""
    return f"{RESERVED_ID_PREFIX}{namespace}:{name}"


class PayloadRules:
    """What a group asks of payloads; its schema is compiled once."""

    def __init__(self, spec: PayloadSpec) -> None:
        self.spec = spec
        self._most = min(spec.max_bytes, limits.RESOURCE_PAYLOAD_MAX_BYTES)
        self._validator = (
            None if spec.json_schema is None else jsonschema_rs.validator_for(spec.json_schema, retriever=_no_retrieval)
        )

    def check(self, content: bytes, value: JsonPayload | bytes) -> None:
        """Raises `_Wrong` for a payload that is too large or, being JSON, breaks the group's schema."""
        if len(content) > self._most:
            raise _Wrong(
                TimerReason.PAYLOAD_TOO_LARGE,
                f"the payload must have at most {self._most} bytes in this group, has {len(content)}",
            )
        if self._validator is None or not isinstance(value, JsonPayload):
            return
        found = zip(self._validator.iter_errors(value.value), range(_WRONG_MAX), strict=False)
        if wrong := [f"/{'/'.join(map(str, error.instance_path))}: {error.message}" for error, _ in found]:
            raise _Wrong(TimerReason.PAYLOAD_REFUSED, "the group's payload schema refuses it: " + "; ".join(wrong))


def read_timer(resource: Resource, rules: PayloadRules) -> DeclaredTimer | Refused:
    """Reads a Timer resource; header values stand in no message."""
    try:
        spec = TimerSpec.model_validate(dict(resource.spec), extra="ignore")
        return _declared(spec, resource.namespace, rules)
    except ValidationError as error:
        return Refused(TimerReason.INVALID_SPEC, _short(_said(error)))
    except _Wrong as wrong:
        return Refused(wrong.reason, _short(str(wrong)))


class _Wrong(Exception):
    def __init__(self, reason: TimerReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Payload(NamedTuple):
    content: bytes
    content_type: str | None
    value: JsonPayload | bytes


def _declared(spec: TimerSpec, namespace: str, rules: PayloadRules) -> DeclaredTimer:
    schedule, headers, policy = _schedule(spec), _headers(spec, namespace), _policy(spec)
    payload = _payload(spec, rules)
    content_type = None if payload is None else payload.content_type
    labels = dict(spec.labels) if spec.labels else None
    return DeclaredTimer(
        callback_url=spec.callback_url,
        fingerprint=fingerprint(
            callback_url=spec.callback_url,
            execute_at=spec.execute_at,
            schedule=schedule,
            payload=None if payload is None else payload.value,
            content_type=content_type,
            callback_method=spec.callback_method,
            callback_format=spec.callback_format,
            headers=headers,
            labels=labels,
            retry_policy=policy,
            callback_timeout=spec.callback_timeout,
            starting_deadline=spec.starting_deadline,
            suspend=spec.suspend or None,
        ),
        execute_at=spec.execute_at,
        schedule=schedule,
        callback_method=spec.callback_method,
        callback_format=spec.callback_format,
        content_type=content_type,
        payload=None if payload is None else payload.content,
        headers=headers,
        labels=labels,
        retry_policy=policy,
        callback_timeout=spec.callback_timeout,
        starting_deadline=spec.starting_deadline,
        suspended=bool(spec.suspend),
    )


def _schedule(spec: TimerSpec) -> Schedule | None:
    said = spec.schedule
    if said is None:
        return None
    schedule = Schedule(said.cron, said.time_zone, said.missed, said.start_at, said.end_at)
    try:
        check_schedule(schedule)
    except ValueError as error:
        raise _Wrong(TimerReason.INVALID_SPEC, f"schedule: {error}") from None
    return schedule


def _headers(spec: TimerSpec, namespace: str) -> tuple[Header, ...]:
    """Sorted by name, as those that come over REST. A Secret lies in the resource's own namespace, and nowhere else."""
    headers = []
    for said in spec.headers:
        if said.value_from is None:
            headers.append(Header(said.name, said.value or ""))
        else:
            ref = said.value_from.secret_key_ref
            headers.append(Header(said.name, SecretRef(ref.name, ref.key, namespace)))
    return tuple(sorted(headers, key=lambda header: header.name))


def _policy(spec: TimerSpec) -> RetryPolicy | None:
    said = spec.retry_policy
    if said is None:
        return None
    policy = RetryPolicy(
        said.max_attempts,
        said.max_attempts_duration,
        said.initial_interval,
        said.backoff_multiplier,
        said.max_interval,
    )
    return None if policy == RetryPolicy() else policy


def _payload(spec: TimerSpec, rules: PayloadRules) -> _Payload | None:
    try:
        payload = _payload_of(spec, spec.content_type)
    except ValueError as error:
        raise _Wrong(TimerReason.INVALID_SPEC, str(error)) from None
    if payload is not None:
        rules.check(payload.content, payload.value)
    return payload


def _payload_of(spec: TimerSpec, media_type: str | None) -> _Payload | None:
    is_json = media_type is None or is_json_media_type(media_type)
    if spec.payload_base64 is not None:
        try:
            content = b64decode(spec.payload_base64, validate=True)
        except binascii.Error:
            raise ValueError("payloadBase64 must be standard base64 with its padding") from None
        if media_type is None or not is_json:
            return _Payload(content, media_type or BYTES_MEDIA_TYPE, content)
        return _Payload(content, _plain(media_type), JsonPayload(_parsed(content)))
    if spec.payload is None:
        return None
    _check_depth(spec.payload)
    try:
        content = orjson.dumps(spec.payload)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"payload must be JSON: {error}") from None
    return _Payload(content, _plain(media_type), JsonPayload(_canonical(spec.payload)))


def _parsed(content: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(content, parse_int=_integer, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"payloadBase64 must be JSON under its contentType: {error}") from None
    _check_depth(value)
    return _canonical(value)


def _integer(digits: str) -> int:
    value = int(digits)
    if not limits.JSON_INTEGER_MIN <= value <= limits.JSON_INTEGER_MAX:
        raise ValueError("an integer of more than 64 bits")
    return value


def _no_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is no number of JSON")


def _check_depth(value: JsonValue) -> None:
    level = [value]
    for _ in range(limits.JSON_DEPTH_MAX + 1):
        level = [item for outer in level for item in _items(outer)]
        if not level:
            return
    raise ValueError(f"the payload must be nested at most {limits.JSON_DEPTH_MAX} deep")


def _items(value: JsonValue) -> list[JsonValue]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _canonical(value: JsonValue) -> JsonValue:
    """Whole numbers as integers: an API server writes 2.0 as it likes."""
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if not isinstance(value, float) or not value.is_integer():
        return value
    return int(value) if limits.JSON_INTEGER_MIN <= value <= limits.JSON_INTEGER_MAX else value


def _plain(media_type: str | None) -> str | None:
    return None if media_type is None or media_type.strip().lower() == JSON_MEDIA_TYPE else media_type


def _said(error: ValidationError) -> str:
    """The rules that were broken, by field; without the values, which may be anything."""
    wrong = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{_field(item['loc'])}{item['msg'].removeprefix('Value error, ')}" for item in wrong[:_WRONG_MAX]]
    return "; ".join(lines)


def _field(steps: tuple[int | str, ...]) -> str:
    return ".".join(map(str, steps)) + ": " if steps else ""


def _short(message: str) -> str:
    return message if len(message) <= _MESSAGE_MAX else message[: _MESSAGE_MAX - 1] + "…"


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"a schema may refer to itself alone, not to {uri}")


def group_name(spec: Mapping[str, JsonValue]) -> str | None:
    """The name in `groupRef`, of a spec that may be wrong otherwise."""
    ref = spec.get("groupRef")
    name = ref.get("name") if isinstance(ref, dict) else None
    return name if isinstance(name, str) else None
