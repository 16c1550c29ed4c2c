from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.timer import Missed, Schedule
from durable_timer.planning.schedule import (
    after_run,
    check_cron,
    check_schedule,
    check_time_zone,
    effective_starting_deadline,
    first_occurrence,
    next_occurrence,
)

BERLIN = "Europe/Berlin"
"""Clocks go from 02:00 to 03:00 on 2026-03-29 at 01:00Z, and from 03:00 back to 02:00 on 2026-10-25 at 01:00Z."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def occurrences(schedule: Schedule, after: datetime, count: int) -> list[str]:
    """The next ones, each asked for from the one before, as the engine does."""
    found = []
    for _ in range(count):
        at = next_occurrence(schedule, after)
        if at is None:
            break
        assert at > after
        found.append(f"{at:%m-%dT%H:%M}")
        after = at
    return found


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        ("0 2 * * *", ["03-28T01:00", "03-29T01:00", "03-30T00:00"]),
        ("0,30 2 * * *", ["03-28T01:00", "03-28T01:30", "03-29T01:00", "03-30T00:00"]),
        ("30 1,2,3 * * *", ["03-28T00:30", "03-28T01:30", "03-28T02:30", "03-29T00:30", "03-29T01:00", "03-29T01:30"]),
        ("0 3 * * *", ["03-28T02:00", "03-29T01:00", "03-30T01:00"]),
    ],
)
def test_a_fixed_time_in_the_hour_that_is_skipped_fires_when_it_is_over(cron: str, expected: list[str]) -> None:
    assert occurrences(Schedule(cron, BERLIN), utc("2026-03-27T23:00"), len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["10-24T00:30", "10-25T00:30", "10-26T01:30"]),
        ("0,30 2 * * *", ["10-24T00:00", "10-24T00:30", "10-25T00:00", "10-25T00:30", "10-26T01:00"]),
        ("15 1-3 * * *", ["10-23T23:15", "10-24T00:15", "10-24T01:15", "10-24T23:15", "10-25T00:15", "10-25T02:15"]),
    ],
)
def test_a_fixed_time_in_the_hour_that_comes_twice_fires_once(cron: str, expected: list[str]) -> None:
    assert occurrences(Schedule(cron, BERLIN), utc("2026-10-23T22:30"), len(expected)) == expected


@pytest.mark.parametrize("minute", range(0, 60, 7))
def test_asked_within_the_second_pass_a_fixed_time_does_not_fire_again(minute: int) -> None:
    after = utc(f"2026-10-25T01:{minute:02}")
    assert next_occurrence(Schedule("30 2 * * *", BERLIN), after) == utc("2026-10-26T01:30")


@pytest.mark.parametrize("start", ["2026-03-28T23:00", "2026-10-24T22:00"])
@pytest.mark.parametrize(
    ("cron", "step", "count"), [("* * * * *", 1, 300), ("*/15 * * * *", 15, 20), ("0 * * * *", 60, 6)]
)
def test_each_minute_and_each_hour_go_on_through_both_changes(start: str, cron: str, step: int, count: int) -> None:
    after = utc(start)
    expected = [f"{after + timedelta(minutes=step * number):%m-%dT%H:%M}" for number in range(1, count + 1)]
    assert occurrences(Schedule(cron, BERLIN), after, count) == expected


def test_a_schedule_of_each_so_many_minutes_of_an_hour_follows_the_clock() -> None:
    often = Schedule("*/30 2 * * *", BERLIN)
    assert occurrences(often, utc("2026-03-28T12:00"), 1) == ["03-30T00:00"]
    assert occurrences(often, utc("2026-10-24T12:00"), 4) == [
        "10-25T00:00",
        "10-25T00:30",
        "10-25T01:00",
        "10-25T01:30",
    ]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("UTC", "2026-07-01T09:00"), ("Asia/Kolkata", "2026-07-01T03:30"), ("America/New_York", "2026-07-01T13:00")],
)
def test_a_schedule_follows_its_zone(zone: str, expected: str) -> None:
    assert next_occurrence(Schedule("0 9 * * *", zone), utc("2026-07-01T00:00")) == utc(expected)


@pytest.mark.parametrize(
    ("start", "end", "after", "expected"),
    [
        ("2026-01-01T12:00", None, "2025-06-01T00:00", "2026-01-01T12:00"),
        ("2026-01-01T12:00:00.000001", None, "2025-06-01T00:00", "2026-01-01T13:00"),
        ("2026-01-01T12:00", None, "2026-01-01T12:00", "2026-01-01T13:00"),
        ("2026-01-01T12:00", None, "2026-03-01T12:30", "2026-03-01T13:00"),
        (None, "2026-01-01T12:00", "2026-01-01T11:00", "2026-01-01T12:00"),
        (None, "2026-01-01T11:59:59.999999", "2026-01-01T11:00", None),
        (None, "2026-01-01T12:00", "2026-01-01T12:00", None),
        ("2026-01-01T12:00", "2026-01-01T12:00", "2025-06-01T00:00", "2026-01-01T12:00"),
    ],
)
def test_start_and_end_both_belong_to_the_schedule(
    start: str | None, end: str | None, after: str, expected: str | None
) -> None:
    schedule = Schedule(
        "0 * * * *", start_at=None if start is None else utc(start), end_at=None if end is None else utc(end)
    )
    assert next_occurrence(schedule, utc(after)) == (expected and utc(expected))
    assert first_occurrence(schedule, utc(after)) == (expected and utc(expected))


def test_an_occurrence_is_later_than_what_it_is_asked_for_by_any_fraction() -> None:
    hourly = Schedule("0 * * * *")
    assert next_occurrence(hourly, utc("2026-01-01T11:59:59.999999")) == utc("2026-01-01T12:00")
    assert next_occurrence(hourly, utc("2026-01-01T12:00:00.000001")) == utc("2026-01-01T13:00")


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "Pacific/Kiritimati"])
@pytest.mark.parametrize("cron", ["* * * * *", "0 0 1 1 *", "59 23 31 12 *"])
def test_there_is_nothing_after_the_last_year(cron: str, zone: str) -> None:
    assert next_occurrence(Schedule(cron, zone), utc("9999-12-31T23:59:30")) is None


def test_after_a_run_the_next_is_the_first_after_both_its_time_and_the_stores() -> None:
    hourly = Schedule("0 * * * *")
    promised = utc("2026-01-01T12:00")
    assert after_run(hourly, promised, utc("2026-01-01T12:00:01")) == utc("2026-01-01T13:00")
    assert after_run(hourly, promised, utc("2026-01-01T16:30")) == utc("2026-01-01T17:00")
    assert after_run(hourly, promised, utc("2026-01-01T11:59:58")) == utc("2026-01-01T13:00")


def test_a_schedule_that_skips_what_it_missed_has_a_minute_unless_it_says() -> None:
    skip, run = Schedule("* * * * *", missed=Missed.SKIP), Schedule("* * * * *")
    own = timedelta(seconds=5)
    assert effective_starting_deadline(skip, None) == timedelta(minutes=1)
    assert effective_starting_deadline(skip, own) == own
    assert effective_starting_deadline(run, None) is None
    assert effective_starting_deadline(run, own) == own
    assert effective_starting_deadline(None, None) is None
    assert effective_starting_deadline(None, own) == own


@pytest.mark.parametrize(
    "cron", ["* * * * *", "0 9 * * MON-FRI", "0 0 L * *", "0 0 * * 1#2", "0 0 29 2 *", "5-55/10 */2 1,15 jan-mar *"]
)
def test_crons_of_five_fields_are_taken(cron: str) -> None:
    check_cron(cron)


@pytest.mark.parametrize(
    ("cron", "rule"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("CRON_TZ=UTC * * * * *", "five fields"),
        ("٣ * * * *", "five fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * 32 2 *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("a * * * *", "bad minute"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 */31 * 1#5", "never fires"),
    ],
)
def test_other_crons_are_refused_with_their_reason(cron: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_cron(cron)


def test_a_cron_has_at_most_128_characters() -> None:
    longest = "1".join(["," * 0, " * * * *"])
    padded = ",".join(["1"] * 60) + " * * * *" + " "
    assert len(padded) == 128
    check_cron(longest)
    check_cron(padded)
    with pytest.raises(ValueError, match="128 characters"):
        check_cron(padded + " ")


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_iana_zones_are_known(zone: str) -> None:
    check_time_zone(zone)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Base", "Europe", "europe/berlin", "../etc/passwd", "/etc/localtime", "+02:00", "\0"]
)
def test_other_zones_are_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="IANA time zone"):
        check_time_zone(zone)


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (Schedule("x"), "cron"),
        (Schedule("* * * * *", "x"), "timeZone"),
        (Schedule("* * * * *", start_at=utc("2026-01-02"), end_at=utc("2026-01-01")), "endAt"),
    ],
)
def test_a_wrong_schedule_is_refused_by_field(schedule: Schedule, field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} must"):
        check_schedule(schedule)


def test_a_schedule_may_end_where_it_starts() -> None:
    check_schedule(Schedule("* * * * *", start_at=utc("2026-01-01"), end_at=utc("2026-01-01")))


@given(
    st.text(alphabet="0123456789*/,-#L W?", max_size=40)
    | st.from_regex(r"([0-9*/,#LW-]{1,6} ){4}[0-9*/,#LW-]{1,6}", fullmatch=True)
)
def test_any_text_is_a_cron_that_fires_or_refused(cron: str) -> None:
    try:
        check_cron(cron)
    except ValueError:
        return
    assert next_occurrence(Schedule(cron), utc("2000-01-01")) is not None


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "1-59/2", "15,45"]),
    st.sampled_from(["*", "*/2", "0", "1", "2", "3", "0-4", "23"]),
    st.sampled_from(["*", "1", "25", "29", "L"]),
    st.sampled_from(["*", "3", "10", "3,10"]),
    st.sampled_from(["*", "0", "1-5", "7L"]),
).map(" ".join)


@given(
    FIELDS,
    st.sampled_from([BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/St_Johns"]),
    st.sampled_from(
        ["2026-03-08T06:00", "2026-03-29T00:00", "2026-04-04T14:00", "2026-04-23T21:00", "2026-10-25T00:00"]
    ),
    st.integers(0, 240 * 60),
)
def test_occurrences_go_forward_whatever_the_clocks_do(cron: str, zone: str, start: str, later: int) -> None:
    schedule = Schedule(cron, zone)
    assert len(occurrences(schedule, utc(start) + timedelta(seconds=later), 5)) == 5


CHANGES = [
    (BERLIN, "2026-03-28T20:00"),
    (BERLIN, "2026-10-24T20:00"),
    ("Africa/Cairo", "2026-04-23T16:00"),
    ("America/St_Johns", "2026-11-01T00:00"),
    ("Asia/Beirut", "2026-03-28T18:00"),
    ("Antarctica/Troll", "2026-03-28T20:00"),
    ("Antarctica/Troll", "2026-10-24T20:00"),
]
MINUTES = {"*": range(60), "*/15": range(0, 60, 15), "*/7": range(0, 60, 7), "0": [0], "15,45": [15, 45]}
HOURS = {"*": range(24), "*/2": range(0, 24, 2), "*/3": range(0, 24, 3), "1": [1], "2": [2], "0-2": [0, 1, 2]}


@pytest.mark.parametrize(("zone", "start"), CHANGES)
def test_a_schedule_with_a_star_fires_at_each_minute_that_shows_its_time(zone: str, start: str) -> None:
    begin = utc(start)
    shown = [(at := begin + timedelta(minutes=minute), at.astimezone(ZoneInfo(zone))) for minute in range(1, 16 * 60)]
    for minute, hour in product(MINUTES, HOURS):
        if minute.startswith("*") or hour.startswith("*"):
            right = [at for at, local in shown if local.minute in MINUTES[minute] and local.hour in HOURS[hour]]
            expected = [f"{at:%m-%dT%H:%M}" for at in right]
            assert occurrences(Schedule(f"{minute} {hour} * * *", zone), begin, len(right)) == expected
