"""A timer: what a client asks for, the row that is kept, and what an executor takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from operator import attrgetter
from typing import Final


class TimerState(StrEnum):
    """Where a timer is between its creation and its end."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Suspension(IntEnum):
    """Whether a pending timer stays outside the due index. On the wire all but `NONE` are `suspend: true`."""

    NONE = 0
    SUSPENDED = 1
    RUN_ONCE = 2
    """Suspended, but asked to run once: in the due index until that occurrence ends, `SUSPENDED` after it."""


class CallbackMethod(StrEnum):
    """The HTTP method of a callback."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    GET = "GET"
    DELETE = "DELETE"


class CallbackFormat(StrEnum):
    """What a callback looks like."""

    STANDARD = "Standard"
    RAW = "Raw"
    CLOUD_EVENTS = "CloudEvents"


class Missed(StrEnum):
    """What a schedule does about an occurrence it is late for."""

    RUN = "Run"
    SKIP = "Skip"


class LastOutcome(StrEnum):
    """How the last ended occurrence ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    MISSED = "missed"
    """A schedule's occurrence that its starting deadline ended unsent."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """One key of a Secret; `namespace` is None where the Secret lies beside the group."""

    name: str
    key: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """A header of the callback: a value, or a reference that the executor resolves at send."""

    name: str
    value: str | SecretRef


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retry fields that a timer sets itself; None means the group's."""

    max_attempts: int | None = None
    max_attempts_duration: timedelta | None = None
    initial_interval: timedelta | None = None
    backoff_multiplier: float | None = None
    max_interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron schedule: five fields, evaluated in `time_zone` (IANA), inside [start_at, end_at]."""

    cron: str
    time_zone: str = "UTC"
    missed: Missed = Missed.RUN
    start_at: datetime | None = None
    end_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ManagedBy:
    """The Timer resource that declares a row, and the requests of its annotations already acted on.

    `execute_at` is the one that generation declared (None for a schedule): the row's own moves on with a redrive or an
    answered `nextExecuteAt`, so only this tells whether a later generation changes it.
    """

    uid: str
    generation: int
    run_request: str | None = None
    redrive_request: str | None = None
    execute_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class NewTimer:
    """A create, validated. Exactly one of `execute_at` and `delay` is set.

    A scheduled timer carries its first occurrence as `execute_at` (its creator works it out from the store's time).
    `shard` is `planning.sharding.shard_of(timer_id, group.shards)`. None of the optional callback fields means the
    group's. `starting_deadline` is the effective one (`planning.schedule.effective_starting_deadline`). `fingerprint` is
    of the request (`planning.fingerprint`).
    """

    group_id: str
    timer_id: str
    shard: int
    callback_url: str
    fingerprint: bytes
    execute_at: datetime | None = None
    delay: timedelta | None = None
    callback_method: CallbackMethod | None = None
    callback_format: CallbackFormat | None = None
    content_type: str | None = None
    payload: bytes | None = None
    headers: tuple[Header, ...] = ()
    labels: dict[str, str] | None = None
    retry_policy: RetryPolicy | None = None
    callback_timeout: timedelta | None = None
    schedule: Schedule | None = None
    starting_deadline: timedelta | None = None
    suspended: bool = False
    managed_by: ManagedBy | None = None
    traceparent: str | None = None


_special_fields: Final = attrgetter(
    "content_type", "suspended", "callback_method", "callback_format", "headers", "labels", "retry_policy",
    "callback_timeout", "schedule", "starting_deadline", "managed_by", "traceparent",
)  # fmt: skip
_NOTHING_SPECIAL: Final = (None, False, None, None, (), *(None,) * 7)


def is_plain(new: NewTimer) -> bool:
    """Whether a create sets no more than its id, its time, its URL and a JSON payload. Most do not."""
    return bool(_special_fields(new) == _NOTHING_SPECIAL)


@dataclass(slots=True, kw_only=True)
class Timer:
    """A timer's row. `semantics.md` says what each field means and who may write it.

    `content_type` None with a payload means that the payload is JSON text as received. `callback_*` None means the
    group's. `execute_at` is when this occurrence was promised, `due_at` when it is to be tried next.
    """

    group_id: str
    timer_id: str
    shard: int
    uid: int
    version: int
    state: TimerState
    execute_at: datetime
    due_at: datetime
    occurrence: int
    attempt: int
    callback_url: str
    fingerprint: bytes
    created_at: datetime
    updated_at: datetime
    first_attempt_at: datetime | None = None
    run: int | None = None
    taken_epoch: int | None = None
    taken_at: datetime | None = None
    cancel_requested: bool = False
    suspended: Suspension = Suspension.NONE
    callback_method: CallbackMethod | None = None
    callback_format: CallbackFormat | None = None
    content_type: str | None = None
    payload: bytes | None = None
    headers: tuple[Header, ...] = ()
    labels: dict[str, str] | None = None
    retry_policy: RetryPolicy | None = None
    callback_timeout: timedelta | None = None
    schedule: Schedule | None = None
    starting_deadline: timedelta | None = None
    managed_by: ManagedBy | None = None
    traceparent: str | None = None
    last_error: str | None = None
    last_status: int | None = None
    last_run_at: datetime | None = None
    last_outcome: LastOutcome | None = None
    executed_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class TakenTimer:
    """What an executor needs of a timer it has taken; the row is running under `run` from the take's commit on.

    `remaining` is in seconds by the store's clock at the take, negative for a timer that is late. `attempt` counts the
    attempts already made. `first_attempt_age` is how long ago the occurrence was first taken (None when it never had
    an outcome), in seconds. `deadline_exceeded`: this is the first take of its occurrence, and later than
    `starting_deadline` after `execute_at`.
    """

    group_id: str
    timer_id: str
    shard: int
    run: int
    uid: int
    occurrence: int
    attempt: int
    execute_at: datetime
    due_at: datetime
    remaining: float
    callback_url: str
    first_attempt_age: float | None = None
    deadline_exceeded: bool = False
    fault: str | None = None
    """Why this release cannot read the row (another one wrote it); what follows is then left out."""
    callback_method: CallbackMethod | None = None
    callback_format: CallbackFormat | None = None
    content_type: str | None = None
    payload: bytes | None = None
    headers: tuple[Header, ...] = ()
    labels: dict[str, str] | None = None
    retry_policy: RetryPolicy | None = None
    callback_timeout: timedelta | None = None
    schedule: Schedule | None = None
    traceparent: str | None = None


class Unset(Enum):
    """The absence of a field in a change, as None is a value there."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


@dataclass(slots=True, kw_only=True)
class TimerChange:
    """A PUT or PATCH: what is UNSET keeps, None restores the default.

    At most one of `execute_at` (not None) and `delay` is set. `content_type` and `payload` are set together.
    """

    execute_at: datetime | Unset = UNSET
    delay: timedelta | Unset = UNSET
    schedule: Schedule | Unset | None = UNSET
    callback_url: str | Unset = UNSET
    callback_method: CallbackMethod | Unset | None = UNSET
    callback_format: CallbackFormat | Unset | None = UNSET
    content_type: str | Unset | None = UNSET
    payload: bytes | Unset | None = UNSET
    headers: tuple[Header, ...] | Unset = UNSET
    labels: dict[str, str] | Unset | None = UNSET
    retry_policy: RetryPolicy | Unset | None = UNSET
    callback_timeout: timedelta | Unset | None = UNSET
    starting_deadline: timedelta | Unset | None = UNSET
    suspended: bool | Unset = UNSET
    declared: tuple[bytes, ManagedBy | None] | Unset = UNSET
    """Only from an operator: the fingerprint and generation of what it declares, written with the change. With None the
    row becomes an ordinary one; where that is all of the change, while it is running, too."""


def etag(uid: int, version: int) -> str:
    """The strong entity tag of a row: `"uid.version"` with the uid as 16 hex digits, quotes included."""
    return f'"{uid & 0xFFFF_FFFF_FFFF_FFFF:016x}.{version}"'


def webhook_id(uid: int, occurrence: int) -> str:
    """The identity of an occurrence, the same for all its attempts (`webhook-id` of Standard Webhooks)."""
    return f"{uid & 0xFFFF_FFFF_FFFF_FFFF:016x}.{occurrence}"
