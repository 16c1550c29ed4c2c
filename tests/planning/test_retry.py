from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.group import RetryPolicySpec
from durable_timer.models.timer import RetryPolicy
from durable_timer.planning.retry import FullRetryPolicy, effective_policy, parse_retry_after, retry_delay

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEAST = timedelta(milliseconds=100)


class FixedRandom(random.Random):
    """Answers one number, so that jitter is what the test says."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value

    def random(self) -> float:
        return self._value


ALL = FixedRandom(1.0)
NOTHING = FixedRandom(0.0)


def policy(**changes: object) -> FullRetryPolicy:
    return effective_policy(RetryPolicySpec.model_validate(changes), None)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


POLICIES = st.builds(
    FullRetryPolicy,
    max_attempts=st.integers(1, 1000),
    max_attempts_duration=st.timedeltas(seconds(1), timedelta(hours=720)),
    initial_interval=st.timedeltas(LEAST, timedelta(hours=1)),
    backoff_multiplier=st.floats(1.0, 10.0),
    max_interval=st.timedeltas(timedelta(hours=1), timedelta(hours=24)),
)


def test_a_timers_fields_override_its_groups_one_by_one() -> None:
    group = RetryPolicySpec(max_attempts=5, initial_interval=seconds(3))
    assert effective_policy(group, RetryPolicy(max_attempts=7, backoff_multiplier=3.0)) == FullRetryPolicy(
        max_attempts=7,
        max_attempts_duration=timedelta(hours=24),
        initial_interval=seconds(3),
        backoff_multiplier=3.0,
        max_interval=timedelta(minutes=15),
    )


def test_a_timers_interval_wins_over_a_group_interval_that_contradicts_it() -> None:
    group = RetryPolicySpec(initial_interval=seconds(10), max_interval=seconds(20))
    longer = effective_policy(group, RetryPolicy(initial_interval=seconds(60)))
    assert (longer.initial_interval, longer.max_interval) == (seconds(60), seconds(60))
    shorter = effective_policy(group, RetryPolicy(max_interval=seconds(5)))
    assert (shorter.initial_interval, shorter.max_interval) == (seconds(5), seconds(5))


@pytest.mark.parametrize(("attempt", "whole"), [(1, 1), (2, 2), (3, 4), (10, 512), (11, 900), (199, 900)])
def test_the_back_off_doubles_up_to_the_longest_interval(attempt: int, whole: float) -> None:
    assert retry_delay(policy(), attempt, 0, None, ALL) == seconds(whole)
    assert retry_delay(policy(), attempt, 0, None, FixedRandom(0.5)) == seconds(whole / 2)


def test_no_retry_is_sooner_than_the_least_delay() -> None:
    assert retry_delay(policy(), 1, 0, None, NOTHING) == LEAST


@pytest.mark.parametrize(("asked", "delay"), [(0, 1), (0.5, 1), (30, 30), (900, 900), (901, 900), (1e8, 900)])
def test_what_the_target_asks_for_counts_when_longer_up_to_the_cap(asked: float, delay: float) -> None:
    assert retry_delay(policy(), 1, 0, seconds(asked), ALL) == seconds(delay)


def test_the_last_attempt_is_not_followed_by_another() -> None:
    assert retry_delay(policy(max_attempts=3), 2, 0, None, ALL) is not None
    assert retry_delay(policy(max_attempts=3), 3, 0, None, ALL) is None
    assert retry_delay(policy(max_attempts=1), 1, 0, None, ALL) is None


def test_no_attempt_begins_after_the_duration() -> None:
    ten = policy(max_attempts_duration="10s")
    assert retry_delay(ten, 1, 9, None, ALL) == seconds(1)
    assert retry_delay(ten, 1, 9.000_001, None, ALL) is None
    assert retry_delay(ten, 1, 0, seconds(10), ALL) == seconds(10)
    assert retry_delay(ten, 1, 0, seconds(11), ALL) is None


@given(POLICIES, st.integers(1, 1100), st.floats(0, 1e7), st.none() | st.timedeltas(seconds(0)), st.randoms())
def test_delays_stay_within_their_bounds(
    full: FullRetryPolicy, attempt: int, age: float, retry_after: timedelta | None, rng: random.Random
) -> None:
    delay = retry_delay(full, attempt, age, retry_after, rng)
    if attempt >= full.max_attempts:
        assert delay is None
    if delay is not None:
        assert LEAST <= delay <= full.max_interval
        assert seconds(age) + delay <= full.max_attempts_duration


@pytest.mark.parametrize(
    ("header", "delay"),
    [
        ("0", seconds(0)),
        (" 120 ", seconds(120)),
        ("Thu, 01 Jan 2026 12:00:30 GMT", seconds(30)),
        ("Thursday, 01-Jan-26 12:00:30 GMT", seconds(30)),
        ("Thu Jan  1 12:00:30 2026", seconds(30)),
        ("Thu, 01 Jan 2026 11:00:00 GMT", seconds(0)),
        ("9" * 5000, timedelta(days=366)),
        ("Thu, 01 Jan 9999 12:00:30 GMT", timedelta(days=366)),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("٣", None),
        ("Thu, 99 Jan 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, delay: timedelta | None) -> None:
    assert parse_retry_after(header, NOW) == delay


@given(st.text())
def test_no_header_breaks_the_reading_of_retry_after(header: str) -> None:
    delay = parse_retry_after(header, NOW)
    assert delay is None or seconds(0) <= delay <= timedelta(days=366)
