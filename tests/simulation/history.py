"""What happened in a simulation, as the checks read it and as a trace that people read."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from durable_timer.models.outcome import Outcome
from durable_timer.models.timer import TakenTimer, Timer
from tests.simulation.clocks import StoreClock
from tests.simulation.loop import VirtualLoop


class Reply(StrEnum):
    """What a target did about a callback."""

    DONE = "done"
    AGAIN = "again"
    FAILED = "failed"
    """An answer or an error after which the policy decides."""
    REFUSED = "refused"
    """An answer that ends the timer as failed."""
    TIMEOUT = "timeout"
    NONE = "none"
    """Nothing reached the sender: it died, or gave the request up."""


@dataclass(slots=True)
class Take:
    """A timer taken: the commit, not the answer. `offset` is the store's clock's. `settled` and `recovered` are when the run ended, in order."""

    at: float
    process: str
    incarnation: str
    timer: TakenTimer
    order: int
    offset: timedelta
    settled: int | None = None
    recovered: int | None = None


@dataclass(slots=True)
class Send:
    """A callback whose bytes left."""

    at: float
    order: int
    process: str
    group_id: str
    timer_id: str
    uid: int
    occurrence: int
    attempt: int
    execute_at: datetime
    host: str
    timeout: float
    take: Take | None
    ended: float | None = None
    answer: Reply = Reply.NONE
    next_at: datetime | None = None


@dataclass(slots=True)
class Settle:
    at: float
    order: int
    store_now: datetime
    process: str
    outcome: Outcome
    applied: bool
    take: Take | None


@dataclass(slots=True)
class Write:
    """A client's committed write. `row` is the row after it (before it, where it is gone)."""

    at: float
    order: int
    op: str
    row: Timer
    asked: Any = None


@dataclass(slots=True)
class Fault:
    """A disturbance of some processes (all for None) from `start` to `end`."""

    kind: str
    process: str | None
    start: float
    end: float


@dataclass(slots=True)
class History:
    """Everything the checks need, in the order of commits (`order` is common to all records)."""

    loop: VirtualLoop
    clock: StoreClock
    takes: list[Take] = field(default_factory=list)
    by_run: dict[tuple[str, str, int], Take] = field(default_factory=dict)
    last_take: dict[tuple[str, int], Take] = field(default_factory=dict)
    sends: list[Send] = field(default_factory=list)
    settles: list[Settle] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    deaths: dict[str, int] = field(default_factory=dict)
    """By incarnation, when in the order it was declared dead."""
    incarnations: dict[str, str] = field(default_factory=dict)
    """Incarnation → process."""
    closed_groups: dict[str, list[list[float]]] = field(default_factory=dict)
    """By group, the stretches in which it was paused or deleted, as [start, end]."""
    handovers: dict[tuple[str, int], list[list[float]]] = field(default_factory=dict)
    """By shard, the stretches between its release and the next claim, as [start, end]."""
    violations: list[str] = field(default_factory=list)
    lines: list[tuple[float, str, str]] = field(default_factory=list)
    _orders: int = 0

    def order(self) -> int:
        self._orders += 1
        return self._orders

    def line(self, who: str, text: str) -> None:
        """Adds a line to the trace."""
        self.lines.append((self.loop.time(), who, text))

    def digest(self) -> str:
        """The hash of the trace: equal for equal runs."""
        whole = hashlib.blake2b(digest_size=16)
        for at, who, text in self.lines:
            whole.update(f"{at:.6f} {who} {text}\n".encode())
        whole.update(f"{self.loop.handled} {self.loop.time():.6f}".encode())
        return whole.hexdigest()

    def text(self, needle: str = "") -> str:
        """The whole trace, or its lines with `needle` in them."""
        return "\n".join(f"{at:10.6f} {who:<6} {text}" for at, who, text in self.lines if needle in text)

    def excerpt(self, needle: str, limit: int = 60) -> str:
        """The trace's lines that speak of `needle`, and the last ones before each that tell of processes."""
        picked: dict[int, None] = {}
        for number, (_, _, text) in enumerate(self.lines):
            if needle in text:
                told = [before for before in range(max(0, number - 200), number) if self.lines[before][2][0] == "*"]
                picked |= dict.fromkeys((*told[-6:], number))
        lines = [self.lines[number] for number in sorted(picked)][-limit:]
        return "\n".join(f"{at:10.6f} {who:<6} {text}" for at, who, text in lines)
