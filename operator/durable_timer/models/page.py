"""Lists of timers: what is asked for, and a page of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from durable_timer.models.timer import Timer, TimerState


class ListOrder(StrEnum):
    """The order of a list: it follows from the filter (`TimerFilter.order`)."""

    BY_ID = "id"
    BY_DUE = "due"
    BY_EXECUTED = "executed"


@dataclass(frozen=True, slots=True)
class TimerFilter:
    """A conjunction. A due range implies the state pending. `due_from` ≤ due_at < `due_before`.

    `executed_before`: only rows that became completed or failed before that instant.
    """

    states: frozenset[TimerState] = frozenset()
    due_from: datetime | None = None
    due_before: datetime | None = None
    id_prefix: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    executed_before: datetime | None = None

    @property
    def order(self) -> ListOrder:
        """By due for pending alone or a due range, by executed_at for finished states alone, else by timer_id."""
        if self.due_from is not None or self.due_before is not None or self.states == {TimerState.PENDING}:
            return ListOrder.BY_DUE
        if self.states and self.states <= {TimerState.COMPLETED, TimerState.FAILED}:
            return ListOrder.BY_EXECUTED
        return ListOrder.BY_ID


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: its last row's sort key (`at` is None by id) and id. The next page begins after it."""

    at: datetime | None
    timer_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """`end` is None on the last page."""

    timers: tuple[Timer, ...]
    end: Position | None


@dataclass(frozen=True, slots=True)
class Counts:
    """A group's rows by state; each exact up to 10,000 and an estimate when its name is in `estimated`.

    `due` counts pending timers, not suspended, whose due_at has passed; `oldest_due_at` is the earliest of them.
    """

    pending: int
    running: int
    completed: int
    failed: int
    due: int
    oldest_due_at: datetime | None
    estimated: frozenset[str] = frozenset()
