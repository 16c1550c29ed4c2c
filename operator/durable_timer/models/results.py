"""How a store answers about each timer of a call."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from durable_timer.models.timer import Timer


class IfExists(StrEnum):
    """What a create does about a row that is there."""

    FAIL = "fail"
    KEEP = "keep"
    REPLACE = "replace"


class WhenRunning(StrEnum):
    """What a delete does about a timer that is being delivered."""

    REFUSE = "refuse"
    STOP = "stop"


class CreateStatus(StrEnum):
    """What a create did."""

    CREATED = "created"
    IDENTICAL = "identical"
    """The row carries the same fingerprint, or `if_exists=keep`; nothing was written."""
    REPLACED = "replaced"
    CONFLICT = "conflict"
    """The row carries another fingerprint, or a replace found it managed; nothing was written."""
    EXECUTING = "executing"
    """A replace found it running; nothing was written."""


@dataclass(slots=True)
class CreateResult:
    """`timer` is the row as it is after the call."""

    status: CreateStatus
    timer: Timer


class Refusal(StrEnum):
    """Why a conditional write was not applied, in the order in which the rules are asked."""

    NOT_FOUND = "not-found"
    VERSION_MISMATCH = "version-mismatch"
    MANAGED = "managed"
    EXECUTING = "executing"
    FINISHED = "finished"
    NOT_FAILED = "not-failed"


@dataclass(slots=True)
class WriteResult:
    """The answer to update, run and redrive: the row as it is now (None when gone), and why nothing was written."""

    timer: Timer | None
    refusal: Refusal | None = None


class DeleteStatus(StrEnum):
    """What a delete did."""

    DELETED = "deleted"
    STOPPING = "stopping"
    """Running: this delivery may still arrive, then the row goes."""
    REFUSED = "refused"


@dataclass(slots=True)
class DeleteResult:
    """`timer` is the row that refused, where there is one."""

    status: DeleteStatus
    refusal: Refusal | None = None
    timer: Timer | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What an `If-Match` names; version 0 or below matches no row."""

    uid: int
    version: int


@dataclass(frozen=True, slots=True)
class Target:
    """One timer of a conditional write. `request` is an annotation's value for run and redrive of managed timers."""

    timer_id: str
    if_version: Version | None = None
    request: str | None = None
