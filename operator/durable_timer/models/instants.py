"""Instants on the wire: RFC 3339 with a zone in, UTC with six decimals and `Z` out; inside, aware UTC `datetime`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

_SHAPE: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?)([0-9]*)"
    r"(Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII | re.IGNORECASE,
)
_LEAP_SECOND: Final = re.compile(r"[^.]*:60(?:\.[0-9]+)?(?:Z|[+-][0-9:]*)", re.ASCII | re.IGNORECASE)
_MICROSECOND: Final = timedelta(microseconds=1)


def parse_instant(text: str) -> datetime:
    """Reads an RFC 3339 instant; what is finer than a microsecond is rounded up, so that nothing fires early.

    Raises:
        ValueError: It is not RFC 3339, has no zone, names a leap second, or lies outside the years 1 to 9999 (UTC).
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(_why_not(text))
    written, finer, zone = match.groups()
    try:
        instant = datetime.fromisoformat(written + ("+00:00" if zone in "Zz" else zone))
    except ValueError:
        raise ValueError(f"must be a day that exists, not {text!r}") from None
    try:
        if instant.tzinfo is not UTC:
            instant = instant.astimezone(UTC)
        return instant + _MICROSECOND if finer.strip("0") else instant
    except OverflowError:
        raise ValueError(f"must lie in the years 1 to 9999 in UTC, not {text!r}") from None


def format_instant(instant: datetime) -> str:
    """Writes an aware instant as `2026-01-31T12:00:00.000000Z`.

    Raises:
        ValueError: It is naive.
    """
    if instant.tzinfo is not UTC:
        if instant.tzinfo is None:
            raise ValueError(f"must have a zone: {instant!r}")
        instant = instant.astimezone(UTC)
    text = orjson.dumps(instant, option=orjson.OPT_UTC_Z)
    return text[1:-1].decode() if instant.microsecond else text[1:-2].decode() + ".000000Z"


def _why_not(text: str) -> str:
    if _LEAP_SECOND.fullmatch(text):
        return f"must not name a leap second (:60), use the second after it: {text!r}"
    if _SHAPE.fullmatch(text + "Z"):
        return f"must name its zone (Z or an offset such as +02:00): {text!r}"
    return f"must be an RFC 3339 time such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00.5+01:00, not {text[:64]!r}"
