"""Time as a collaborator, so that a simulation can stand in for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A process's clocks."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back, and counts the time a machine was suspended."""
        ...

    def now(self) -> datetime:
        """The wall clock, aware, UTC. Decides nothing about when a timer fires: that is the store's clock."""
        ...


class SystemClock:
    """The machine's clocks: CLOCK_BOOTTIME where there is one (it counts suspension), else the monotonic clock."""

    def __init__(self) -> None:
        self._source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def monotonic(self) -> float:
        return time.clock_gettime(self._source)

    def now(self) -> datetime:
        return datetime.now(UTC)
