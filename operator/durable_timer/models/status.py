"""What the operator says about TimerGroups and Timers: the `status` of both kinds, as the CRDs describe it.

A reason is CamelCase, belongs to no release's text, and is what people match on; messages may change. A time is an aware
UTC `datetime`: conditions carry whole seconds, as in all of Kubernetes, other times six decimals.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic.alias_generators import to_camel

from durable_timer.models.cel import list_map
from durable_timer.models.instants import format_instant, parse_instant


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return parse_instant(value)
    raise ValueError("must be an RFC 3339 time")


def _whole_seconds(instant: datetime) -> str:
    return format_instant(instant)[: len("2026-01-31T12:00:00")] + "Z"


Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    PlainSerializer(format_instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ConditionTime = Annotated[
    datetime,
    PlainValidator(_instant),
    PlainSerializer(_whole_seconds, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Explained(StrEnum):
    """Words with a meaning, which the reference shows."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class ConditionType(Explained):
    """The conditions of both kinds. Stalled and Reconciling are there only while they are True (kstatus)."""

    READY = (
        "Ready",
        (
            "TimerGroup: registered, its store reachable, its Secrets available, its shards claimed. "
            "Timer: its row is what the resource declares. Outcomes, lateness, pause and suspension never change it."
        ),
    )
    STALLED = (
        "Stalled",
        "There only while True: nothing goes on until somebody changes something; the reason says what.",
    )
    RECONCILING = "Reconciling", "There only while True: the operator is at work on it, or waits for something else."
    SHARDS_ASSIGNED = "ShardsAssigned", "TimerGroup: each shard is claimed by the executor that it is assigned to."
    STORE_REACHABLE = "StoreReachable", "TimerGroup: the operator reaches the store that keeps the group's timers."
    SECRETS_AVAILABLE = "SecretsAvailable", "TimerGroup: the executors can read the Secrets that sign its callbacks."
    LATENESS_WITHIN_OBJECTIVE = (
        "LatenessWithinObjective",
        (
            "TimerGroup: the 99th percentile of lateness that its executors report, against `objectives.lateness`; "
            "it changes after 30 s of it, and is Unknown while nothing fires."
        ),
    )
    PAUSED = "Paused", "TimerGroup: `spec.paused` is in effect: no callback begins."
    SUSPENDED = "Suspended", "Timer: there only while True: it does not fire, because `spec.suspend` is true."
    LAST_RUN_SUCCEEDED = "LastRunSucceeded", "Timer: how its last ended occurrence ended. Absent until there is one."


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class GroupReason(Explained):
    """The reasons in a TimerGroup's conditions."""

    READY = "Ready", "Registered, and served."
    PROGRESSING = "Progressing", "It is being registered, or its shards are being claimed."
    INVALID_SPEC = "InvalidSpec", "A field breaks a rule that the API server cannot check; the message names it."
    GROUP_ID_CONFLICT = (
        "GroupIdConflict",
        (
            "Another owner, which the message names, registered the group's id first. The annotation "
            "`durabletimer.dev/adopt-from` with that name takes it over."
        ),
    )
    SHARDS_MISMATCH = (
        "ShardsMismatch",
        "The store keeps the group with another count of shards. Its count is accepted a minute after its timers are gone.",
    )
    STORE_UNKNOWN = "StoreUnknown", "`spec.store` names a store that the operator is not configured with."
    STORE_UNREACHABLE = (
        "StoreUnreachable",
        "The store does not answer. Executors that reach it go on without the operator.",
    )
    STORE_REACHABLE = "StoreReachable", "The store answers."
    PURGING = "Purging", "The timers of the group, or of an earlier one with its id, are being deleted."
    NO_EXECUTORS = "NoExecutors", "No living executor in the pool that `spec.executorPool` names."
    SHARDS_UNASSIGNED = (
        "ShardsUnassigned",
        "Some shards are claimed by no executor, or not by the one they are assigned to.",
    )
    SHARDS_ASSIGNED = "ShardsAssigned", "Each shard is claimed by the executor that it is assigned to."
    SECRETS_AVAILABLE = "SecretsAvailable", "No executor misses a Secret of the group."
    SECRET_MISSING = (
        "SecretMissing",
        "Executors, which the message names, cannot read a Secret that signs callbacks: they are held, not sent unsigned.",
    )
    NO_SECRETS = "NoSecrets", "The group names no Secrets: its callbacks are not signed."
    LATENESS_WITHIN_OBJECTIVE = "WithinObjective", "Lateness is at most the objective."
    LATENESS_ABOVE_OBJECTIVE = "AboveObjective", "Lateness is above the objective; the message says by how much."
    NO_DATA = "NoData", "No executor has reported lateness lately."
    PAUSED = "Paused", "`spec.paused` is true, and nothing of the group is being sent."
    PAUSING = "Pausing", "`spec.paused` is true, and executors are about to stop."
    NOT_PAUSED = "NotPaused", "`spec.paused` is false."


class TimerReason(Explained):
    """The reasons in a Timer's conditions."""

    DECLARED = "Declared", "The store keeps the timer as the resource declares it."
    PROGRESSING = "Progressing", "The timer is being written to the store."
    INVALID_SPEC = "InvalidSpec", "A field breaks a rule that the API server cannot check; the message names it."
    PAYLOAD_TOO_LARGE = "PayloadTooLarge", "The payload is larger than 64 KiB, or than the group's `payload.maxBytes`."
    PAYLOAD_REFUSED = "PayloadRefused", "The group's `payload.schema` refuses the payload; the message says where."
    GROUP_NOT_FOUND = "GroupNotFound", "No TimerGroup of that name in the namespace yet, or it is not registered yet."
    GROUP_NOT_READY = "GroupNotReady", "The group takes no writes: it is deleted or being purged."
    STORE_UNREACHABLE = "StoreUnreachable", "The group's store does not answer."
    RUNNING = "Running", "A callback is under way; the change is written when it has ended."
    NEVER_FIRES = "NeverFires", "The schedule has no occurrence inside `startAt` and `endAt`, or none left."
    SUSPENDED = "Suspended", "`spec.suspend` is true."
    SUCCEEDED = "Succeeded", "The last occurrence was delivered."
    FAILED = "Failed", "The last occurrence failed; `status.lastError` says why."
    MISSED = "Missed", "The last occurrence could not start before its starting deadline, and was left out."


class _StatusPart(BaseModel):
    """Part of a status: camelCase outside; what a later release wrote and this one does not know is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    def to_json(self) -> dict[str, JsonValue]:
        """As it is written to Kubernetes; what is None is absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Condition(_StatusPart):
    """One aspect of a resource's state (metav1.Condition)."""

    type: str = Field(max_length=316, description="What it is about.")
    status: ConditionStatus = Field(description="Whether it holds.")
    reason: str = Field(min_length=1, max_length=1024, description="Why, as one word for programs.")
    message: str = Field(max_length=32_768, description="Why, for people.")
    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that it was found out of."
    )
    last_transition_time: ConditionTime = Field(description="Since when the status is what it is.")


class ExecutorState(StrEnum):
    """Whether an executor serves, or gives its shards away because it stops."""

    ACTIVE = "Active"
    DRAINING = "Draining"


class ExecutorStatus(_StatusPart):
    """What one executor serves of a group."""

    name: str = Field(description="The executor, by its pod's name.")
    state: ExecutorState = Field(description="Active, or Draining while it stops.")
    shards: str = Field(description="The shards that it has claimed, such as 0-3,8.")


class GroupSummary(_StatusPart):
    """Figures as of `observedTime`: at most a minute apart, and only when one left its decade. Metrics are exact."""

    shards: str = Field(description="Shards claimed, of all: 16/16.")
    shards_assigned: int = Field(ge=0, description="Shards that an executor has claimed.")
    shards_total: int = Field(ge=0, description="Shards of the group.")
    executors: int = Field(ge=0, description="Executors that have claimed shards of the group.")
    due: int = Field(ge=0, description="Timers past their time that are not delivered yet.")
    failed: int = Field(ge=0, description="Failed timers that are kept.")
    oldest_due_time: Instant | None = Field(default=None, description="When the oldest of the due timers was due.")
    observed_time: Instant = Field(description="When these figures were read.")


class TimerGroupStatus(_StatusPart):
    """What the operator knows of a TimerGroup. `executors` has one entry a name, sorted by it."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status is about."
    )
    group_id: str | None = Field(default=None, description="The group's id in REST and in the store.")
    conditions: tuple[Condition, ...] = Field(
        default=(), json_schema_extra=list_map("type"), description="The aspects of its state."
    )
    executors: tuple[ExecutorStatus, ...] = Field(
        default=(),
        json_schema_extra=list_map("name"),
        description="Which executor has claimed which shards, as the store says.",
    )
    summary: GroupSummary | None = Field(default=None, description="Figures, as of some time ago.")


class TimerStatus(_StatusPart):
    """What the operator knows of a Timer."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status is about."
    )
    declared_generation: int | None = Field(
        default=None,
        ge=0,
        description="The metadata.generation that was last written to the store; each is written once.",
    )
    timer_id: str | None = Field(default=None, description="The timer's id in REST and in the store.")
    group_id: str | None = Field(default=None, description="The id of its group in REST and in the store.")
    state: str | None = Field(default=None, description="pending, running, completed or failed.")
    next_run_time: Instant | None = Field(default=None, description="When it fires next. Absent when it does not.")
    last_run_time: Instant | None = Field(default=None, description="When its last occurrence ended.")
    last_outcome: str | None = Field(
        default=None, description="How its last occurrence ended: completed, failed, or missed its starting deadline."
    )
    last_error: str | None = Field(default=None, description="Why its last attempt did not succeed.")
    last_run_request: str | None = Field(
        default=None, description="The last value of the annotation durabletimer.dev/run-requested-at acted on."
    )
    last_redrive_request: str | None = Field(
        default=None, description="The last value of the annotation durabletimer.dev/redrive-requested-at acted on."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), json_schema_extra=list_map("type"), description="The aspects of its state."
    )
