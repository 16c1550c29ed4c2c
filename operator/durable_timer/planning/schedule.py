"""When a schedule fires: five-field cron in a time zone, inside [start_at, end_at], both ends included.

The notation is cronsim's (that of Debian's cron, with `L` and `#`), seconds and macros left out. Its rules for a zone's
changes of clock, too: a schedule whose minute and hour fields both name fixed values fires once for each of them; what
falls into the hour that is skipped fires when that hour is over, what falls into the hour that comes twice fires in the
first. A schedule whose minute or hour field begins with `*` follows the clock as it shows: nothing in the hour that is
skipped, and the hour that comes twice is gone through twice. One zone is known to suffer: where clocks change by half an
hour (Australia/Lord_Howe), such a schedule may leave out what falls within two hours after the change.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from durable_timer.models.limits import CRON_MAX, STARTING_DEADLINE_SKIP_DEFAULT
from durable_timer.models.timer import Missed, Schedule

SKIP_STARTING_DEADLINE: Final = STARTING_DEADLINE_SKIP_DEFAULT
"""The starting deadline of a schedule with `missed: Skip` that names none."""

_CRON_FIELDS: Final = 5
_SOME_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Where the search for a cron's first match starts: what matches nothing within 50 years of it never fires."""


def check_cron(cron: str) -> None:
    """Holds a cron expression against its rules.

    Raises:
        ValueError: It is too long, has not five fields, has a wrong field, or never fires.
    """
    if len(cron) > CRON_MAX:
        raise ValueError(f"must have at most {CRON_MAX} characters, not {len(cron)}")
    if not cron.isascii() or len(cron.split()) != _CRON_FIELDS:
        raise ValueError(f"must have five fields (minute, hour, day of month, month, day of week), not {cron!r}")
    try:
        fires = next(CronSim(cron, _SOME_DAY), None) is not None
    except CronSimError as error:
        if not _each_field_is_right(cron):
            raise ValueError(f"must be a cron expression: {str(error).lower()} in {cron!r}") from None
        fires = False
    if not fires:
        raise ValueError(f"must name a time that comes: {cron!r} never fires")


def check_time_zone(name: str) -> None:
    """Holds a time zone's name against the IANA database.

    Raises:
        ValueError: It is not in there.
    """
    if name not in _zone_names():
        raise ValueError(f"must be an IANA time zone such as Europe/Berlin, not {name[:64]!r}")


def check_schedule(schedule: Schedule) -> None:
    """Holds a whole schedule against its rules; the message names the field as on the wire.

    Raises:
        ValueError: A field is wrong, or the schedule ends before it starts.
    """
    for name, check, value in (("cron", check_cron, schedule.cron), ("timeZone", check_time_zone, schedule.time_zone)):
        try:
            check(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    if schedule.start_at is not None and schedule.end_at is not None and schedule.end_at < schedule.start_at:
        raise ValueError("endAt must not be before startAt")


def first_occurrence(schedule: Schedule, now: datetime) -> datetime | None:
    """The occurrence that a timer created now begins with; None when there is none."""
    return next_occurrence(schedule, now)


def next_occurrence(schedule: Schedule, after: datetime) -> datetime | None:
    """The first occurrence later than `after`, in UTC; None when there is none, or none within 50 years.

    The schedule must be a checked one.
    """
    if schedule.start_at is not None and schedule.start_at > after:
        after = schedule.start_at - timedelta(microseconds=1)
    try:
        for occurrence in CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.time_zone))):
            at = occurrence.astimezone(UTC)
            if at > after:  # in an hour that comes twice, those of its first pass are found again in the second
                return at if schedule.end_at is None or at <= schedule.end_at else None
    except OverflowError:
        pass  # past the year 9999
    return None


def after_run(schedule: Schedule, execute_at: datetime, store_now: datetime) -> datetime | None:
    """The occurrence that follows one promised for `execute_at` and ended at `store_now`: the first after both.

    So whatever was missed meanwhile is not made up for, and a store's clock that stepped back repeats nothing.
    """
    return next_occurrence(schedule, max(execute_at, store_now))


def effective_starting_deadline(schedule: Schedule | None, own: timedelta | None) -> timedelta | None:
    """How late an occurrence may start: the timer's own, else a minute for schedules that skip what they missed."""
    if own is None and schedule is not None and schedule.missed is Missed.SKIP:
        return SKIP_STARTING_DEADLINE
    return own


def _each_field_is_right(cron: str) -> bool:
    """Whether days and months are right, each by itself: cronsim refuses 30 February as if it were a wrong day."""
    minute, hour, day, month, weekday = cron.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", _SOME_DAY)
        CronSim(f"{minute} {hour} * {month} {weekday}", _SOME_DAY)
    except CronSimError:
        return False
    return True


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    """The names in the tzdata package, so that every process knows the same ones whatever its machine has."""
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())
