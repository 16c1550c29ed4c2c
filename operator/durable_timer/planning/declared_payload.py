"""The payload of a Timer resource: its bytes as they are kept, its value as it is judged. Pure."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from typing import Any, Final, NamedTuple

import jsonschema_rs
import orjson
from pydantic import JsonValue

from durable_timer.models import limits
from durable_timer.models.checks import BYTES_MEDIA_TYPE, JSON_MEDIA_TYPE, is_json_media_type
from durable_timer.models.group import PayloadSpec
from durable_timer.models.status import TimerReason
from durable_timer.models.timer_manifest import TimerSpec
from durable_timer.planning.fingerprint import JsonPayload

_PLACES_MAX: Final = 5
"""How many places of a payload that a schema refuses one message names."""

_VALUE: Final = "the value"
"""What stands for a payload's values in what a schema says of them: conditions and Events are read by others, too."""


class Wrong(Exception):
    """What breaks a rule, and the reason that a condition gives."""

    def __init__(self, reason: TimerReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Payload(NamedTuple):
    """`content_type` is None where `content` is JSON under its plain media type; `value` is what a fingerprint covers."""

    content: bytes
    content_type: str | None
    value: JsonPayload | bytes


class PayloadRules:
    """What a group asks of payloads; its schema is compiled once."""

    def __init__(self, spec: PayloadSpec) -> None:
        self.spec = spec
        self._most = min(spec.max_bytes, limits.RESOURCE_PAYLOAD_MAX_BYTES)
        self._validator = (
            None
            if spec.json_schema is None
            else jsonschema_rs.validator_for(spec.json_schema, retriever=_no_retrieval, mask=_VALUE)
        )

    def check(self, content: bytes, value: JsonPayload | bytes) -> None:
        """Raises `Wrong` for a payload that is too large or, being JSON, breaks the group's schema."""
        if len(content) > self._most:
            raise Wrong(
                TimerReason.PAYLOAD_TOO_LARGE,
                f"the payload must have at most {self._most} bytes in this group, has {len(content)}",
            )
        if self._validator is None or not isinstance(value, JsonPayload):
            return
        found = zip(self._validator.iter_errors(value.value), range(_PLACES_MAX), strict=False)
        if wrong := [f"/{'/'.join(map(str, error.instance_path))}: {error.message}" for error, _ in found]:
            raise Wrong(TimerReason.PAYLOAD_REFUSED, "the group's payload schema refuses it: " + "; ".join(wrong))


def read_payload(spec: TimerSpec, rules: PayloadRules) -> Payload | None:
    """The payload, or None where there is none. Raises: Wrong."""
    try:
        payload = _payload_of(spec, spec.content_type)
    except ValueError as error:
        raise Wrong(TimerReason.INVALID_SPEC, str(error)) from None
    if payload is not None:
        rules.check(payload.content, payload.value)
    return payload


def _payload_of(spec: TimerSpec, media_type: str | None) -> Payload | None:
    is_json = media_type is None or is_json_media_type(media_type)
    if spec.payload_base64 is not None:
        try:
            content = b64decode(spec.payload_base64, validate=True)
        except binascii.Error:
            raise ValueError("payloadBase64 must be standard base64 with its padding") from None
        if media_type is None or not is_json:
            return Payload(content, media_type or BYTES_MEDIA_TYPE, content)
        return Payload(content, _plain(media_type), JsonPayload(_parsed(content)))
    if spec.payload is None:
        return None
    _check_depth(spec.payload)
    try:
        content = orjson.dumps(spec.payload)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"payload must be JSON: {error}") from None
    return Payload(content, _plain(media_type), JsonPayload(_canonical(spec.payload)))


def _parsed(content: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(content, parse_int=_integer, parse_constant=_no_constant)
        _check_depth(value)
        value = _canonical(value)
        orjson.dumps(value)
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise ValueError(f"payloadBase64 must be JSON under its contentType: {error}") from None
    return value


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


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"a schema may refer to itself alone, not to {uri}")
