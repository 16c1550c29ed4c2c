"""What became of a take: what an executor settles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from durable_timer.models.timer import LastOutcome


class OutcomeKind(StrEnum):
    """What a settlement does to its timer; `Outcome` says how."""

    COMPLETED = "completed"
    FAILED = "failed"
    RETRY = "retry"
    DEFERRED = "deferred"
    NEXT = "next"


@dataclass(slots=True)
class Outcome:
    """One settlement, applied only where the row is running under `run`.

    COMPLETED, FAILED: the timer is over; the row goes when `forget` (retention 0s) and it is not managed.
    RETRY: pending again, due `delay` from the store's now. Writes `attempt` and, where unset, `first_attempt_at`: the
    store's now less `began`, which is how long ago this attempt was sent.
    DEFERRED: pending again, due `delay` from the store's now, or where it was when `delay` is zero; the attempt is not
    counted, `last_error` only written when given.
    NEXT: a new occurrence at `at` (an instant; due no earlier than the store's now), attempt 0; `last_outcome` says
    how the ended one ended.
    `attempt` is the number of attempts made, this one included, for all but DEFERRED.
    """

    group_id: str
    timer_id: str
    run: int
    kind: OutcomeKind
    attempt: int = 0
    began: timedelta = timedelta(0)
    delay: timedelta = timedelta(0)
    at: datetime | None = None
    last_outcome: LastOutcome | None = None
    last_error: str | None = None
    last_status: int | None = None
    forget: bool = False
