"""Which resources are to be reconciled, when: level-triggered, each key at most once at a time.

A key that is added while it waits is still one; while it runs, it runs once more afterwards. TimerGroups come before
Timers, so that ten thousand Timers do not hold up the group that they wait for.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import KubeConflict, KubeError, StoreError
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.resource import ResourceKey, ResourceKind

Work = Callable[[ResourceKey], Awaitable[timedelta | None]]
"""Reconciles one key; answers after how long at the latest it wants to be called again."""

BACKOFF_MIN: Final = 0.5
"""Seconds before the first retry of a key whose reconcile failed; each further one doubles them."""

BACKOFF_MAX: Final = 30.0
"""Longest pause between retries of a key."""

CONFLICT_PAUSE: Final = 0.05
"""Seconds before a retry where somebody else wrote the resource: by then the watch has usually brought its new version."""

HEARTBEAT: Final = 5.0
"""Longest sleep of the loop, so that one which turns can be told from one that is stuck."""

log = structlog.get_logger(__name__)


class WorkQueue:
    """Runs `work` for keys, at most `concurrency` at once; `run` is its one loop."""

    def __init__(
        self, work: Work, clock: Clock, rng: random.Random, metrics: OperatorMetrics, concurrency: int
    ) -> None:
        self._work = work
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._concurrency = concurrency
        self._ready: dict[ResourceKind, deque[ResourceKey]] = {kind: deque() for kind in ResourceKind}
        self._since: dict[ResourceKey, float] = {}
        self._heap: list[tuple[float, int, ResourceKey]] = []
        self._due: dict[ResourceKey, float] = {}
        self._running: dict[ResourceKey, asyncio.Task[None]] = {}
        self._again: set[ResourceKey] = set()
        self._failures: dict[ResourceKey, int] = {}
        self._done: dict[ResourceKey, asyncio.Event] = {}
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self.turned_at = clock.monotonic()

    def add(self, key: ResourceKey) -> None:
        """Wants the key reconciled now."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = self._clock.monotonic()
            self._ready[key.kind].append(key)
            self._changed.set()

    def add_after(self, key: ResourceKey, seconds: float) -> None:
        """Wants the key reconciled that much later at the latest."""
        due = self._clock.monotonic() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._changed.set()

    def forget(self, key: ResourceKey) -> None:
        """Wants no later reconcile of a key that is gone; one that waits or runs now goes on."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def reconciled(self, key: ResourceKey) -> None:
        """Adds the key, and waits until a reconcile that began after that has ended, well or not."""
        running = key in self._running
        self.add(key)
        if running:
            await self._ended(key)
        await self._ended(key)

    def depth(self) -> int:
        """How many keys wait for their turn."""
        return len(self._since)

    def oldest_age(self) -> float:
        """For how many seconds the key that waits longest has waited."""
        return self._clock.monotonic() - min(self._since.values()) if self._since else 0.0

    async def run(self) -> None:
        """Works until cancelled; then waits for nothing that is under way, but cancels it."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self.turned_at = self._clock.monotonic()
                    self._changed.clear()
                    wait = self._promote()
                    while len(self._running) < self._concurrency and (key := self._next()) is not None:
                        self._running[key] = group.create_task(self._reconcile(key), name=f"reconcile {key}")
                    try:
                        async with asyncio.timeout(wait):
                            await self._changed.wait()
                    except TimeoutError:
                        continue
        finally:
            self._running.clear()

    def _ended(self, key: ResourceKey) -> Awaitable[bool]:
        return self._done.setdefault(key, asyncio.Event()).wait()

    def _promote(self) -> float:
        """Moves what is due to the ready; seconds until the next is, at most a heartbeat."""
        now = self._clock.monotonic()
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
            elif due <= now:
                heapq.heappop(self._heap)
                del self._due[key]
                self.add(key)
            else:
                return min(due - now, HEARTBEAT)
        return HEARTBEAT

    def _next(self) -> ResourceKey | None:
        for kind in (ResourceKind.TIMER_GROUP, ResourceKind.TIMER):
            if self._ready[kind]:
                key = self._ready[kind].popleft()
                del self._since[key]
                return key
        return None

    async def _reconcile(self, key: ResourceKey) -> None:
        began = self._clock.monotonic()
        outcome = "done"
        self._due.pop(key, None)
        try:
            again = await self._work(key)
        except KubeConflict:
            outcome = "conflict"
            self.add_after(key, CONFLICT_PAUSE)
        except (KubeError, StoreError, TimeoutError) as error:
            outcome = "failed"
            self.add_after(key, self._pause(key))
            log.warning("cannot reconcile, trying again", resource=str(key), error=str(error) or "timeout")
        except Exception:
            outcome = "fault"
            self.add_after(key, self._pause(key))
            log.exception("a reconcile failed by a fault of the program", resource=str(key))
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, again.total_seconds())
        finally:
            self._ends(key)
        self._metrics.reconciled(key.kind.value, outcome, self._clock.monotonic() - began)

    def _ends(self, key: ResourceKey) -> None:
        self._running.pop(key, None)
        if (done := self._done.pop(key, None)) is not None:
            done.set()
        if key in self._again:
            self._again.remove(key)
            self.add(key)
        self._changed.set()

    def _pause(self, key: ResourceKey) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return min(BACKOFF_MAX, BACKOFF_MIN * 2.0 ** (failures - 1)) * self._rng.uniform(0.5, 1.0)
