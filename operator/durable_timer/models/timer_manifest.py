"""A timer declared as a resource: the manifest of the kind Timer.

What needs the group, the time or more than a look at one field is the operator's to judge, and becomes a condition: the
size and schema of the payload, whether a payload in base64 is JSON, what a cron expression means, whether a time zone
exists, how far ahead a time lies, an IPv6 address or an internationalised host inside a URL.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    model_validator,
)

from durable_timer.models import cel_checks, checks, limits
from durable_timer.models.cel import CelRule, held, immutable, in_order, list_map
from durable_timer.models.manifest import (
    INTERVALS_IN_ORDER,
    BackoffMultiplier,
    DeletionPolicy,
    InitialInterval,
    Manifest,
    ManifestMetadata,
    MaxAttempts,
    MaxAttemptsDuration,
    MaxInterval,
    ObjectName,
    Part,
    SecretKey,
    check_intervals,
)
from durable_timer.models.timer import CallbackFormat, CallbackMethod, Missed
from durable_timer.models.timer_fields import (
    Base64,
    CallbackTimeout,
    CallbackUrl,
    Cron,
    HeaderName,
    HeaderValue,
    Instant,
    Labels,
    MediaType,
    StartingDeadline,
    TimeZone,
)

KIND: Final = "Timer"
"""The kind of a declared timer's manifest."""

_ONE_TIME: Final = "exactly one of executeAt and schedule must be set"
_ONE_VALUE: Final = "exactly one of value and valueFrom must be set"
_JSON_TYPE: Final = "must be a JSON type unless payloadBase64 is set"
_NAME_RULE: Final = f"must have at most {limits.RESOURCE_NAME_MAX} characters"


class GroupRef(Part):
    """The group that a timer belongs to."""

    name: ObjectName = Field(description="The name of a TimerGroup in the Timer's namespace.")


class SecretKeyRef(Part):
    """One key of a Secret beside the Timer."""

    name: ObjectName = Field(description="The Secret's name.")
    key: SecretKey = Field(description="The key within the Secret.")


class HeaderSource(Part):
    """Where a header's value comes from."""

    secret_key_ref: SecretKeyRef = Field(
        description="A key of a Secret in the Timer's namespace; executors read it when they send."
    )


class TimerHeader(Part):
    """A header of the callback."""

    model_config = ConfigDict(
        json_schema_extra=held(CelRule("has(self.value) != has(self.valueFrom)", _ONE_VALUE)),
    )

    name: HeaderName = Field(description="The header's name. Not one of the service's own, nor content-type.")
    value: HeaderValue | None = Field(default=None, description="Its value, for all to read.")
    value_from: HeaderSource | None = Field(default=None, description="Where its value is, when it is a secret.")

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise ValueError(_ONE_VALUE)
        return self


class TimerSchedule(Part):
    """When a recurring timer fires."""

    model_config = ConfigDict(json_schema_extra=held(in_order("startAt", "endAt", "self.startAt", "self.endAt")))

    cron: Cron = Field(description="Minute, hour, day of month, month and day of week, in timeZone: 0 9 * * MON-FRI.")
    time_zone: TimeZone = Field(default="UTC", description="A time zone of the IANA database, such as Europe/Berlin.")
    missed: Missed = Field(
        default=Missed.RUN,
        description=(
            "What becomes of an occurrence that could not start in time: Run makes up for the last one missed, Skip "
            "leaves it out when it would be later than startingDeadline."
        ),
    )
    start_at: Instant | None = Field(default=None, description="No occurrence is before it.")
    end_at: Instant | None = Field(default=None, description="No occurrence is after it.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start_at is not None and self.end_at is not None and self.end_at < self.start_at:
            raise ValueError("endAt must be at least startAt")
        return self


class TimerRetryPolicy(Part):
    """The retry fields that a timer sets itself; the group's hold for the others."""

    model_config = ConfigDict(json_schema_extra=INTERVALS_IN_ORDER)

    max_attempts: MaxAttempts | None = Field(
        default=None, description="Attempts of one occurrence, the first one included."
    )
    max_attempts_duration: MaxAttemptsDuration | None = Field(
        default=None, description="No attempt begins later than this after the first attempt of its occurrence."
    )
    initial_interval: InitialInterval | None = Field(
        default=None, description="The back-off after the first attempt, before jitter."
    )
    backoff_multiplier: BackoffMultiplier | None = Field(
        default=None, description='By what the back-off grows with each attempt, as a decimal string such as "2.0".'
    )
    max_interval: MaxInterval | None = Field(
        default=None, description="The longest back-off, and the longest Retry-After that is honoured."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_intervals(self.initial_interval, self.max_interval)
        return self


class TimerSpec(Part):
    """What is declared of a timer. `group_ref` never changes; what is None is the group's."""

    model_config = ConfigDict(
        json_schema_extra={
            **held(
                immutable("groupRef"),
                CelRule("has(self.executeAt) != has(self.schedule)", _ONE_TIME),
                CelRule(
                    "!has(self.contentType) || has(self.payloadBase64) || "
                    f"self.contentType.matches(r'{cel_checks.JSON_MEDIA_TYPE_PATTERN}')",
                    _JSON_TYPE,
                    "contentType",
                ),
            ),
            "not": {"required": ["payload", "payloadBase64"]},
        }
    )

    group_ref: GroupRef = Field(description="The group that the timer belongs to. Immutable.")
    execute_at: Instant | None = Field(
        default=None,
        description="When it fires, once: RFC 3339 with a zone. A past time fires at once. This or schedule.",
    )
    schedule: TimerSchedule | None = Field(
        default=None, description="When it fires, again and again. This or executeAt."
    )
    starting_deadline: StartingDeadline | None = Field(
        default=None,
        description=(
            "How late an occurrence may start; one that would be later is left out, or fails if it is the only one. "
            "None by default, 1m with missed: Skip."
        ),
    )
    callback_url: CallbackUrl = Field(description="Where the callback goes: http or https, no credentials.")
    callback_method: CallbackMethod | None = Field(
        default=None, description="The HTTP method of the callback. The group's by default."
    )
    callback_format: CallbackFormat | None = Field(
        default=None, description="What the callback looks like. The group's by default."
    )
    payload: JsonValue = Field(
        default=None,
        description=(
            "Any JSON but null, 64 KiB at most. Numbers go through the API server; give those that have to be exact to "
            "the last digit as payloadBase64."
        ),
    )
    payload_base64: Base64 | None = Field(
        default=None,
        alias="payloadBase64",
        description="The payload's bytes in base64, 64 KiB at most before encoding. This or payload.",
    )
    content_type: MediaType | None = Field(
        default=None,
        description=(
            "The payload's media type. application/json by default for payload, application/octet-stream for "
            "payloadBase64."
        ),
    )
    headers: Annotated[tuple[TimerHeader, ...], Field(max_length=limits.HEADERS_MAX), cel_checks.HEADERS] = Field(
        default=(), json_schema_extra=list_map("name"), description="Headers of the callback, at most 8 KiB in all."
    )
    labels: Labels | None = Field(
        default=None, description="Labels of the timer in REST, which lists can be filtered by. Kubernetes syntax."
    )
    callback_timeout: CallbackTimeout | None = Field(
        default=None, description="How long the callback may take. The group's by default."
    )
    retry_policy: TimerRetryPolicy | None = Field(
        default=None,
        description="When a callback that did not succeed is tried again; field by field, else the group's.",
    )
    suspend: StrictBool = Field(default=False, description="While true, it does not fire.")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.DELETE,
        description="What becomes of the timer when this resource is deleted: it goes (Delete), or stays (Retain).",
    )

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        if (self.execute_at is None) == (self.schedule is None):
            raise ValueError(_ONE_TIME)
        if self.payload is not None and self.payload_base64 is not None:
            raise ValueError("only one of payload and payloadBase64 may be set")
        return self

    @model_validator(mode="after")
    def _content_type(self) -> Self:
        if (
            self.content_type is not None
            and self.payload_base64 is None
            and not checks.is_json_media_type(self.content_type)
        ):
            raise ValueError(f"contentType {_JSON_TYPE}")
        return self

    @model_validator(mode="after")
    def _headers(self) -> Self:
        values = {header.name: header.value or "" for header in self.headers}
        if len(values) < len(self.headers):
            raise ValueError("headers must not name a header twice")
        try:
            checks.check_headers(values)
        except ValueError as error:
            raise ValueError(f"headers {error}") from None
        return self


class TimerManifest(Manifest):
    """A timer declared in Git: when it fires, and what it sends where."""

    model_config = ConfigDict(
        json_schema_extra=held(
            CelRule(f"size(self.metadata.name) <= {limits.RESOURCE_NAME_MAX}", f"metadata.name {_NAME_RULE}")
        )
    )

    api_version: Literal["durabletimer.dev/v1alpha1"] = Field(description="The resource's API group and version.")
    kind: Literal["Timer"] = Field(description="The resource's kind.")
    metadata: ManifestMetadata = Field(description="The resource's name and the like.")
    spec: TimerSpec = Field(description="What is declared of the timer.")

    @model_validator(mode="after")
    def _short_name(self) -> Self:
        if len(self.metadata.name) > limits.RESOURCE_NAME_MAX:
            raise ValueError(f"metadata.name {_NAME_RULE}")
        return self
