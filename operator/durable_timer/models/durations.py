"""Durations on the wire: Gateway API strings such as `1h30m`, `500ms`, `0s` (GEP-2257); inside, `timedelta`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from durable_timer.models.cel import RULES, CelRule
from durable_timer.models.limits import DELAY_MAX

DURATION_PATTERN: Final = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""What a duration looks like, as the Gateway API defines it."""

DURATION_LENGTH_MAX: Final = 28
"""Characters of the longest string of that shape."""

_SHAPE: Final = re.compile(r"(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}", re.ASCII)
_PART: Final = re.compile(r"([0-9]{1,5})(h|ms|m|s)", re.ASCII)
_MILLISECONDS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def parse_duration(text: str) -> timedelta:
    """Reads a duration; parts of it add up, in any order.

    Raises:
        ValueError: It does not have the shape of a duration, or is longer than 99999h.
    """
    if _SHAPE.fullmatch(text) is None:
        raise ValueError(
            f"must be a duration such as 10s, 1h30m or 500ms (h, m, s and ms, whole numbers), not {text!r}"
        )
    length = timedelta(milliseconds=sum(int(count) * _MILLISECONDS[unit] for count, unit in _PART.findall(text)))
    if length > DELAY_MAX:
        raise ValueError(f"must be at most 99999h, not {text!r}")
    return length


def format_duration(length: timedelta) -> str:
    """Writes a duration in its one canonical form: largest units first, none that is zero, `0s` for nothing.

    Raises:
        ValueError: It is negative, longer than 99999h, or not in whole milliseconds.
    """
    rest, odd = divmod(length, timedelta(milliseconds=1))
    if odd or not timedelta(0) <= length <= DELAY_MAX:
        raise ValueError(f"must be whole milliseconds from 0s to 99999h, not {length!r}")
    parts = []
    for unit, worth in _MILLISECONDS.items():
        count, rest = divmod(rest, worth)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


@dataclass(frozen=True, slots=True)
class DurationBounds:
    """Pydantic metadata: a `timedelta` that is a duration string outside, from `least` to `most`, both included."""

    least: timedelta = timedelta(0)
    most: timedelta = DELAY_MAX

    def check(self, value: object) -> timedelta:
        """Reads a string, takes a `timedelta` as it is, and holds both against the bounds.

        Raises:
            ValueError: It is neither, is not a duration, or is out of bounds.
        """
        if isinstance(value, str):
            length = parse_duration(value)
        elif isinstance(value, timedelta):
            length = value
        else:
            raise ValueError(f"must be a duration string such as 10s, not {value!r}")  # noqa: TRY004 - pydantic's protocol
        if not self.least <= length <= self.most:
            raise ValueError(f"must be from {format_duration(self.least)} to {format_duration(self.most)}")
        return length

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            self.check,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_duration, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del schema, handler
        least, most = format_duration(self.least), format_duration(self.most)
        rule = CelRule(
            f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')",
            f"must be from {least} to {most}",
        )
        return {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "maxLength": DURATION_LENGTH_MAX,
            RULES: [rule.to_json()],
        }


Duration = Annotated[timedelta, DurationBounds()]
"""Any duration there is: 0s to 99999h."""
