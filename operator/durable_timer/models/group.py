"""A timer group: the manifest that declares it, and the row that a store keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

import jsonschema_rs
import orjson
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    model_validator,
)

from durable_timer.models import limits
from durable_timer.models.cel import CelRule, held, immutable, list_map
from durable_timer.models.durations import DurationBounds
from durable_timer.models.manifest import (
    INTERVALS_IN_ORDER,
    BackoffMultiplier,
    DeletionPolicy,
    DnsLabel,
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
from durable_timer.models.timer import CallbackFormat, CallbackMethod

KIND: Final = "TimerGroup"
"""The kind of a group's manifest."""


def _valid_schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        size = len(orjson.dumps(schema))
    except orjson.JSONEncodeError as error:
        raise ValueError(f"must be JSON: {error}") from None
    if size > limits.PAYLOAD_SCHEMA_MAX_BYTES:
        raise ValueError(f"must be at most {limits.PAYLOAD_SCHEMA_MAX_BYTES} bytes of JSON, not {size}")
    try:
        jsonschema_rs.validator_for(schema, retriever=_no_retrieval)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(f"must be a valid JSON Schema: {str(error).splitlines()[0]}") from None
    return schema


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"a schema may refer to itself alone, not to {uri}")


class RateLimit(Part):
    """At most `requests` callbacks a `period`, over all executors."""

    requests: Annotated[StrictInt, Field(ge=limits.RATE_LIMIT_REQUESTS_MIN, le=limits.RATE_LIMIT_REQUESTS_MAX)] = Field(
        description="Callbacks that may begin in each period, over all executors together."
    )
    period: Annotated[timedelta, DurationBounds(limits.RATE_LIMIT_PERIOD_MIN, limits.RATE_LIMIT_PERIOD_MAX)] = Field(
        default=limits.RATE_LIMIT_PERIOD_MIN, description="The length of a period."
    )


class SigningSecretRef(Part):
    """One key of a Secret beside the group."""

    name: ObjectName = Field(description="The Secret's name.")
    key: SecretKey = Field(description="The key within the Secret.")


class SigningSpec(Part):
    """How callbacks are signed (Standard Webhooks)."""

    secret_refs: tuple[SigningSecretRef, ...] = Field(
        default=(),
        max_length=limits.SIGNING_SECRETS_MAX,
        json_schema_extra=list_map("name", "key"),
        description="The Secrets that sign each callback: one, and a second one while secrets are exchanged.",
    )

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if len({(ref.name, ref.key) for ref in self.secret_refs}) < len(self.secret_refs):
            raise ValueError("secretRefs must not name the same key of the same Secret twice")
        return self


class CallbackSpec(Part):
    """How a group's callbacks are made."""

    timeout: Annotated[timedelta, DurationBounds(limits.CALLBACK_TIMEOUT_MIN, limits.CALLBACK_TIMEOUT_MAX)] = Field(
        default=limits.CALLBACK_TIMEOUT_DEFAULT,
        description="How long a callback may take, from connecting to the end of its answer. A timer may set its own.",
    )
    method: CallbackMethod = Field(
        default=CallbackMethod.POST, description="The HTTP method of callbacks. A timer may set its own."
    )
    format: CallbackFormat = Field(
        default=CallbackFormat.STANDARD,
        description=(
            "What a callback looks like: Standard sends a JSON object with ids and payload, Raw the payload alone, "
            "CloudEvents a CloudEvents 1.0 binary-mode request. A timer may set its own."
        ),
    )
    max_in_flight: Annotated[StrictInt, Field(ge=limits.MAX_IN_FLIGHT_MIN, le=limits.MAX_IN_FLIGHT_MAX)] = Field(
        default=limits.MAX_IN_FLIGHT_DEFAULT,
        description="Callbacks of this group that may be under way at once, over all executors together.",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="How many callbacks may begin in a period. None by default."
    )
    signing: SigningSpec | None = Field(
        default=None, description="How callbacks are signed (Standard Webhooks 1.0). Unsigned by default."
    )


class RetryPolicySpec(Part):
    """When a callback that did not succeed is tried again. A timer may override each field."""

    model_config = ConfigDict(json_schema_extra=INTERVALS_IN_ORDER)

    max_attempts: MaxAttempts = Field(
        default=limits.MAX_ATTEMPTS_DEFAULT, description="Attempts of one occurrence, the first one included."
    )
    max_attempts_duration: MaxAttemptsDuration = Field(
        default=limits.MAX_ATTEMPTS_DURATION_DEFAULT,
        description="No attempt begins later than this after the first attempt of its occurrence.",
    )
    initial_interval: InitialInterval = Field(
        default=limits.INITIAL_INTERVAL_DEFAULT, description="The back-off after the first attempt, before jitter."
    )
    backoff_multiplier: BackoffMultiplier = Field(
        default=limits.BACKOFF_MULTIPLIER_DEFAULT,
        description='By what the back-off grows with each attempt, as a decimal string such as "2.0".',
    )
    max_interval: MaxInterval = Field(
        default=limits.MAX_INTERVAL_DEFAULT,
        description="The longest back-off, and the longest Retry-After that is honoured. At least initialInterval.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_intervals(self.initial_interval, self.max_interval)
        return self


class PayloadSpec(Part):
    """What payloads a group accepts."""

    max_bytes: Annotated[StrictInt, Field(ge=limits.PAYLOAD_MAX_BYTES_MIN, le=limits.PAYLOAD_MAX_BYTES_MAX)] = Field(
        default=limits.PAYLOAD_MAX_BYTES_DEFAULT, description="The largest payload of a timer, in bytes."
    )
    json_schema: Annotated[dict[str, JsonValue], AfterValidator(_valid_schema)] | None = Field(
        default=None,
        alias="schema",
        description="A JSON Schema that each JSON payload must satisfy, at most 64 KiB. Any payload by default.",
    )


class RetentionSpec(Part):
    """When finished timers go."""

    completed: Annotated[timedelta, DurationBounds(limits.RETENTION_COMPLETED_MIN, limits.RETENTION_MAX)] = Field(
        default=limits.RETENTION_COMPLETED_DEFAULT,
        description="How long completed timers are kept. With 0s they go when they complete, and their ids are free.",
    )
    failed: Annotated[timedelta, DurationBounds(limits.RETENTION_FAILED_MIN, limits.RETENTION_MAX)] = Field(
        default=limits.RETENTION_FAILED_DEFAULT,
        description="How long failed timers are kept; until then they can be redriven.",
    )


class ObjectivesSpec(Part):
    """What a group asks of the service; only reported on, nothing depends on it."""

    lateness: Annotated[timedelta, DurationBounds(limits.LATENESS_OBJECTIVE_MIN, limits.LATENESS_OBJECTIVE_MAX)] = (
        Field(
            default=limits.LATENESS_OBJECTIVE_DEFAULT,
            description="The 99th percentile of lateness that the group asks for.",
        )
    )


class TimerGroupSpec(Part):
    """What is declared of a group. `group_id`, `shards`, `store` and `executor_pool` never change."""

    model_config = ConfigDict(
        json_schema_extra=held(*map(immutable, ("groupId", "shards", "store", "executorPool"))),
    )

    group_id: DnsLabel | None = Field(
        default=None, description="The group's id in REST and in the store. metadata.name by default. Immutable."
    )
    shards: Annotated[StrictInt, Field(ge=limits.SHARDS_MIN, le=limits.SHARDS_MAX)] = Field(
        default=limits.SHARDS_DEFAULT, description="Into how many shards the group's timers are divided. Immutable."
    )
    store: DnsLabel = Field(
        default=limits.STORE_DEFAULT, description="The name of the store that keeps the group's timers. Immutable."
    )
    executor_pool: DnsLabel = Field(
        default=limits.POOL_DEFAULT, description="The pool of executors that deliver the group's timers. Immutable."
    )
    paused: StrictBool = Field(default=False, description="While true, timers are accepted and none fires.")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What becomes of the group's timers when the group is deleted: kept, unfired (Retain), or deleted.",
    )
    callback: CallbackSpec = Field(default_factory=CallbackSpec, description="How callbacks are made.")
    retry_policy: RetryPolicySpec = Field(
        default_factory=RetryPolicySpec, description="When a callback that did not succeed is tried again."
    )
    payload: PayloadSpec = Field(default_factory=PayloadSpec, description="What payloads are accepted.")
    retention: RetentionSpec = Field(default_factory=RetentionSpec, description="How long finished timers are kept.")
    objectives: ObjectivesSpec = Field(
        default_factory=ObjectivesSpec, description="What the group asks of the service."
    )


class TimerGroupManifest(Manifest):
    """A group of timers: where they are kept, who delivers them, and how."""

    model_config = ConfigDict(
        json_schema_extra=held(
            CelRule(
                "has(self.spec.groupId) || (size(self.metadata.name) <= "
                f"{limits.GROUP_ID_MAX} && !self.metadata.name.contains('.'))",
                f"metadata.name must be a DNS label of at most {limits.GROUP_ID_MAX} characters unless spec.groupId is set",
            )
        )
    )

    api_version: Literal["durabletimer.dev/v1alpha1"] = Field(description="The resource's API group and version.")
    kind: Literal["TimerGroup"] = Field(description="The resource's kind.")
    metadata: ManifestMetadata = Field(description="The resource's name and the like.")
    spec: TimerGroupSpec = Field(description="What is declared of the group.")

    @model_validator(mode="after")
    def _has_group_id(self) -> Self:
        name = self.metadata.name
        if self.spec.group_id is None and (len(name) > limits.GROUP_ID_MAX or "." in name):
            raise ValueError(
                f"metadata.name must be a DNS label of at most {limits.GROUP_ID_MAX} characters unless spec.groupId is set"
            )
        return self

    @property
    def group_id(self) -> str:
        """The id under which the store keeps the group."""
        return self.spec.group_id or self.metadata.name


class GroupState(StrEnum):
    """Whether a group's timers fire, stay unfired, or are being deleted."""

    ACTIVE = "active"
    DELETED = "deleted"
    PURGING = "purging"


@dataclass(frozen=True, slots=True)
class GroupRegistration:
    """What a store is asked to keep of a group. `owner`: `cluster/namespace/name`, or `file:<name>`."""

    group_id: str
    owner: str
    shards: int
    pool: str
    spec: TimerGroupSpec
    generation: int


@dataclass(frozen=True, slots=True)
class Group:
    """A group's row.

    `emptied_at`: when a purge found nothing left. `change`: the number of its last write, ascending over all groups of
    the store.
    """

    group_id: str
    owner: str
    shards: int
    pool: str
    spec: TimerGroupSpec
    generation: int
    state: GroupState
    state_since: datetime
    emptied_at: datetime | None
    change: int


def spec_to_json(spec: TimerGroupSpec) -> str:
    """The spec with all its defaults, under the manifest's names."""
    return spec.model_dump_json(by_alias=True)


def spec_from_json(text: str) -> TimerGroupSpec:
    """Reads a stored spec; fields that a later release wrote and this one does not know are left out.

    Raises:
        ValueError: It is not JSON, or a known field's value is out of its rules.
    """
    return TimerGroupSpec.model_validate_json(text, extra="ignore")
