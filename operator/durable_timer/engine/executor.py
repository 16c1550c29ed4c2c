"""An executor: take loop → bounded queues → delivery slots → settle loops, under one supervisor.

    store ──take──▶ TakeLoop ──job──▶ Delivering ──request──▶ target
      ▲                                   │
      └──────────settle── Settler ◀──outcome

Membership beats and judges who lives, Ownership claims and hands over shards, Upkeep does the rest. `docs/architecture.md`
walks one timer through them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Coroutine
from datetime import datetime
from typing import Final

import structlog

from durable_timer import __version__
from durable_timer.clock import Clock
from durable_timer.engine.agenda import Agenda
from durable_timer.engine.delivering import Delivering
from durable_timer.engine.delivery import Deliverer, Secrets, Tracer
from durable_timer.engine.groups import GroupBook, GroupRuntime
from durable_timer.engine.holdings import Job
from durable_timer.engine.membership import Membership
from durable_timer.engine.ownership import Ownership
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.settling import LOOPS, Settler
from durable_timer.engine.sweeping import Sweeper
from durable_timer.engine.taking import TakeLoop
from durable_timer.engine.upkeep import Upkeep
from durable_timer.metrics import Metrics
from durable_timer.models.ownership import MemberReport
from durable_timer.stores.base import Store

TURN_LIMIT: Final = 10.0
"""Seconds after which a loop that has not turned counts as stuck."""

EMPTIED_LIMIT: Final = 30.0
"""Longest seconds that a stopping executor tries to hand its claims over; after it, others find out by its silence."""

log = structlog.get_logger(__name__)


class Executor:
    """One member of a pool. `run` once; `stop` asks it to hand over and end."""

    def __init__(
        self,
        *,
        store: Store,
        deliverer: Deliverer,
        secrets: Secrets,
        clock: Clock,
        rng: random.Random,
        settings: EngineSettings,
        metrics: Metrics,
        tracer: Tracer,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._stopping = asyncio.Event()
        self._agenda = Agenda()
        self._book = GroupBook(store, secrets, self._group_changed)
        self._membership = Membership(store, clock, rng, settings, self._report, self._news)
        self._taking = TakeLoop(
            store,
            clock,
            rng,
            settings,
            self._membership,
            self._steady,
            self._agenda,
            metrics,
            self._accept,
        )
        self._holdings = self._taking.holdings
        self._settler = Settler(store, clock, rng, settings, self._holdings, self._taking.look_within)
        self._delivering = Delivering(
            clock,
            rng,
            settings,
            self._membership,
            self._steady,
            self._holdings,
            deliverer,
            secrets,
            self._settler,
            tracer,
            metrics,
        )
        self._sweeper = Sweeper(
            store, clock, settings, self._membership, self._agenda, self._holdings, self._taking, metrics
        )
        self._ownership = Ownership(
            store, clock, rng, settings, self._membership, self._book, self._agenda, self._holdings, self._taking,
            self._settler, self._sweeper, metrics,
        )  # fmt: skip
        self._upkeep = Upkeep(store, clock, settings, self._book, self._agenda, self._taking, self._ownership, metrics)
        metrics.observe_loops(self._loop_ages)

    async def run(self) -> None:
        """Works until `stop`; then hands its shards over, finishes the requests that have begun, and leaves.

        A fault in any of its loops ends all of them and is raised (as an ExceptionGroup).
        """
        unlisten = self._store.listen(self._woken)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(loop, name=name) for name, loop in self._loops().items()]
                await self._stopping.wait()
                await self._hand_over()
                for task in tasks:
                    task.cancel()
            await self._membership.leave()
        finally:
            unlisten()

    def stop(self) -> None:
        """Asks for a graceful end: `run` returns when what has begun is settled, at most `drain_timeout` later."""
        self._stopping.set()

    def healthy(self) -> bool:
        """Whether all loops turn."""
        return all(age < TURN_LIMIT for age in self._loop_ages().values())

    def ready(self) -> bool:
        """Whether this member's last beat was answered lately."""
        return self._membership.trusted() and not self._stopping.is_set()

    def _loop_ages(self) -> dict[str, float]:
        """Seconds since each loop turned."""
        now = self._clock.monotonic()
        turned_at = {
            "membership": self._membership.turned_at,
            "ownership": self._ownership.turned_at,
            "take": self._taking.turned_at,
            "settle": self._settler.turned_at,
            "delivery": self._delivering.turned_at,
            "groups": self._upkeep.turned_at,
        }
        return {name: now - at for name, at in turned_at.items()}

    def _loops(self) -> dict[str, Coroutine[None, None, None]]:
        loops = {
            "membership": self._membership.run(),
            "ownership": self._ownership.run(),
            "sweep": self._sweeper.run(),
            "take": self._taking.run(),
            "delivery": self._delivering.run(),
            "groups": self._upkeep.read_groups(),
            "keys": self._upkeep.read_keys(),
            "give-back": self._upkeep.give_back_forever(),
            "purge": self._upkeep.purge_forever(),
            "backlog": self._upkeep.count_forever(),
        }
        return loops | {f"settle-{number}": self._settler.run() for number in range(LOOPS)}

    async def _hand_over(self) -> None:
        log.info("stopping: handing shards over", held=self._holdings.count)
        self._membership.draining = True
        self._membership.nudge()
        try:
            async with asyncio.timeout(EMPTIED_LIMIT if self._agenda.all() else 0):
                await self._ownership.emptied()
        except TimeoutError:
            if left := len(self._agenda.all()):
                log.warning("could not hand over; others take the shards when this member is gone", shards=left)
        try:
            async with asyncio.timeout(self._settings.drain_timeout):
                await self._holdings.empty()
        except TimeoutError:
            log.warning("requests still under way at the end", held=self._holdings.count)

    def _woken(self, group_id: str, shards: Collection[int]) -> None:
        if not self._taking.woken(group_id, shards):
            self._membership.nudge()

    def _steady(self) -> bool:
        """Whether timers may be taken and sent: nobody can have taken over, and no pause or deletion was missed."""
        return self._membership.trusted() and self._book.fresh(self._clock.monotonic())

    def _accept(self, job: Job, store_now: datetime) -> None:
        self._delivering.accept(job, store_now)

    def _group_changed(self, group: GroupRuntime) -> None:
        self._upkeep.group_changed(group)
        self._ownership.reconsider()

    def _report(self) -> MemberReport:
        now = self._clock.monotonic()
        late = {g.group_id: p99 for g in self._book.groups.values() if (p99 := g.lateness.p99(now)) is not None}
        return MemberReport(__version__, self._book.unreadable_secrets(), late, self._book.read_to)

    def _news(self) -> tuple[object, ...]:
        return (self._book.read_to, self._book.unreadable_secrets())
