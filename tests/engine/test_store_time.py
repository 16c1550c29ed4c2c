"""The store's now on this process's clock: as exact as the fastest call lately, and never too early."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from durable_timer.engine.store_time import CORRECTION_MAX, DRIFT, StoreTime

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TOO_EARLY = 1e-5
"""Seconds: datetimes have microseconds, timestamps some digits."""

calls = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=30)


def store_clock(at: float, pace: float = 1.0, back: float = 0.0) -> datetime:
    """What the store's clock says at a monotonic second."""
    return EPOCH + timedelta(seconds=at * pace - back)


@given(calls, st.floats(-DRIFT / 2, DRIFT / 2))
def test_never_before_the_store_got_there_nor_after_the_answer(
    waits: list[tuple[float, float, float]], drift: float
) -> None:
    store_time, at = StoreTime(), 100.0
    for pause, there, back in waits:
        asked = at + pause
        said_at, at = asked + there, asked + there + back
        instant = store_time.instant(store_clock(said_at, 1 + drift), asked, at)
        assert said_at - TOO_EARLY <= instant <= at


def test_a_slow_call_after_a_fast_one_is_placed_as_exactly() -> None:
    store_time = StoreTime()
    assert store_time.instant(store_clock(10.0), 9.999, 10.001) == 10.001
    instant = store_time.instant(store_clock(10.04), 10.039, 10.08)
    assert 10.04 <= instant <= 10.041 + 0.08 * DRIFT


def test_a_very_slow_call_is_put_forward_by_so_much_only() -> None:
    store_time = StoreTime()
    store_time.instant(store_clock(10.0), 9.999, 10.001)
    assert store_time.instant(store_clock(10.04), 10.039, 10.2) == 10.2 - CORRECTION_MAX


def test_nothing_is_known_of_the_next_server() -> None:
    store_time = StoreTime()
    store_time.instant(store_clock(10.0), 9.999, 10.001)
    store_time.forget()
    assert store_time.instant(store_clock(10.04, back=0.02), 10.01, 10.08) == 10.08


def test_a_clock_that_is_slewed_fast_makes_nothing_early() -> None:
    store_time, slew = StoreTime(), 1 - 0.083
    for call in range(1, 200):
        asked = call * 0.15
        instant = store_time.instant(store_clock(asked + 0.1, slew), asked, asked + 0.11)
        assert instant >= asked + 0.1 - TOO_EARLY


def test_a_store_whose_clock_went_back_is_not_believed_to_be_where_it_was() -> None:
    store_time = StoreTime()
    store_time.instant(store_clock(10.0), 9.999, 10.001)
    assert store_time.instant(store_clock(11.0, back=2.0), 10.99, 11.2) == 11.2
    assert 11.24 <= store_time.instant(store_clock(11.24, back=2.0), 11.23, 11.46) <= 11.44 + 0.26 * DRIFT


def test_a_store_whose_clock_went_on_is_followed() -> None:
    store_time = StoreTime()
    store_time.instant(store_clock(10.0), 9.9, 10.1)
    assert store_time.instant(store_clock(11.0, back=-2.0), 10.9, 11.05) == 11.05
