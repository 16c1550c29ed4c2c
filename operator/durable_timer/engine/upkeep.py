"""What an executor does beside firing: reads groups, gives back what a pause holds up, purges, counts the backlog."""

from __future__ import annotations

import asyncio

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupBook, GroupRuntime
from durable_timer.engine.ownership import Ownership
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.taking import TakeLoop
from durable_timer.engine.waiting import SHARE, rest_after, wait_event
from durable_timer.errors import StoreError
from durable_timer.metrics import Metrics
from durable_timer.models.group import GroupState
from durable_timer.models.ownership import ShardKey
from durable_timer.stores.base import Store

GROUPS_EVERY = 1.0
"""Seconds between reads of changed groups."""

PURGE_PART = 0.1
"""Of a group's shorter retention, what passes between two purges of it."""

PURGE_EVERY_MAX = 60.0
"""Longest seconds between them."""

PURGE_BATCH = 1000
"""Rows of one purge call."""

PURGE_PAUSE = 0.05
"""Seconds between two full purge calls, so that writes get their turn."""

PURGE_TIME = 0.1
"""Seconds above which a purge call is slow, and followed by a rest: it passes the entries of what was purged before, which
stay while a transaction is held open elsewhere."""

BACKLOG_EVERY = 15.0
"""Seconds between two counts of a group's backlog."""

BACKLOG_REST_MAX = 300.0
"""Longest seconds between them because they took long."""

log = structlog.get_logger(__name__)


class Upkeep:
    """The slow loops. A group's purge and backlog are the business of whoever owns its shard 0."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: EngineSettings,
        book: GroupBook,
        agenda: Agenda,
        taking: TakeLoop,
        ownership: Ownership,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._book = book
        self._agenda = agenda
        self._taking = taking
        self._ownership = ownership
        self._metrics = metrics
        self._silent: set[str] = set()
        self._stopped: list[str] = []
        self._stop = asyncio.Event()
        self.turned_at = clock.monotonic()

    def group_changed(self, group: GroupRuntime) -> None:
        """A group's row is new: fire on, or give back what is held."""
        if group.fires:
            if group.group_id in self._silent:
                self._silent.remove(group.group_id)
                group.held_until = self._clock.monotonic()
            self._taking.group_changed(group)
        else:
            self._silent.add(group.group_id)
            self._stopped.append(group.group_id)
            self._stop.set()

    async def read_groups(self) -> None:
        """Keeps the group book until cancelled."""
        while True:
            self.turned_at = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._settings.statement_timeout):
                    await self._book.refresh(self.turned_at)
            except (StoreError, TimeoutError) as error:
                log.warning("cannot read the groups", error=str(error) or "timeout")
            await asyncio.sleep(GROUPS_EVERY)

    async def read_keys(self) -> None:
        """Keeps the groups' signing keys until cancelled. On its own: a Secret that is slow to come makes no group old."""
        while True:
            await self._book.read_keys()
            await wait_event(self._book.keys_missing, GROUPS_EVERY)

    async def give_back_forever(self) -> None:
        """Gives back what is held of groups that do not fire any more, until cancelled."""
        while True:
            await self._stop.wait()
            self._stop.clear()
            while self._stopped:
                group = self._book.get(self._stopped.pop())
                if group is not None and not group.fires:
                    await self._ownership.give_back(self._agenda.of_group(group.group_id))

    async def purge_forever(self) -> None:
        """Deletes what its retention is over for, until cancelled."""
        begun: dict[str, float] = {}
        while True:
            await asyncio.sleep(self._settings.retention_interval)
            mine = {shard.key.group_id: shard for shard in self._first_shards()}
            begun = {group_id: at for group_id, at in begun.items() if group_id in mine}
            for group_id, shard in mine.items():
                kept, now = shard.group.spec.retention, self._clock.monotonic()
                every = min(PURGE_EVERY_MAX, PURGE_PART * min(kept.completed, kept.failed).total_seconds())
                if now - begun.get(group_id, float("-inf")) < every:
                    continue
                begun[group_id] = now
                try:
                    await self._purge(shard.group)
                except (StoreError, TimeoutError) as error:
                    log.warning("cannot purge", group=shard.group.group_id, error=str(error) or "timeout")

    async def count_forever(self) -> None:
        """Publishes each group's backlog until cancelled, and nothing of groups that are another's business now."""
        counted: set[str] = set()
        due_at = float("-inf")
        while True:
            mine = [shard.key.group_id for shard in self._first_shards()]
            for group_id in counted.difference(mine):
                self._metrics.backlog(group_id, 0, 0.0)
            counted.intersection_update(mine)
            if self._clock.monotonic() >= due_at:
                took = sum([await self._count(group_id) for group_id in mine])
                counted.update(mine)
                due_at = self._clock.monotonic() + min(took / SHARE, BACKLOG_REST_MAX)
            await asyncio.sleep(BACKLOG_EVERY)

    def _first_shards(self) -> list[OwnedShard]:
        return [
            shard
            for group_id, group in self._book.groups.items()
            if group.group.state is GroupState.ACTIVE and (shard := self._agenda.get(ShardKey(group_id, 0))) is not None
        ]

    async def _purge(self, group: GroupRuntime) -> None:
        kept = group.spec.retention
        while True:
            began = self._clock.monotonic()
            async with asyncio.timeout(self._settings.statement_timeout):
                purged = await self._store.purge(group.group_id, kept.completed, kept.failed, PURGE_BATCH)
            took = self._clock.monotonic() - began
            if purged:
                self._metrics.purged(group.group_id, purged)
            if purged < PURGE_BATCH:
                return
            await asyncio.sleep(PURGE_PAUSE if took <= PURGE_TIME else rest_after(took, PURGE_PAUSE))

    async def _count(self, group_id: str) -> float:
        """Seconds that the store worked for it; none where it did not answer."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._settings.statement_timeout):
                counts = await self._store.counts(group_id)
                oldest = counts.oldest_due_at
                age = (await self._store.now() - oldest).total_seconds() if oldest is not None else 0.0
        except (StoreError, TimeoutError) as error:
            log.warning("cannot count the backlog", group=group_id, error=str(error) or "timeout")
            return 0.0
        self._metrics.backlog(group_id, counts.due, max(0.0, age))
        return self._clock.monotonic() - began
