"""What a client is told when something is wrong: `application/problem+json` (RFC 9457) with a stable `code`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Final

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = {"Retry-After": "1"}
"""What is worth repeating is so after a second: a delivery has gone on, a store is back."""


class Code(StrEnum):
    """The codes of the contract (`ErrorCode` in api.yaml); those of later releases are not in use yet."""

    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    INVALID_JSON = "INVALID_JSON"
    INVALID_INPUT = "INVALID_INPUT"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"
    FILTER_UNSUPPORTED = "FILTER_UNSUPPORTED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    GROUP_NOT_FOUND = "GROUP_NOT_FOUND"
    TIMER_NOT_FOUND = "TIMER_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    TIMER_EXISTS = "TIMER_EXISTS"
    TIMER_EXECUTING = "TIMER_EXECUTING"
    TIMER_FINISHED = "TIMER_FINISHED"
    TIMER_NOT_FAILED = "TIMER_NOT_FAILED"
    TIMER_MANAGED = "TIMER_MANAGED"
    GROUP_DELETED = "GROUP_DELETED"
    CONFLICT = "CONFLICT"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    RATE_LIMITED = "RATE_LIMITED"
    INTERNAL = "INTERNAL"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE_FULL = "STORE_FULL"
    NOT_READY = "NOT_READY"
    TIMEOUT = "TIMEOUT"

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status that goes with it."""
        return _STATUS[self]


_STATUS: Final[Mapping[Code, HTTPStatus]] = {
    Code.MALFORMED_REQUEST: HTTPStatus.BAD_REQUEST,
    Code.INVALID_JSON: HTTPStatus.BAD_REQUEST,
    Code.INVALID_INPUT: HTTPStatus.BAD_REQUEST,
    Code.INVALID_PAGE_TOKEN: HTTPStatus.BAD_REQUEST,
    Code.FILTER_UNSUPPORTED: HTTPStatus.BAD_REQUEST,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Code.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.GROUP_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.TIMER_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.TIMER_EXISTS: HTTPStatus.CONFLICT,
    Code.TIMER_EXECUTING: HTTPStatus.CONFLICT,
    Code.TIMER_FINISHED: HTTPStatus.CONFLICT,
    Code.TIMER_NOT_FAILED: HTTPStatus.CONFLICT,
    Code.TIMER_MANAGED: HTTPStatus.CONFLICT,
    Code.GROUP_DELETED: HTTPStatus.CONFLICT,
    Code.CONFLICT: HTTPStatus.CONFLICT,
    Code.VERSION_MISMATCH: HTTPStatus.PRECONDITION_FAILED,
    Code.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.STORE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.STORE_FULL: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}

_RETRIABLE: Final = frozenset({
    Code.TIMER_EXECUTING, Code.RATE_LIMITED, Code.STORE_UNAVAILABLE, Code.STORE_FULL, Code.NOT_READY,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wrong:
    """One wrong value: the rule it breaks, and where it stands (one of pointer, parameter, header)."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None

    def to_json(self) -> dict[str, str]:
        """The error as the contract has it."""
        places = {"pointer": self.pointer, "parameter": self.parameter, "header": self.header}
        return {**{name: place for name, place in places.items() if place is not None}, "detail": self.detail}


@dataclass(slots=True)
class Problem(Exception):
    """An answer that is an error. `timer` is the rendered timer that stands in the way."""

    code: Code
    detail: str
    errors: Sequence[Wrong] = ()
    timer: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def all_headers(self) -> Mapping[str, str]:
        """The headers of the answer, `Retry-After` where it is worth repeating."""
        return {**RETRY_AFTER, **self.headers} if self.code in _RETRIABLE else self.headers

    def to_json(self, request_id: str | None = None) -> dict[str, object]:
        """The body of the answer."""
        status = self.code.status
        body: dict[str, object] = {
            "type": "about:blank",
            "title": status.phrase,
            "status": status.value,
            "code": self.code,
            "detail": self.detail,
        }
        if request_id is not None:
            body["requestId"] = request_id
        if self.errors:
            body["errors"] = [wrong.to_json() for wrong in self.errors]
        if self.timer is not None:
            body["timer"] = self.timer
        return body


def invalid(errors: Sequence[Wrong]) -> Problem:
    """The one answer for all that is wrong with an input."""
    count = len(errors)
    return Problem(Code.INVALID_INPUT, "1 value is wrong" if count == 1 else f"{count} values are wrong", errors=errors)


def pointer(*steps: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
