"""What a client was promised, and what a receiver saw: the two accounts that `checks` holds against each other.

Neither knows where the processes run. All times are seconds since 1970 by this machine's clock, which the database
shares; those at which timers are due are whole microseconds, so that they can be compared for equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

SUCCESS: Final = range(200, 300)
MINUTE: Final = 60.0
"""Seconds between the times of a schedule."""


class Kind(StrEnum):
    """What a timer is there for; its id begins with it (`batch-17`)."""

    SINGLE = "single"
    BATCH = "batch"
    RETRY = "retry"
    """Its first one or two callbacks are answered 503."""
    SLOW = "slow"
    """Its target takes long to answer."""
    CANCEL = "cancel"
    """Cancelled before, or very near, its time."""
    REPLACE = "replace"
    """Given another time before, or very near, its time."""
    CHAIN = "chain"
    """Each callback's answer names the next time, until the receiver ends it."""
    SCHEDULE = "schedule"
    """Fires at each full minute."""


class Result(StrEnum):
    """What became of a change that was asked for."""

    DONE = "done"
    REFUSED = "refused"
    """The service said that the timer is being delivered, or has been: the old time stands."""
    UNKNOWN = "unknown"
    """No answer came at least once, and what came later does not tell what happened."""


@dataclass(frozen=True, slots=True)
class Change:
    """A cancel (`due` is None) or another time, and when its answer was there."""

    due: float | None
    result: Result
    answered: float


@dataclass(slots=True)
class Entry:
    """One timer. Without `acknowledged` no create was ever answered: it may be there or not."""

    id: str
    kind: Kind
    due: float
    acknowledged: float | None = None
    change: Change | None = None


@dataclass(slots=True)
class Ledger:
    """All timers by id, and answers that a client of this service must never get."""

    entries: dict[str, Entry] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def open(self, kind: Kind, number: int, due: float) -> Entry:
        """Notes a timer that is about to be asked for."""
        entry = Entry(f"{kind}-{number}", kind, due)
        self.entries[entry.id] = entry
        return entry


@dataclass(frozen=True, slots=True)
class Callback:
    """One request at the receiver. `occurrence` is its `webhook-id`; `status` what it was answered."""

    at: float
    id: str
    occurrence: str
    due: float
    attempt: int
    status: int
    asked: float | None = None
    """The next time that the answer named."""

    @property
    def last(self) -> bool:
        """Whether the answer named no other time."""
        return self.asked is None

    @property
    def succeeded(self) -> bool:
        """Whether it was answered 2xx."""
        return self.status in SUCCESS


def seconds(text: str) -> float:
    """An RFC 3339 time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def text(at: float) -> str:
    """Seconds since 1970, whole microseconds, as an RFC 3339 time."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
