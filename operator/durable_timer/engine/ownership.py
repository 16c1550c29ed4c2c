"""Which shards this process owns: it follows who should own them, claims and hands over."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupBook, GroupRuntime
from durable_timer.engine.holdings import Holdings
from durable_timer.engine.membership import Membership
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.settling import Settler, deferred
from durable_timer.engine.sweeping import DRAIN_MARGIN, Sweeper
from durable_timer.engine.taking import TakeLoop
from durable_timer.engine.waiting import Backoff, wait_event
from durable_timer.errors import StoreError
from durable_timer.metrics import Metrics
from durable_timer.models.group import GroupState
from durable_timer.models.ownership import Claim, Shard, ShardKey
from durable_timer.planning.assignment import plan
from durable_timer.stores.base import Store

LOOK_AGAIN: Final = 0.1
"""Seconds between looks at a shard that is mine while its owner still lives."""

FOLLOW_LIMIT: Final = 5.0
"""Seconds after which a look at the shards, with all that it led to, is given up and begun anew."""

FULL_READ_EVERY: Final = 30.0
"""Seconds between two reads of all shards, whatever the token says."""

log = structlog.get_logger(__name__)


class Ownership:
    """The claims of this process. One task follows, so that what it read and what it does are in step."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        settings: EngineSettings,
        membership: Membership,
        book: GroupBook,
        agenda: Agenda,
        holdings: Holdings,
        taking: TakeLoop,
        settler: Settler,
        sweeper: Sweeper,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._clock = clock
        self._backoff = Backoff(rng)
        self._settings = settings
        self._membership = membership
        self._book = book
        self._agenda = agenda
        self._holdings = holdings
        self._taking = taking
        self._settler = settler
        self._sweeper = sweeper
        self._metrics = metrics
        self._shards: list[Shard] = []
        self._token: str | None = None
        self._read_at = float("-inf")
        self._living: frozenset[str] = frozenset()
        self._alive: frozenset[str] = frozenset()
        self._again = False
        self._emptied = asyncio.Event()
        self.turned_at = clock.monotonic()
        membership.on_refused = self.forget_all

    async def run(self) -> None:
        """Follows who should own what, at each answered beat, until cancelled."""
        while True:
            self.turned_at = self._clock.monotonic()
            await wait_event(self._membership.answered, LOOK_AGAIN if self._again else self._settings.beat_interval)
            if not self._membership.answered.is_set() and not self._again:
                continue
            self._membership.answered.clear()
            try:
                async with asyncio.timeout(FOLLOW_LIMIT):
                    await self._follow()
                self._backoff.reset()
            except (StoreError, TimeoutError) as error:
                log.warning("cannot follow the shards", error=str(error) or "timeout")
                self._token = None
                await asyncio.sleep(self._backoff.pause())

    async def emptied(self) -> None:
        """Waits until no claim is left (of a member that drains)."""
        await self._emptied.wait()

    def forget_all(self) -> None:
        """The member is dead: its claims are lost, and what is unsent is its next owners' business."""
        for owned in self._agenda.all():
            self._lose(owned)
        self._token = None

    def reconsider(self) -> None:
        """A group changed: what it serves may be another's business now, or mine."""
        self._token = None
        self._membership.answered.set()

    async def give_back(self, shards: list[OwnedShard]) -> None:
        """Settles what is unsent in these shards as deferred by nothing, once the take under way is over."""
        await self._taking.barrier()
        unsent = [job for s in shards for job in self._holdings.of_shard(s.key) if not job.begun and not job.dropped]
        await self._settler.give_back(unsent)

    async def _follow(self) -> None:
        me = self._membership.incarnation
        living = frozenset(m.incarnation for m in self._membership.members if not m.dead and not m.draining)
        alive = frozenset(m.incarnation for m in self._membership.members if not m.dead)
        if alive != self._alive:
            self._alive = alive
            self._sweeper.soon()
        if self._unchanged(living):
            return
        if self._token != self._membership.shards_token or self._again or self._stale():
            self._shards, self._token = await self._store.shards(self._settings.pool)
            self._read_at = self._clock.monotonic()
            await self._know_groups()
        self._living = living
        if me != self._membership.incarnation:
            self._token = None
            return
        await self._act(me)

    def _unchanged(self, living: frozenset[str]) -> bool:
        same = self._token == self._membership.shards_token and living == self._living
        return same and not self._again and not self._stale()

    def _stale(self) -> bool:
        return self._clock.monotonic() - self._read_at >= FULL_READ_EVERY

    async def _know_groups(self) -> None:
        if any(self._book.get(shard.group_id) is None for shard in self._shards):
            await self._book.refresh(self._clock.monotonic())

    async def _act(self, me: str) -> None:
        members = self._membership.members
        draining = self._membership.draining
        should = plan(members, self._shards)
        mine = {key for key, owner in should.items() if owner == me and not draining and self._serves(key)}
        rows = {row.key: row for row in self._shards}
        for owned in self._agenda.all():
            row = rows.get(owned.key)
            if row is None or row.owner != me or row.epoch != owned.epoch:
                self._lose(owned)
            elif owned.releasing and owned.key in mine:
                owned.releasing = False
                self._taking.look_now(owned)
        alive = {m.incarnation for m in members if not m.dead}
        wanted = [row for row in self._shards if row.key in mine and self._agenda.get(row.key) is None]
        claimable = [row for row in wanted if row.owner is None or row.owner == me or row.owner not in alive]
        self._again = len(claimable) < len(wanted)
        await self._release([row for row in self._shards if row.owner == me and row.key not in mine], me)
        await self._claim(claimable, me)
        if draining and not self._agenda.all():
            self._emptied.set()
        self._count()

    def _serves(self, key: ShardKey) -> bool:
        runtime = self._book.get(key.group_id)
        return runtime is not None and runtime.group.state is GroupState.ACTIVE

    async def _claim(self, rows: list[Shard], me: str) -> None:
        if not rows:
            return
        async with asyncio.timeout(self._settings.statement_timeout):
            epochs = await self._store.claim([Claim(r.group_id, r.shard, r.epoch) for r in rows], me)
        if me != self._membership.incarnation:
            return
        claimed: list[OwnedShard] = []
        for row, epoch in zip(rows, epochs, strict=True):
            runtime = self._book.get(row.group_id)
            if epoch is None or runtime is None:
                self._again = True
                continue
            owned = OwnedShard(row.key, epoch, runtime)
            runtime.owned += 1
            claimed.append(owned)
            self._agenda.add(owned, float("inf"))
        if claimed:
            log.info("claimed", shards=len(claimed), first=f"{claimed[0].key.group_id}/{claimed[0].key.shard}")
        self._token = None
        for owned in claimed:
            self._taking.look_now(owned)
        swept = False
        try:
            swept = await self._sweeper.sweep(claimed)
        finally:
            if not swept:
                self._sweeper.soon()
            for owned in claimed:
                self._taking.look_now(owned)

    async def _release(self, rows: list[Shard], me: str) -> None:
        """Hands shards over: no more takes, what is unsent given back, then the claim.

        With no take under way, what runs here and is not held is of a take whose answer was lost: it is recovered now,
        since the drain that a release leaves behind would have the next owner spare it.
        """
        if not rows:
            return
        owned = [shard for row in rows if (shard := self._agenda.get(row.key)) is not None]
        for shard in owned:
            shard.releasing = True
        await self.give_back(owned)
        await self._sweeper.sweep_own(owned)
        if me != self._membership.incarnation:
            return
        jobs = [job for row in rows for job in self._holdings.of_shard(row.key)]
        longest = max((job.group.timeout_of(job.timer) for job in jobs), default=0.0)
        claims = [Claim(row.group_id, row.shard, row.epoch) for row in rows]
        async with asyncio.timeout(self._settings.statement_timeout):
            await self._store.release(claims, me, timedelta(seconds=longest + DRAIN_MARGIN))
        for shard in owned:
            self._drop(shard)
        self._token = None
        log.info("released", shards=len(rows), in_flight=len(jobs))

    def _lose(self, owned: OwnedShard) -> None:
        """The claim is another's by now. What is unsent here may be without an owner that knows of it: it is given back."""
        self._drop(owned)
        for job in self._holdings.of_shard(owned.key):
            if not job.begun and not job.dropped:
                self._settler.defer(job, deferred(job))

    def _drop(self, owned: OwnedShard) -> None:
        if self._agenda.remove(owned.key) is not None:
            owned.group.owned -= 1

    def _count(self) -> None:
        self._metrics.members(self._settings.pool, len(self._living))
        self._holdings.crowded = sum(runtime.owned > 0 for runtime in self._book.groups.values()) > 1
        for runtime in self._book.groups.values():
            if runtime.group.state is GroupState.ACTIVE:
                self._metrics.claims(runtime.group_id, runtime.owned)
                if runtime.group.pool == self._settings.pool:
                    self._tell(runtime)
            elif not runtime.held:
                self._metrics.forget_group(runtime.group_id)

    def _tell(self, runtime: GroupRuntime) -> None:
        self._metrics.declared(
            runtime.group_id,
            shards=runtime.group.shards,
            objective=runtime.spec.objectives.lateness.total_seconds(),
            paused=runtime.spec.paused,
            secrets_missing=len(runtime.keys) != len(runtime.signing),
        )
