"""All pools: a planner for each, and what their states mean for each group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from durable_timer.clock import Clock
from durable_timer.models.group import Group, GroupState
from durable_timer.models.status import GroupReason
from durable_timer.planning.group_status import Lateness
from durable_timer.planning.serving import Serving, serving
from durable_timer.reconcile.assignment import Planner, Pool, PoolState

HAND_OVER: Final = 5.0
"""Seconds for which shards may be without their executor before that is news: a takeover is over by then."""

LATENESS_LASTS: Final = 30.0
"""Seconds for which lateness has to be above, or within, its objective before that is news."""

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what has become old enough to be news."""

NewPlanner = Callable[[Pool, Callable[[PoolState], None]], Planner]


@dataclass(frozen=True, slots=True)
class Served:
    """How a group is served, as far as it is settled: what only passes by is left out.

    `read`: all living executors have read the group's row as it is now, and looked for its Secrets.
    """

    serving: Serving
    read: bool
    unassigned: bool
    new: bool
    lateness: Lateness | None


@dataclass(slots=True)
class _Watched:
    """One group of a pool, with the times since when something is as it is."""

    serving: Serving
    hopeful_at: float
    """Since when there is somebody to claim its shards."""
    unassigned: bool = True
    new: bool = True
    assigned_at: float = field(default=float("-inf"))
    lateness: Lateness | None = None
    lately: GroupReason | None = None
    lately_since: float = field(default=float("-inf"))
    told: Served | None = None

    def served(self, row: Group | None) -> Served:
        read = row is not None and self.serving.read_to >= row.change
        steady = replace(self.serving, lateness=None, read_to=0)
        return Served(steady, read, self.unassigned, self.new, self.lateness)


class Pools:
    """Plans all pools that groups name; `of` says how a group is served. `changed` is told the group's store and id."""

    def __init__(
        self,
        new_planner: NewPlanner,
        row: Callable[[str, str], Group | None],
        changed: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        self._new_planner = new_planner
        self._row = row
        self._changed = changed
        self._clock = clock
        self._wanted: set[Pool] = set()
        self._new = asyncio.Event()
        self._groups: dict[Pool, dict[str, _Watched]] = {}

    def of(self, pool: Pool, group_id: str) -> Served | None:
        """None until the planner has read the group's shards."""
        watched = self._groups.get(pool, {}).get(group_id)
        return watched.served(self._row(pool.store_name, group_id)) if watched is not None else None

    def group_changed(self, store_name: str, group: Group) -> None:
        """Plans the pool of a group from now on."""
        if group.state is GroupState.ACTIVE:
            self.plan(Pool(store_name, group.pool))

    def plan(self, pool: Pool) -> None:
        """Plans a pool from now on, and declares its silent members dead."""
        if pool not in self._wanted:
            self._wanted.add(pool)
            self._new.set()

    async def run(self) -> None:
        """Plans until cancelled."""
        begun: set[Pool] = set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever())
            while True:
                self._new.clear()
                for pool in self._wanted - begun:
                    planner = self._new_planner(pool, self.took)
                    group.create_task(planner.run(), name=f"planner of {pool.store_name}/{pool.name}")
                    begun.add(pool)
                await self._new.wait()

    def took(self, state: PoolState) -> None:
        """Takes in a pool's new state, and tells of the groups that it changes."""
        found = serving(state.members, state.shards)
        known = self._groups.setdefault(state.pool, {})
        for group_id in known.keys() - found.keys():
            del known[group_id]
            self._changed(state.pool.store_name, group_id)
        for group_id, now in found.items():
            watched = known.get(group_id)
            if watched is None:
                watched = known[group_id] = _Watched(now, self._clock.monotonic())
            self._look(state.pool, group_id, watched, now)

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for pool, groups in self._groups.items():
                for group_id, watched in groups.items():
                    self._look(pool, group_id, watched, watched.serving)

    def _look(self, pool: Pool, group_id: str, watched: _Watched, now: Serving) -> None:
        """Takes in how a group is served now; tells of it where that makes a difference, or is the first news of it."""
        row = self._row(pool.store_name, group_id)
        watched.serving = now
        self._settle(row, watched)
        served = watched.served(row)
        if served != watched.told:
            watched.told = served
            self._changed(pool.store_name, group_id)

    def _settle(self, row: Group | None, watched: _Watched) -> None:
        now = self._clock.monotonic()
        if watched.serving.assigned:
            watched.assigned_at, watched.unassigned = now, False
        elif now - watched.assigned_at >= HAND_OVER:
            watched.unassigned = True
        if not watched.serving.living:
            watched.hopeful_at = now
        hopeful = watched.serving.living > 0 and now - watched.hopeful_at < HAND_OVER
        watched.new = watched.unassigned and hopeful
        p99 = watched.serving.lateness
        if p99 is None or row is None:
            reason = GroupReason.NO_DATA
        elif p99 <= row.spec.objectives.lateness.total_seconds():
            reason = GroupReason.LATENESS_WITHIN_OBJECTIVE
        else:
            reason = GroupReason.LATENESS_ABOVE_OBJECTIVE
        if reason is not watched.lately:
            watched.lately, watched.lately_since = reason, now
        held = watched.lateness.reason if watched.lateness is not None else None
        if reason is not held and now - watched.lately_since >= LATENESS_LASTS:
            watched.lateness = Lateness(reason, p99)
