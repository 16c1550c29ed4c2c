"""What a Timer resource asks for: its spec, read, and judged by its group's rules for payloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pydantic import JsonValue, ValidationError

from durable_timer.models.checks import RESERVED_ID_PREFIX
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
from durable_timer.planning.declared_payload import PayloadRules, Wrong, read_payload
from durable_timer.planning.fingerprint import fingerprint
from durable_timer.planning.schedule import check_schedule

_MESSAGE_MAX: Final = 1024
_WRONG_MAX: Final = 5
"""How many wrong fields one message names."""


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


def read_timer(resource: Resource, rules: PayloadRules) -> DeclaredTimer | Refused:
    """Reads a Timer resource; header values stand in no message."""
    try:
        spec = TimerSpec.model_validate(dict(resource.spec), extra="ignore")
        return _declared(spec, resource.namespace, rules)
    except ValidationError as error:
        return Refused(TimerReason.INVALID_SPEC, _short(_said(error)))
    except Wrong as wrong:
        return Refused(wrong.reason, _short(str(wrong)))


def _declared(spec: TimerSpec, namespace: str, rules: PayloadRules) -> DeclaredTimer:
    schedule, headers, policy = _schedule(spec), _headers(spec, namespace), _policy(spec)
    payload = read_payload(spec, rules)
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
        raise Wrong(TimerReason.INVALID_SPEC, f"schedule: {error}") from None
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


def _said(error: ValidationError) -> str:
    """The rules that were broken, by field; without the values, which may be anything."""
    wrong = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{_field(item['loc'])}{item['msg'].removeprefix('Value error, ')}" for item in wrong[:_WRONG_MAX]]
    return "; ".join(lines)


def _field(steps: tuple[int | str, ...]) -> str:
    return ".".join(map(str, steps)) + ": " if steps else ""


def _short(message: str) -> str:
    return message if len(message) <= _MESSAGE_MAX else message[: _MESSAGE_MAX - 1] + "…"


def group_name(spec: Mapping[str, JsonValue]) -> str | None:
    """The name in `groupRef`, of a spec that may be wrong otherwise."""
    ref = spec.get("groupRef")
    name = ref.get("name") if isinstance(ref, dict) else None
    return name if isinstance(name, str) else None
