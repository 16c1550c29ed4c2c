"""The planner of one pool of one store: which executor is to own which shard, of all groups together.

It leads by its term, which the store checks: what an earlier leader writes late changes nothing, and where that write
raised the term, the leader raises it above after a while. It declares silent members dead as members do of each other, so
that a pool recovers though the last two of it died at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.ownership import Assignment, Member, Shard
from durable_timer.planning.assignment import rebalance
from durable_timer.planning.beats import BeatWatch
from durable_timer.planning.joins import Joins
from durable_timer.stores.base import Store

MEMBERS_EVERY: Final = 0.5
"""Seconds between two reads of the members: as often as they beat."""

SHARDS_EVERY: Final = 1.0
"""Seconds between two reads of the shards while the members stay as they are."""

DEAD_AFTER: Final = 2.0
"""Seconds of silence after which a member is declared dead."""

READ_GAP: Final = 1.0
"""Seconds without a read after which every count of silence starts anew."""

QUIET: Final = 3.0
"""Seconds without a join or a departure after which newcomers get shards."""

PIECE: Final = 2000
"""Assignments of one call."""

SUPERSEDED_PAUSE: Final = 60.0
"""Seconds after which a planner that met a later term, and leads still, raises the term above it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of executors in one of the operator's stores."""

    store_name: str
    name: str


@dataclass(frozen=True, slots=True)
class PoolState:
    """What the store says of a pool. The members' beats are left out (0): they change all the time."""

    pool: Pool
    members: tuple[Member, ...]
    shards: tuple[Shard, ...]


class Planner:
    """Plans for one pool while `leading` says so, and hands each state of it to `publish`."""

    def __init__(
        self,
        pool: Pool,
        store: Store,
        identity: str,
        clock: Clock,
        metrics: OperatorMetrics,
        leading: Callable[[], bool],
        publish: Callable[[PoolState], None],
    ) -> None:
        self._pool = pool
        self._store = store
        self._identity = identity
        self._clock = clock
        self._metrics = metrics
        self._leading = leading
        self._publish = publish
        self._term: int | None = None
        self._watch = BeatWatch(DEAD_AFTER, READ_GAP)
        self._joins = Joins(QUIET)
        self._counted: frozenset[str] = frozenset()
        self._token: str | None = None
        self._shards: tuple[Shard, ...] = ()
        self._shards_at = float("-inf")
        self._published: PoolState | None = None
        self._superseded_at: float | None = None

    async def run(self) -> None:
        """Plans until cancelled; a store that is away is asked again."""
        while True:
            began = self._clock.monotonic()
            try:
                await self._turn()
            except StoreError as error:
                self._token = None
                log.warning("cannot plan", **self._named(), error=str(error))
            else:
                self._metrics.planner_turned(self._pool.store_name, self._pool.name)
            await asyncio.sleep(max(0.0, self._next(began) - self._clock.monotonic()))

    def _next(self, began: float) -> float:
        """When to look again: for the next read, or for the end of a silence before it."""
        ends = [began + MEMBERS_EVERY]
        now = self._clock.monotonic()
        ends += [end for end in (self._watch.limit(), self._joins.waits_until()) if end is not None and end > now]
        return min(ends)

    async def _turn(self) -> None:
        if self._term is None or self._superseded_for(SUPERSEDED_PAUSE):
            if not self._leading():
                return
            self._term, self._superseded_at, self._token = await self._raise_term(), None, None
        members = await self._store.members(self._pool.name)
        now = self._clock.monotonic()
        self._watch.observe(members, now)
        members = await self._declare(members, now)
        counted = self._joins.counted(members, now)
        if counted != self._counted or now - self._shards_at >= SHARDS_EVERY:
            await self._plan(self._term, members, counted, now)
        state = PoolState(self._pool, tuple(replace(member, beat=0) for member in members), self._shards)
        if state != self._published:
            self._published = state
            self._publish(state)

    async def _raise_term(self) -> int:
        term = await self._store.raise_term(self._pool.name, self._identity)
        log.info("plans", **self._named(), term=term)
        return term

    def _superseded_for(self, seconds: float) -> bool:
        return self._superseded_at is not None and self._clock.monotonic() - self._superseded_at >= seconds

    async def _declare(self, members: list[Member], now: float) -> list[Member]:
        """Declares the silent dead; the members as they are after that."""
        for silent in self._watch.silent(now):
            self._watch.named(silent)
            if not self._leading() or not self._watch.current(self._clock.monotonic()):
                break
            if await self._store.declare_dead(silent.incarnation, silent.beat):
                log.warning("a member is dead", **self._named(), incarnation=silent.incarnation)
                self._metrics.death_declared(self._pool.store_name, self._pool.name)
                members = [
                    replace(member, dead=True) if member.incarnation == silent.incarnation else member
                    for member in members
                ]
        return members

    async def _plan(self, term: int, members: Sequence[Member], counted: frozenset[str], now: float) -> None:
        shards, token = await self._store.shards(self._pool.name)
        self._shards_at = now
        if token == self._token and counted == self._counted:
            return
        self._shards, self._counted = tuple(shards), counted
        changes = self._changes(members, shards, term)
        if changes:
            await self._assign(term, changes)
            self._shards_at = float("-inf")
        self._token = None if changes else token

    async def _assign(self, term: int, changes: Sequence[Assignment]) -> None:
        written = 0
        for start in range(0, len(changes), PIECE):
            if not self._leading():
                break
            written += await self._store.assign(self._pool.name, term, changes[start : start + PIECE])
        self._metrics.assigned(self._pool.store_name, self._pool.name, written)
        log.info("assigned", **self._named(), shards=written, executors=len(self._counted))

    def _changes(self, members: Sequence[Member], shards: Sequence[Shard], term: int) -> list[Assignment]:
        """What the plan would have otherwise: nothing while nobody lives, or another planner has the term."""
        if max((shard.plan_term for shard in shards), default=0) > term:
            if self._superseded_at is None:
                self._superseded_at = self._clock.monotonic()
                log.warning("another operator planned this pool: do two of them lead in one store?", **self._named())
            return []
        if not self._counted:
            return []
        planned = rebalance([m for m in members if m.incarnation in self._counted], shards)
        return [
            Assignment(shard.group_id, shard.shard, planned[shard.key])
            for shard in shards
            if shard.assigned_to != planned[shard.key]
        ]

    def _named(self) -> dict[str, str]:
        return {"store": self._pool.store_name, "pool": self._pool.name}
