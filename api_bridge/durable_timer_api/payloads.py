"""The payload of a request: its bytes as they are kept, its value as it is judged."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, Final, NamedTuple

import jsonschema_rs

from durable_timer.models.checks import BYTES_MEDIA_TYPE, JSON_MEDIA_TYPE, is_json_media_type
from durable_timer.models.group import PayloadSpec
from durable_timer.planning.fingerprint import JsonPayload
from durable_timer_api.json_limits import JsonError, JsonLimitError
from durable_timer_api.json_text import parse
from durable_timer_api.problems import Wrong, pointer

_SCHEMA_ERRORS_MAX: Final = 32


class Payload(NamedTuple):
    """`content_type` is None where `content` is JSON under its plain media type. `value` is what a fingerprint covers."""

    content: bytes
    content_type: str | None
    value: JsonPayload | bytes


class PayloadRules:
    """What a group asks of payloads; its schema is compiled once."""

    def __init__(self, spec: PayloadSpec) -> None:
        self.max_bytes = spec.max_bytes
        """Of a payload as it is kept."""
        self._validator = (
            None if spec.json_schema is None else jsonschema_rs.validator_for(spec.json_schema, retriever=_no_retrieval)
        )

    def json(
        self, value: object, content: bytes, content_type: str | None, at: tuple[str | int, ...], errors: list[Wrong]
    ) -> Payload | None:
        """A payload given as `payload`; what is wrong is added to `errors`."""
        if content_type is not None and not is_json_media_type(content_type):
            errors.append(
                Wrong("must be a JSON type with payload; give bytes as payloadBase64", pointer(*at, "contentType"))
            )
            return None
        return self._judged(value, content, _plain(content_type), (*at, "payload"), errors)

    def base64(
        self, text: str, content_type: str | None, at: tuple[str | int, ...], errors: list[Wrong]
    ) -> Payload | None:
        """A payload given as `payloadBase64`; what is wrong is added to `errors`."""
        here = (*at, "payloadBase64")
        if len(text) // 4 * 3 > self.max_bytes + 2:
            errors.append(self._too_long(len(text) // 4 * 3, here))
            return None
        try:
            content = b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            errors.append(Wrong("must be standard base64 with its padding", pointer(*here)))
            return None
        if content_type is None or not is_json_media_type(content_type):
            if len(content) > self.max_bytes:
                errors.append(self._too_long(len(content), here))
                return None
            return Payload(content, content_type or BYTES_MEDIA_TYPE, content)
        try:
            value = parse(content)
        except JsonLimitError as error:
            errors.append(Wrong(f"its JSON {error.rule}", pointer(*here)))
            return None
        except JsonError as error:
            reason = str(error).replace("the body", "it", 1)
            errors.append(Wrong(f"must be JSON under the content type {content_type}: {reason}", pointer(*here)))
            return None
        return self._judged(value, content, _plain(content_type), here, errors)

    def allow(self, value: object, content: bytes) -> bool:
        """Whether a payload is as the group wants it."""
        return len(content) <= self.max_bytes and (self._validator is None or self._validator.is_valid(value))

    def _judged(
        self, value: object, content: bytes, content_type: str | None, here: tuple[str | int, ...], errors: list[Wrong]
    ) -> Payload | None:
        if len(content) > self.max_bytes:
            errors.append(self._too_long(len(content), here))
            return None
        if self._validator is not None:
            wrong = [
                Wrong(f"must satisfy the group's payload schema: {found.message}", pointer(*here, *found.instance_path))
                for found, _ in zip(self._validator.iter_errors(value), range(_SCHEMA_ERRORS_MAX), strict=False)
            ]
            if wrong:
                errors.extend(wrong)
                return None
        return Payload(content, content_type, JsonPayload(value))

    def _too_long(self, size: int, here: tuple[str | int, ...]) -> Wrong:
        return Wrong(f"must have at most {self.max_bytes} bytes in this group, has {size}", pointer(*here))


def _plain(content_type: str | None) -> str | None:
    return None if content_type is None or content_type.strip().lower() == JSON_MEDIA_TYPE else content_type


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"a schema may refer to itself alone, not to {uri}")
