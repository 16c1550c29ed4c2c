"""This process as a member: it joins, beats, watches the others' beats, declares the silent ones dead, and leaves.

Trust: until `trust` seconds after the sending of the last answered beat nobody can have taken this member's shards,
since a death is declared at the earliest `dead_after` after somebody saw that beat (`docs/semantics.md`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.waiting import Backoff, wait_event
from durable_timer.errors import StoreError
from durable_timer.models.ownership import Member, MemberReport
from durable_timer.planning.beats import BeatWatch
from durable_timer.stores.base import Store

READ_GAP: Final = 2
"""Beat intervals without a read of the members after which every count of silence starts anew: an outage kills nobody."""

NUDGE_SPACING: Final = 0.1
"""Least seconds between beats that something asked for."""

log = structlog.get_logger(__name__)


class Membership:
    """Beats for one process, under a new incarnation after each refusal."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        settings: EngineSettings,
        report: Callable[[], MemberReport],
        news: Callable[[], object],
    ) -> None:
        """`report` is what beats carry: now and then, and when what `news` answers is another than with the last one."""
        self._store = store
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._report = report
        self._news = news
        self._reported: object = None
        self._reported_at = float("-inf")
        self._counter = 0
        self._trusted_until = float("-inf")
        self._answered_at = self._steady_since = float("-inf")
        self._others = BeatWatch(settings.dead_after, READ_GAP * settings.beat_interval)
        self._beat_at = float("-inf")
        self._nudged = asyncio.Event()
        self._decided = asyncio.Event()
        self.answered = asyncio.Event()
        """Set at each answered beat; the one who follows clears it."""
        self.incarnation = ""
        self.members: tuple[Member, ...] = ()
        self.shards_token = ""
        self.draining = False
        self.on_refused: Callable[[], None] = lambda: None
        """Called, before anything else happens, when this member turns out to be dead."""
        self.turned_at = clock.monotonic()

    def trusted(self) -> bool:
        return self._clock.monotonic() < self._trusted_until

    def steady(self) -> float:
        """For how many seconds the store has answered beats, never `dead_after` apart; 0 while it does not."""
        now = self._clock.monotonic()
        return now - self._steady_since if now - self._answered_at < self._settings.dead_after else 0.0

    async def decided(self) -> None:
        """Waits for the next beat that is answered or refused."""
        self._decided.clear()
        await self._decided.wait()

    def nudge(self) -> None:
        """Asks for a beat soon, to see what others wrote."""
        self._nudged.set()

    async def run(self) -> None:
        """Joins and beats until cancelled."""
        await self._join()
        while True:
            self._nudged.clear()
            await self._beat()
            self.turned_at = self._clock.monotonic()
            await self._watch()

    async def leave(self) -> None:
        """Removes the member's row; a store that is away finds out by the silence."""
        try:
            async with asyncio.timeout(self._settings.beat_timeout):
                await self._store.leave(self.incarnation)
        except (StoreError, TimeoutError) as error:
            log.warning("leaving without telling the store", error=str(error))

    async def _join(self) -> None:
        self.incarnation = f"{self._rng.getrandbits(64):016x}"
        self._counter = 0
        self._others.restart()
        backoff = Backoff(self._rng)
        settings = self._settings
        while True:
            member = Member(
                incarnation=self.incarnation,
                name=settings.name,
                pool=settings.pool,
                host=settings.host,
                beat=0,
                draining=self.draining,
                dead=False,
                report=self._report(),
            )
            try:
                async with asyncio.timeout(settings.statement_timeout):
                    await self._store.join(member)
            except (StoreError, TimeoutError) as error:
                log.warning("cannot join, trying again", error=str(error))
                self.turned_at = self._clock.monotonic()
                await asyncio.sleep(backoff.pause())
                continue
            log.info("joined", member=settings.name, incarnation=self.incarnation, pool=settings.pool)
            return

    async def _beat(self) -> None:
        self._counter += 1
        self._beat_at = sent = self._clock.monotonic()
        news = self._news()
        due = sent - self._reported_at >= self._settings.report_interval or news != self._reported
        report = self._report() if due else None
        try:
            async with asyncio.timeout(self._settings.beat_timeout):
                answer = await self._store.beat(self.incarnation, self._counter, draining=self.draining, report=report)
        except (StoreError, TimeoutError) as error:
            log.warning("a beat was not answered", error=str(error) or "timeout")
            return
        if answer is None:
            await self._refused()
            return
        if report is not None:
            self._reported_at, self._reported = sent, news
        self._trusted_until = sent + self._settings.trust
        now = self._clock.monotonic()
        if now - self._answered_at >= self._settings.dead_after:
            self._steady_since = now
        self._answered_at = now
        self.members = answer.members
        self.shards_token = answer.shards_token
        self._others.observe(answer.members, now, self.incarnation)
        self._decided.set()
        self.answered.set()

    async def _refused(self) -> None:
        log.warning("declared dead by others; joining anew", incarnation=self.incarnation)
        self._trusted_until = float("-inf")
        self.on_refused()
        self._decided.set()
        await self._join()
        self._nudged.set()

    async def _watch(self) -> None:
        """Until the next beat is due, declares each member dead whose silence reaches its limit meanwhile."""
        while True:
            now = self._clock.monotonic()
            due = self._beat_at + (NUDGE_SPACING if self._nudged.is_set() else self._settings.beat_interval)
            if now >= due:
                return
            limit = self._others.limit()
            if limit is not None and now >= limit:
                await self._declare(now)
                return
            wake_at = due if limit is None else min(due, limit)
            if self._nudged.is_set():
                await asyncio.sleep(wake_at - now)
            else:
                await wait_event(self._nudged, wake_at - now)

    async def _declare(self, now: float) -> None:
        for silent in self._others.silent(now):
            self._others.named(silent)
            if not self._others.current(self._clock.monotonic()):
                return
            try:
                async with asyncio.timeout(self._settings.beat_timeout):
                    dead = await self._store.declare_dead(silent.incarnation, silent.beat)
            except (StoreError, TimeoutError) as error:
                log.warning("cannot declare a silent member dead", incarnation=silent.incarnation, error=str(error))
                return
            if dead:
                log.warning("a member is dead", incarnation=silent.incarnation)
