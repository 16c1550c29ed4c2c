from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.durations import DURATION_PATTERN, format_duration, parse_duration

MILLISECONDS = st.integers(0, 99_999 * 3_600_000)


@pytest.mark.parametrize(
    ("text", "length", "canonical"),
    [
        ("0s", timedelta(0), "0s"),
        ("0h", timedelta(0), "0s"),
        ("10s", timedelta(seconds=10), "10s"),
        ("1h30m", timedelta(minutes=90), "1h30m"),
        ("90m", timedelta(minutes=90), "1h30m"),
        ("500ms", timedelta(milliseconds=500), "500ms"),
        ("1m500ms", timedelta(seconds=60.5), "1m500ms"),
        ("1s1h", timedelta(seconds=3601), "1h1s"),
        ("1h1h1h1h", timedelta(hours=4), "4h"),
        ("99999h", timedelta(hours=99_999), "99999h"),
        ("00001s", timedelta(seconds=1), "1s"),
    ],
)
def test_durations_are_read_and_written(text: str, length: timedelta, canonical: str) -> None:
    assert parse_duration(text) == length
    assert format_duration(length) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "1.5s", "-1s", "+1s", "1d", "1H", " 1s", "1s ", "1s\n", "100000s", "1h1m1s1ms1h", "\u0661s", "1us"],
)
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["99999h1ms", "99999h99999h"])
def test_nothing_is_longer_than_99999_hours(text: str) -> None:
    with pytest.raises(ValueError, match="at most 99999h"):
        parse_duration(text)


@pytest.mark.parametrize("length", [timedelta(seconds=-1), timedelta(microseconds=1), timedelta(hours=100_000)])
def test_what_has_no_notation_is_refused(length: timedelta) -> None:
    with pytest.raises(ValueError, match="whole milliseconds"):
        format_duration(length)


@given(MILLISECONDS)
def test_each_duration_survives_being_written(milliseconds: int) -> None:
    length = timedelta(milliseconds=milliseconds)
    text = format_duration(length)
    assert re.fullmatch(DURATION_PATTERN, text)
    assert parse_duration(text) == length


@given(st.from_regex(DURATION_PATTERN, fullmatch=True).filter(str.isascii))
def test_whatever_has_the_shape_is_read(text: str) -> None:
    try:
        length = parse_duration(text)
    except ValueError as error:
        assert "at most" in str(error)  # noqa: PT017 - only that reason may refuse it
    else:
        assert parse_duration(format_duration(length)) == length
