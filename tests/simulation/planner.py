"""A planner as the operator runs one: leads by its term, assigns shards, declares deaths."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from durable_timer.errors import StoreError
from durable_timer.models.ownership import Assignment, Member
from durable_timer.planning.assignment import rebalance
from durable_timer.stores.base import Store
from tests.simulation.clocks import ProcessClock
from tests.simulation.history import History
from tests.simulation.loop import Process

POOL: Final = "default"
INTERVAL: Final = 0.5
DEAD_AFTER: Final = 2.0
GAP: Final = 1.0


@dataclass(slots=True)
class Planner:
    """Plans each half second for as long as its process lives, deposed or not: the store's terms decide."""

    process: Process
    store: Store
    clock: ProcessClock
    history: History
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    _last_read: float = float("-inf")

    async def run(self) -> None:
        term = None
        while True:
            try:
                if term is None:
                    term = await self.store.raise_term(POOL, self.process.name)
                    self.history.line(self.process.name, f"* leads with term {term}")
                await self._plan(term)
            except StoreError:
                """The store is away: what was read before counts no more, once it is a second old."""
            await asyncio.sleep(INTERVAL)

    async def _plan(self, term: int) -> None:
        sent = self.clock.monotonic()
        members = await self.store.members(POOL)
        await self._declare(members, sent)
        shards, _ = await self.store.shards(POOL)
        planned = rebalance(members, shards)
        changes = [
            Assignment(shard.group_id, shard.shard, planned.get(shard.key))
            for shard in shards
            if shard.assigned_to != planned.get(shard.key)
        ]
        if changes:
            written = await self.store.assign(POOL, term, changes)
            self.history.line(self.process.name, f"* assigns {written} of {len(changes)} shards")

    async def _declare(self, members: list[Member], sent: float) -> None:
        now = self.clock.monotonic()
        if now - self._last_read > GAP:
            self._seen.clear()
        self._last_read = now
        for member in members:
            if member.dead:
                continue
            beat, since = self._seen.get(member.incarnation, (None, 0.0))
            if beat != member.beat:
                self._seen[member.incarnation] = (member.beat, now)
            elif sent - since >= DEAD_AFTER:
                await self.store.declare_dead(member.incarnation, member.beat)
