"""What this process holds: timers taken and not settled yet, counted per process, group, shard and run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from durable_timer.models.ownership import ShardKey

if TYPE_CHECKING:
    from durable_timer.engine.groups import GroupRuntime
    from durable_timer.models.timer import TakenTimer


LATELY: Final = 1.0
"""Seconds for which another group counts as served after its last take."""


class Job:
    """A taken timer on its way to its settlement.

    Times are the process's monotonic seconds; `received_at` is when the store had reached its now of the take.
    `begun`: its request may have left. `dropped`: it is not sent any more. `held`: it waited for a slow target.
    """

    __slots__ = (
        "begun",
        "dropped",
        "group",
        "held",
        "key",
        "ready_at",
        "received_at",
        "send_at",
        "target",
        "timer",
    )

    def __init__(self, timer: TakenTimer, group: GroupRuntime, key: ShardKey, received_at: float) -> None:
        self.timer = timer
        self.group = group
        self.key = key
        self.received_at = received_at
        self.send_at = received_at + timer.remaining
        self.ready_at = received_at
        self.target = ""
        self.begun = False
        self.dropped = False
        self.held = False


class Holdings:
    """The places: a job holds one from its take until it is settled or forgotten."""

    def __init__(self, places: int, on_free: Callable[[GroupRuntime], None]) -> None:
        self.places = places
        self.count = 0
        self.crowded = False
        """Whether this process serves several groups, so that none may take all that is free."""
        self._groups = 0
        self._latest: GroupRuntime | None = None
        self._changed_at = float("-inf")
        self._on_free = on_free
        self._empty = asyncio.Event()
        self._empty.set()
        self._by_shard: dict[ShardKey, dict[Job, None]] = {}
        self._runs: dict[int, int] = {}

    @property
    def free(self) -> int:
        return self.places - self.count

    async def empty(self) -> None:
        """Waits until nothing is held."""
        await self._empty.wait()

    def several(self, now: float) -> bool:
        """Whether timers of several groups are held, or were lately, so that none should notice another's backlog."""
        return self._groups > 1 or now - self._changed_at < LATELY

    def runs(self) -> list[int]:
        """Runs that a sweep has to spare: takes under way, and those with timers still here."""
        return list(self._runs)

    def run_begins(self, run: int) -> None:
        self._runs[run] = 1

    def run_answered(self, run: int) -> None:
        """The take under `run` is over, its answer dealt with or given up."""
        self._run_less(run)

    def add(self, job: Job) -> None:
        self.count += 1
        self._empty.clear()
        self._groups += not job.group.held
        if job.group is not self._latest:
            if self._latest is not None:
                self._changed_at = job.received_at
            self._latest = job.group
        job.group.held += 1
        self._runs[job.timer.run] += 1
        self._by_shard.setdefault(job.key, {})[job] = None

    def remove(self, job: Job) -> None:
        """Frees the job's place. A second call does nothing."""
        jobs = self._by_shard.get(job.key)
        if jobs is None or job not in jobs:
            return
        del jobs[job]
        if not jobs:
            del self._by_shard[job.key]
        self.count -= 1
        if not self.count:
            self._empty.set()
        job.group.held -= 1
        self._groups -= not job.group.held
        self._run_less(job.timer.run)
        self._on_free(job.group)

    def holds(self, job: Job) -> bool:
        return job in self._by_shard.get(job.key, ())

    def of_shard(self, key: ShardKey) -> list[Job]:
        return list(self._by_shard.get(key, ()))

    def _run_less(self, run: int) -> None:
        left = self._runs[run] - 1
        if left:
            self._runs[run] = left
        else:
            del self._runs[run]
