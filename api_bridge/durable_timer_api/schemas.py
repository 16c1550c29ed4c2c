"""The bodies of requests, as in api.yaml: what is unknown is refused, null stands for what is not given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel

from durable_timer.models import checks, limits
from durable_timer.models.durations import Duration, DurationBounds, format_duration
from durable_timer.models.instants import parse_instant
from durable_timer.models.timer import CallbackFormat, CallbackMethod, Missed, TimerState
from durable_timer.planning.schedule import check_cron, check_time_zone


def _text(check: Callable[[str], Any]) -> Callable[[object], Any]:
    def read(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("must be a string")  # noqa: TRY004 - pydantic's protocol
        return check(value)

    return read


def _checked(check: Callable[[str], None]) -> Callable[[str], str]:
    def read(value: str) -> str:
        check(value)
        return value

    return read


Instant = Annotated[datetime, PlainValidator(_text(parse_instant))]
NewTimerId = Annotated[str, PlainValidator(_text(checks.check_new_timer_id))]
TimerId = Annotated[str, PlainValidator(_text(checks.check_timer_id))]
CallbackUrl = Annotated[str, PlainValidator(_text(checks.check_callback_url))]
Cron = Annotated[str, PlainValidator(_text(_checked(check_cron)))]
TimeZone = Annotated[str, PlainValidator(_text(_checked(check_time_zone)))]
MediaType = Annotated[str, PlainValidator(_text(checks.check_media_type))]
Headers = Annotated[
    dict[
        Annotated[str, PlainValidator(_text(checks.check_header_name))],
        Annotated[str, PlainValidator(_text(checks.check_header_value))],
    ],
    AfterValidator(checks.check_headers),
]
Labels = Annotated[
    dict[
        Annotated[str, PlainValidator(_text(checks.check_label_name))],
        Annotated[str, PlainValidator(_text(checks.check_label_value))],
    ],
    AfterValidator(checks.check_labels),
]


class Body(BaseModel):
    """A part of a request: camelCase outside, nothing unknown."""

    model_config = ConfigDict(  # type: ignore[pydantic-alias] # built by `model_validate` alone, from the names outside
        frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True
    )


class RetryPolicyBody(Body):
    """The retry fields that a timer sets itself."""

    max_attempts: Annotated[StrictInt, Field(ge=limits.MAX_ATTEMPTS_MIN, le=limits.MAX_ATTEMPTS_MAX)] | None = None
    max_attempts_duration: (
        Annotated[timedelta, DurationBounds(limits.MAX_ATTEMPTS_DURATION_MIN, limits.MAX_ATTEMPTS_DURATION_MAX)] | None
    ) = None
    initial_interval: (
        Annotated[timedelta, DurationBounds(limits.INITIAL_INTERVAL_MIN, limits.INITIAL_INTERVAL_MAX)] | None
    ) = None
    backoff_multiplier: (
        Annotated[StrictFloat, Field(ge=limits.BACKOFF_MULTIPLIER_MIN, le=limits.BACKOFF_MULTIPLIER_MAX)] | None
    ) = None
    max_interval: Annotated[timedelta, DurationBounds(limits.INITIAL_INTERVAL_MIN, limits.MAX_INTERVAL_MAX)] | None = (
        None
    )

    @field_validator("max_interval")
    @classmethod
    def _at_least_initial(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        initial = info.data.get("initial_interval")
        if value is not None and initial is not None and value < initial:
            raise ValueError(f"must be at least initialInterval ({format_duration(initial)})")
        return value


class ScheduleBody(Body):
    """When a recurring timer fires."""

    cron: Cron
    time_zone: TimeZone | None = None
    missed: Missed | None = None
    start_at: Instant | None = None
    end_at: Instant | None = None

    @field_validator("end_at")
    @classmethod
    def _not_before_start(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        start = info.data.get("start_at")
        if value is not None and start is not None and value < start:
            raise ValueError("must not be before startAt")
        return value


class TimerBody(Body):
    """What a create and a change have in common; `payload` is read apart, as its text is kept."""

    group_id: StrictStr | None = None
    execute_at: Instant | None = None
    delay: Duration | None = None
    schedule: ScheduleBody | None = None
    callback_method: CallbackMethod | None = None
    callback_format: CallbackFormat | None = None
    payload: object = None
    payload_base64: Annotated[StrictStr | None, Field(alias="payloadBase64")] = None
    content_type: MediaType | None = None
    headers: Headers | None = None
    labels: Labels | None = None
    retry_policy: RetryPolicyBody | None = None
    callback_timeout_seconds: (
        Annotated[
            StrictInt,
            Field(
                ge=int(limits.CALLBACK_TIMEOUT_MIN.total_seconds()), le=int(limits.CALLBACK_TIMEOUT_MAX.total_seconds())
            ),
        ]
        | None
    ) = None
    starting_deadline: (
        Annotated[timedelta, DurationBounds(limits.STARTING_DEADLINE_MIN, limits.STARTING_DEADLINE_MAX)] | None
    ) = None
    suspend: StrictBool | None = None


class NewTimerBody(TimerBody):
    """What creates a timer."""

    id: NewTimerId | None = None
    callback_url: CallbackUrl


class TimerChangeBody(TimerBody):
    """What changes a timer; the read-only fields of an answer are accepted and ignored."""

    READ_ONLY: ClassVar = frozenset({
        "state", "attempt", "occurrence", "nextAttemptAt", "lastError", "lastStatus", "createdAt", "updatedAt",
        "executedAt", "version", "headerNames",
    })  # fmt: skip

    id: StrictStr | None = None
    callback_url: CallbackUrl | None = None


class FilterBody(Body):
    """Which timers a cancel is about."""

    state: Annotated[list[TimerState], Field(max_length=len(TimerState))] | None = None
    due_from: Instant | None = None
    due_before: Instant | None = None
    id_prefix: TimerId | None = None
    labels: Labels | None = None


class FailedFilterBody(Body):
    """Which failed timers a redrive is about."""

    id_prefix: TimerId | None = None
    labels: Labels | None = None


class SelectionBody(Body):
    """The timers of a cancel or a redrive: ids, or a filter."""

    ids: Annotated[list[TimerId], Field(min_length=1, max_length=limits.ITEMS_MAX)] | None = None
    page_token: StrictStr | None = None


class CancelBody(SelectionBody):
    """Timers to be cancelled."""

    filter: FilterBody | None = None


class RedriveBody(SelectionBody):
    """Timers to be redriven."""

    filter: FailedFilterBody | None = None
