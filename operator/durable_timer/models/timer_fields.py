"""The fields of a Timer resource that take a word: each with its rules, in Python and in CEL."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, StringConstraints, WithJsonSchema

from durable_timer.models import cel_checks, checks, limits
from durable_timer.models.cel import FieldRules, matches
from durable_timer.models.durations import DurationBounds
from durable_timer.models.instants import format_instant, parse_instant

INSTANT_PATTERN: Final = (
    r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""RFC 3339 with a zone, in capitals, of the years 1000 to 2999."""

_CRON_FIELD: Final = "[0-9A-Za-z*,/#-]+"
_CRON_PATTERN: Final = f"^{_CRON_FIELD}( +{_CRON_FIELD}){{4}}$"
_CRON_RULE: Final = "must have five fields: minute, hour, day of month, month, day of week"
_TIME_ZONE_PATTERN: Final = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"
_TIME_ZONE_MAX: Final = 64
_HEADER_NAME_PATTERN: Final = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
_HEADER_VALUE_PATTERN: Final = r"^([!-~]([ \t!-~]*[!-~])?)?$"
_LABEL_VALUE_PATTERN: Final = "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$"
_LABEL_VALUE_MAX: Final = 63
_BASE64_PATTERN: Final = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_BASE64_MAX: Final = -(-limits.RESOURCE_PAYLOAD_MAX_BYTES // 3) * 4


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or re.fullmatch(INSTANT_PATTERN, value, re.ASCII) is None:
        raise ValueError(f"must be an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z, not {value!r:.64}")
    return parse_instant(value)


def _cron(cron: str) -> str:
    if re.fullmatch(_CRON_PATTERN, cron, re.ASCII) is None:
        raise ValueError(_CRON_RULE)
    return cron


Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    PlainSerializer(format_instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT_PATTERN, "maxLength": 35}),
]
Cron = Annotated[
    str,
    StringConstraints(min_length=1, max_length=limits.CRON_MAX),
    AfterValidator(_cron),
    FieldRules((matches(_CRON_PATTERN, _CRON_RULE),)),
]
TimeZone = Annotated[str, StringConstraints(pattern=_TIME_ZONE_PATTERN, min_length=1, max_length=_TIME_ZONE_MAX)]
CallbackUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=limits.CALLBACK_URL_MAX),
    AfterValidator(checks.check_callback_url),
    cel_checks.CALLBACK_URL,
]
HeaderName = Annotated[
    str,
    StringConstraints(pattern=_HEADER_NAME_PATTERN, min_length=1, max_length=limits.HEADER_NAME_MAX),
    AfterValidator(checks.check_header_name),
    cel_checks.HEADER_NAME,
]
HeaderValue = Annotated[
    str, StringConstraints(pattern=_HEADER_VALUE_PATTERN, min_length=0, max_length=limits.HEADER_VALUE_MAX)
]
MediaType = Annotated[
    str,
    StringConstraints(min_length=1, max_length=checks.MEDIA_TYPE_MAX),
    AfterValidator(checks.check_media_type),
    cel_checks.MEDIA_TYPE,
]
Labels = Annotated[
    dict[
        Annotated[str, AfterValidator(checks.check_label_name)],
        Annotated[str, StringConstraints(pattern=_LABEL_VALUE_PATTERN, max_length=_LABEL_VALUE_MAX)],
    ],
    Field(max_length=limits.LABELS_MAX),
    cel_checks.LABELS,
]
Base64 = Annotated[str, StringConstraints(pattern=_BASE64_PATTERN, max_length=_BASE64_MAX)]
StartingDeadline = Annotated[timedelta, DurationBounds(limits.STARTING_DEADLINE_MIN, limits.STARTING_DEADLINE_MAX)]
CallbackTimeout = Annotated[timedelta, DurationBounds(limits.CALLBACK_TIMEOUT_MIN, limits.CALLBACK_TIMEOUT_MAX)]
