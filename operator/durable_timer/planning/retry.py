"""When a callback that did not succeed is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from durable_timer.models.group import RetryPolicySpec
from durable_timer.models.limits import RETRY_DELAY_MIN
from durable_timer.models.timer import RetryPolicy

_RETRY_AFTER_MAX: Final = timedelta(days=366)
"""Longer than any cap; keeps the arithmetic in range."""


@dataclass(frozen=True, slots=True)
class FullRetryPolicy:
    """A retry policy with nothing left open; `initial_interval` ≤ `max_interval`."""

    max_attempts: int
    max_attempts_duration: timedelta
    initial_interval: timedelta
    backoff_multiplier: float
    max_interval: timedelta


def effective_policy(group: RetryPolicySpec, own: RetryPolicy | None) -> FullRetryPolicy:
    """The group's policy with the fields that a timer sets itself.

    Where the timer sets one of `initial_interval` and `max_interval` and the group's other one contradicts it, the
    timer's stands and the group's gives way.
    """
    if own is None:
        own = RetryPolicy()
    initial = group.initial_interval if own.initial_interval is None else own.initial_interval
    longest = group.max_interval if own.max_interval is None else own.max_interval
    if own.max_interval is None:
        longest = max(longest, initial)
    return FullRetryPolicy(
        max_attempts=group.max_attempts if own.max_attempts is None else own.max_attempts,
        max_attempts_duration=(
            group.max_attempts_duration if own.max_attempts_duration is None else own.max_attempts_duration
        ),
        initial_interval=min(initial, longest),
        backoff_multiplier=group.backoff_multiplier if own.backoff_multiplier is None else own.backoff_multiplier,
        max_interval=longest,
    )


def retry_delay(
    policy: FullRetryPolicy,
    attempt: int,
    first_attempt_age: float,
    retry_after: timedelta | None,
    rng: random.Random,
) -> timedelta | None:
    """How long to wait after attempt number `attempt` (from 1), or None when the policy is exhausted.

    `first_attempt_age`: seconds since the occurrence's first attempt began. The back-off has full jitter (anything
    from nothing to the whole interval; Brooker, "Exponential Backoff And Jitter"), but is at least 100 ms;
    `retry_after`, capped at `max_interval`, counts when it is longer. Exhausted: no attempt is left, or the next one
    would begin later than `max_attempts_duration` after the first.
    """
    if attempt >= policy.max_attempts:
        return None
    delay = max(RETRY_DELAY_MIN, _interval(policy, attempt) * rng.random())
    if retry_after is not None:
        delay = max(delay, min(retry_after, policy.max_interval))
    if timedelta(seconds=first_attempt_age) + delay > policy.max_attempts_duration:
        return None
    return delay


def _interval(policy: FullRetryPolicy, attempt: int) -> timedelta:
    """The back-off after an attempt, before jitter."""
    most = policy.max_interval / policy.initial_interval
    try:
        factor = policy.backoff_multiplier ** (attempt - 1)
    except OverflowError:
        return policy.max_interval
    return policy.max_interval if factor >= most else policy.initial_interval * factor


def parse_retry_after(header: str, now: datetime) -> timedelta | None:
    """Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or an HTTP date, of which what has passed is zero.

    None when it is neither.
    """
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return timedelta(seconds=int(text)) if len(text) < len("100000000") else _RETRY_AFTER_MAX
    try:
        date = parsedate_to_datetime(text)
        at = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        return min(max(at - now, timedelta(0)), _RETRY_AFTER_MAX)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
