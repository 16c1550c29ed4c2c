"""What a callback's answer means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import orjson

from durable_timer.models.instants import parse_instant
from durable_timer.models.limits import FUTURE_MAX, LAST_ERROR_MAX_BYTES, NEXT_EXECUTE_AT_LEAD_MIN
from durable_timer.planning.retry import parse_retry_after


class BodyEnd(StrEnum):
    """How much of an answer's body was read."""

    WHOLE = "whole"
    OVER_LONG = "over-long"
    """More came than is read; the rest was left."""
    BROKEN_OFF = "broken-off"
    """The connection ended, or time ran out, before the body did."""


class SendError(StrEnum):
    """Why there is no answer. Values begin a `lastError`."""

    TIMEOUT = "TIMEOUT"
    NO_CONNECTION = "NO_CONNECTION"
    """Refused, unreachable, no such host, TLS failed, or cut before the answer's head."""
    TARGET_DENIED = "TARGET_DENIED"
    """Egress rules forbid the target; nothing was sent."""
    INVALID_REQUEST = "INVALID_REQUEST"
    """The HTTP client refuses the URL or a header; nothing was sent."""

    NO_RESOURCES = "NO_RESOURCES"
    """This machine has no file descriptor, port or buffer for a connection; nothing was sent."""

    @property
    def final(self) -> bool:
        """Whether another attempt would end the same way."""
        return self in (SendError.TARGET_DENIED, SendError.INVALID_REQUEST)


@dataclass(slots=True)
class Answer:
    """The answer of a target: its status, what was read of its body, and its `Retry-After`."""

    status: int
    body: bytes = b""
    body_end: BodyEnd = BodyEnd.WHOLE
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A callback that got no answer; `detail` is for people."""

    error: SendError
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The occurrence succeeded."""


@dataclass(frozen=True, slots=True)
class Again:
    """The target asked for a new occurrence at `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Retry:
    """To be tried again by the retry policy; `retry_after` is what the target asked for, uncapped."""

    error: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The occurrence failed for good; `ends_schedule`: a schedule has no further one."""

    error: str
    ends_schedule: bool = False


Verdict = Done | Again | Retry | Failed

DONE: Final = Done()

_GONE: Final = 410
_RETRIED: Final = frozenset({408, 425, 429})
_EXCERPT: Final = 256
"""Characters of an answer's body that a `lastError` quotes."""


def classify(answer: Answer | NoAnswer, now: datetime) -> Verdict:
    """What an answer (or none) means for its occurrence. `now` is the store's, as well as it is known."""
    if isinstance(answer, NoAnswer):
        error = clip(f"{answer.error}: {answer.detail}" if answer.detail else answer.error)
        return Failed(error) if answer.error.final else Retry(error)
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return _success(answer, now)
    if status in _RETRIED or status >= 500 or status < 200:  # noqa: PLR2004 - what no server should send counts as its fault
        return Retry(_quoted(answer), _retry_after(answer, now))
    return Failed(_quoted(answer), ends_schedule=status == _GONE)


def clip(text: str) -> str:
    """A `lastError` of it: without control characters, at most 1 KiB of UTF-8."""
    printable = "".join(char if char.isprintable() else " " for char in text[:LAST_ERROR_MAX_BYTES])
    return printable.encode("utf-8", "replace")[:LAST_ERROR_MAX_BYTES].decode("utf-8", "ignore")


def _success(answer: Answer, now: datetime) -> Verdict:
    if answer.body_end is BodyEnd.BROKEN_OFF:
        return Retry(f"HTTP {answer.status}: the answer broke off", _retry_after(answer, now))
    if answer.body_end is BodyEnd.OVER_LONG or b"false" not in answer.body:
        return DONE
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return DONE
    if not isinstance(body, dict) or body.get("ok") is not False:
        return DONE
    asked = body.get("nextExecuteAt")
    at = _next_execute_at(asked, now)
    if at is not None:
        return Again(at)
    reason = "ok: false" if asked is None else "ok: false with a nextExecuteAt that is no time within 100 years"
    return Retry(f"HTTP {answer.status}: {reason}", _retry_after(answer, now))


def _next_execute_at(asked: object, now: datetime) -> datetime | None:
    """The instant asked for, not sooner than in a second; None when unreadable or more than 100 years ahead."""
    if not isinstance(asked, str):
        return None
    try:
        at = parse_instant(asked)
    except ValueError:
        return None
    return None if at - now > FUTURE_MAX else max(at, now + NEXT_EXECUTE_AT_LEAD_MIN)


def _retry_after(answer: Answer, now: datetime) -> timedelta | None:
    return None if answer.retry_after is None else parse_retry_after(answer.retry_after, now)


def _quoted(answer: Answer) -> str:
    excerpt = " ".join(answer.body[: 4 * _EXCERPT].decode("utf-8", "replace").split())[:_EXCERPT]
    return clip(f"HTTP {answer.status}: {excerpt}" if excerpt else f"HTTP {answer.status}")
