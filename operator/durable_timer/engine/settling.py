"""The settle loops: gather outcomes for a few milliseconds and write them together, for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.holdings import Holdings, Job
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.waiting import Backoff, wait_event
from durable_timer.errors import SchemaVersionError, StoreUnavailable
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.ownership import ShardKey
from durable_timer.stores.base import Store

BATCH: Final = 500
"""Outcomes of one call."""

GATHER: Final = 0.015
"""Seconds that a small batch waits for more."""

ENOUGH: Final = 200
"""Outcomes with which a batch does not wait."""

INTERNAL_ERROR: Final = "INTERNAL_ERROR"
"""`lastError` of a timer that a fault of this program held up."""

UNWRITTEN_RETRY: Final = timedelta(seconds=60)
"""Deferral of a timer whose outcome the store refuses."""

LOOPS: Final = 2
"""Calls under way at once."""

IDLE: Final = 1.0
"""Seconds after which a loop without work shows that it turns."""

log = structlog.get_logger(__name__)


class Settler:
    """Writes outcomes; a job keeps its place until its outcome is in the store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        settings: EngineSettings,
        holdings: Holdings,
        look_within: Callable[[ShardKey, float, bool], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._holdings = holdings
        self._look_within = look_within
        self._waiting: deque[tuple[Job, Outcome]] = deque()
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self.turned_at = clock.monotonic()

    def put(self, job: Job, outcome: Outcome) -> None:
        self._waiting.append((job, outcome))
        self._arrived.set()

    def defer(self, job: Job, outcome: Outcome) -> None:
        """Settles a job that is not sent, so that its token goes back too."""
        job.dropped = True
        job.group.gave_back(1)
        self.put(job, outcome)

    async def give_back(self, jobs: Sequence[Job]) -> None:
        """Settles unsent jobs as deferred by nothing and waits until that is in the store."""
        for job in jobs:
            self.defer(job, deferred(job))
        left = set(jobs)
        while left := {job for job in left if self._holdings.holds(job)}:
            self._settled.clear()
            await self._settled.wait()

    async def run(self) -> None:
        """Settles until cancelled; what a call could not write is tried again until it is written."""
        backoff = Backoff(self._rng)
        while True:
            self.turned_at = self._clock.monotonic()
            if not await wait_event(self._arrived, IDLE):
                continue
            if len(self._waiting) < ENOUGH:
                await asyncio.sleep(GATHER)
            batch = self._next_batch()
            while batch and not await self._write(batch):
                self.turned_at = self._clock.monotonic()
                await asyncio.sleep(backoff.pause())
            backoff.reset()

    def _next_batch(self) -> list[tuple[Job, Outcome]]:
        if len(self._waiting) <= BATCH:
            batch = list(self._waiting)
            self._waiting.clear()
            self._arrived.clear()
            return batch
        return [self._waiting.popleft() for _ in range(BATCH)]

    async def _write(self, batch: list[tuple[Job, Outcome]]) -> bool:
        try:
            async with asyncio.timeout(self._settings.call_timeout):
                applied = await self._store.settle([outcome for _, outcome in batch])
        except (StoreUnavailable, SchemaVersionError, TimeoutError) as error:
            log.warning("outcomes wait for the store", outcomes=len(batch), error=str(error) or "timeout")
            return False
        except Exception as error:  # an outcome that the store cannot take must not keep the others from it
            log.exception("outcomes were refused", outcomes=len(batch), first=batch[0][1].timer_id, error=str(error))
            return await self._write_apart(batch)
        for (job, outcome), done in zip(batch, applied, strict=True):
            self._holdings.remove(job)
            if done and outcome.kind is not OutcomeKind.COMPLETED:
                self._again(job, outcome)
        self._settled.set()
        return True

    async def _write_apart(self, batch: list[tuple[Job, Outcome]]) -> bool:
        """Writes each outcome of a refused batch alone; one that is refused again is put off instead.

        What cannot even be put off is left to the sweep.
        """
        if len(batch) > 1:
            return all([await self._write([item]) for item in batch])
        job, outcome = batch[0]
        if outcome.kind is not OutcomeKind.DEFERRED:
            return await self._write([(job, deferred(job, UNWRITTEN_RETRY, INTERNAL_ERROR))])
        self._holdings.remove(job)
        self._settled.set()
        return True

    def _again(self, job: Job, outcome: Outcome) -> None:
        """Tells the take loop when the row is due again."""
        if outcome.kind is OutcomeKind.NEXT and outcome.at is not None:
            since_due = self._clock.monotonic() - job.send_at
            self._look_within(job.key, (outcome.at - job.timer.due_at).total_seconds() - since_due, False)
        elif outcome.kind in (OutcomeKind.RETRY, OutcomeKind.DEFERRED):
            self._look_within(job.key, outcome.delay.total_seconds(), not outcome.delay)


def deferred(job: Job, delay: timedelta = timedelta(0), error: str | None = None) -> Outcome:
    """The outcome of a timer that is not sent: pending again after `delay` (zero: where it was), no attempt counted."""
    timer = job.timer
    return Outcome(
        group_id=timer.group_id,
        timer_id=timer.timer_id,
        run=timer.run,
        kind=OutcomeKind.DEFERRED,
        delay=delay,
        last_error=error,
    )
