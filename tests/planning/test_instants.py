from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.instants import format_instant, parse_instant


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00+01:30", "2026-01-31T10:30:00.000000Z"),
        ("2026-01-31T12:00:00-23:59", "2026-02-01T11:59:00.000000Z"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500000Z"),
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123456Z"),
        ("2026-01-31T12:00:00.1234560000Z", "2026-01-31T12:00:00.123456Z"),
        ("2026-01-31T12:00:00.1234560001Z", "2026-01-31T12:00:00.123457Z"),
        ("2026-01-31T12:00:00.000000000000001+01:00", "2026-01-31T11:00:00.000001Z"),
        ("2026-12-31T23:59:59.9999999Z", "2027-01-01T00:00:00.000000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_instants_are_read_and_written(text: str, written: str) -> None:
    assert format_instant(parse_instant(text)) == written


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("2026-01-31T12:00:00", "zone"),
        ("2026-01-31T12:00:00.5", "zone"),
        ("2026-01-31T23:59:60Z", "leap second"),
        ("2026-01-31T23:59:60.5+01:00", "leap second"),
        ("2026-02-30T12:00:00Z", "day that exists"),
        ("2025-02-29T12:00:00Z", "day that exists"),
        ("2026-13-01T12:00:00Z", "day that exists"),
        ("0000-01-01T00:00:00Z", "day that exists"),
        ("0001-01-01T00:00:00+00:01", "years 1 to 9999"),
        ("9999-12-31T23:59:59-00:01", "years 1 to 9999"),
        ("9999-12-31T23:59:59.9999999Z", "years 1 to 9999"),
        ("", "RFC 3339"),
        ("tomorrow", "RFC 3339"),
        ("2026-01-31", "RFC 3339"),
        ("2026-01-31T12:00Z", "RFC 3339"),
        ("2026-01-31 12:00:00Z", "RFC 3339"),
        ("20260131T120000Z", "RFC 3339"),
        ("2026-W05-6T12:00:00Z", "RFC 3339"),
        ("2026-01-31T24:00:00Z", "RFC 3339"),
        ("2026-01-31T12:60:00Z", "RFC 3339"),
        ("2026-01-31T12:00:61Z", "RFC 3339"),
        ("2026-01-31T12:00:00,5Z", "RFC 3339"),
        ("2026-01-31T12:00:00.Z", "RFC 3339"),
        ("2026-01-31T12:00:00+24:00", "RFC 3339"),
        ("2026-01-31T12:00:00+0100", "RFC 3339"),
        ("2026-01-31T12:00:00+01", "RFC 3339"),
        ("2026-01-31T12:00:00Z ", "RFC 3339"),
        ("2026-01-31T12:00:00Z\n", "RFC 3339"),
        ("+2026-01-31T12:00:00Z", "RFC 3339"),
        ("12026-01-31T12:00:00Z", "RFC 3339"),
        ("\uff12026-01-31T12:00:00Z", "RFC 3339"),
    ],
)
def test_other_texts_are_refused_with_their_reason(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_instant(text)


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(ValueError, match="zone"):
        format_instant(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


@given(st.datetimes(timezones=st.just(UTC)))
def test_each_instant_survives_being_written(instant: datetime) -> None:
    read = parse_instant(format_instant(instant))
    assert read == instant
    assert read.tzinfo is UTC


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001 - the zone is drawn beside it
    st.integers(-1439, 1439),
    st.text("0123456789", min_size=7, max_size=30),
)
def test_what_is_finer_than_a_microsecond_is_rounded_up(local: datetime, offset: int, fraction: str) -> None:
    zone = timezone(timedelta(minutes=offset))
    text = f"{local:%H:%M:%S}.{fraction}{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    read = parse_instant(f"{local.date().isoformat()}T{text}")
    whole = local.replace(microsecond=int(fraction[:6]), tzinfo=zone)
    assert read == whole + timedelta(microseconds=1 if fraction[6:].strip("0") else 0)
