"""The operator without kopf and without election: what is heard of resources and of stores comes together here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from durable_timer.clock import Clock
from durable_timer.errors import KubeConflict
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.group import Group, GroupState
from durable_timer.models.limits import STORE_DEFAULT
from durable_timer.models.resource import Resource, ResourceKey, ResourceKind
from durable_timer.reconcile.absence import Absence
from durable_timer.reconcile.assignment import Planner, Pool, PoolState
from durable_timer.reconcile.base import Reconciler, ResourceApi, Stores
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.directory import Directory
from durable_timer.reconcile.drift import Drift
from durable_timer.reconcile.groups import GroupReconciler
from durable_timer.reconcile.pools import Pools
from durable_timer.reconcile.purging import Purger
from durable_timer.reconcile.registering import declared_id
from durable_timer.reconcile.timers import TimerReconciler
from durable_timer.reconcile.work_queue import WorkQueue

CONCURRENCY: Final = 32
"""Resources that are reconciled at once: mostly they wait, for a store or for the API server."""

DOUBT_EVERY: Final = 600.0
"""Seconds between two looks whether all TimerGroups that the watch told of are still there."""

STUCK_AFTER: Final = 30.0
"""Seconds without a turn of the queue's loop after which the process counts as stuck."""


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What the core is told. `namespaces` is empty for all; `request_timeout` that of the bridges."""

    cluster: str
    namespaces: tuple[str, ...]
    identity: str
    request_timeout: timedelta


class Core:
    """Everything that only the leader does. `saw` and `deleted` feed it, `run` does it."""

    def __init__(
        self,
        stores: Stores,
        api: ResourceApi,
        settings: CoreSettings,
        clock: Clock,
        rng: random.Random,
        metrics: OperatorMetrics,
        leading: Callable[[], bool],
    ) -> None:
        self._stores = stores
        self._api = api
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._leading = leading
        self._cache = ResourceCache()
        self._doubted_at = clock.monotonic()
        self._queue = WorkQueue(self._reconcile, clock, rng, metrics, CONCURRENCY)
        self._directory = Directory(stores, settings.cluster, clock, self._group_changed, self._store_came_or_went)
        self._pools = Pools(self._planner, self._directory.row, self._serving_changed, clock)
        self._purger = Purger(
            self._directory, settings.request_timeout, clock, leading, lambda _, group: self._group_concerns(group)
        )
        self._absence = Absence(api, self.serves, self._suspects, self._concerned, self._gone, clock)
        timers = TimerReconciler(stores, api, self._cache, self._directory, clock, leading)
        self._drift = Drift(self._cache, timers, self._queue.add, clock)
        self._reconcilers: Mapping[ResourceKind, Reconciler] = {
            ResourceKind.TIMER_GROUP: GroupReconciler(
                stores, api, self._cache, self._directory, self._pools, self._purger, clock, metrics, leading
            ),
            ResourceKind.TIMER: timers,
        }
        metrics.observe_queue(self._queue.depth, self._queue.oldest_age)

    def serves(self, namespace: str) -> bool:
        """Whether resources of the namespace are this operator's concern."""
        return not self._settings.namespaces or namespace in self._settings.namespaces

    def healthy(self) -> bool:
        """Whether the reconcile loop turned lately."""
        return self._clock.monotonic() - self._queue.turned_at < STUCK_AFTER

    def saw(self, resource: Resource) -> None:
        """A resource is there, as given; an older version than the known one is left out."""
        if self._cache.put(resource):
            self._absence.seen(resource.key)
            self._queue.add(resource.key)

    def deleted(self, resource: Resource) -> None:
        """The watch says that a resource is gone."""
        if self._cache.drop(resource.key, resource.uid):
            self._queue.forget(resource.key)
        self._absence.suspect(resource.key)

    async def reconciled(self, resource: Resource) -> None:
        """Returns when the resource, or a newer version of it, was reconciled; a failed one is tried again later."""
        self._cache.put(resource)
        await self._queue.reconciled(resource.key)

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            for loop in (self._directory, self._pools, self._purger, self._absence, self._drift, self._queue):
                group.create_task(loop.run(), name=type(loop).__name__)

    async def _reconcile(self, key: ResourceKey) -> timedelta | None:
        resource = self._cache.get(key)
        if resource is None:
            return None
        try:
            return await self._reconcilers[key.kind].reconcile(resource)
        except KubeConflict:
            newer = await self._api.get(key.kind, key.namespace, key.name)
            if newer is not None:
                self._cache.put(newer)
            raise

    def _concerned(self, key: ResourceKey) -> bool:
        return self._reconcilers[key.kind].concerned(key)

    async def _gone(self, key: ResourceKey) -> None:
        if self._cache.drop(key):
            self._queue.forget(key)
        await self._reconcilers[key.kind].absent(key)

    def _suspects(self) -> Iterator[ResourceKey]:
        """TimerGroups of active groups that the watch has not told of; once in a while the others, too.

        A watch that is begun anew tells of what is there, not of what went while it was broken off.
        """
        doubts = self._clock.monotonic() - self._doubted_at >= DOUBT_EVERY
        if doubts:
            self._doubted_at = self._clock.monotonic()
        for _, _, group in self._directory.rows():
            declared = self._directory.declared_by(group.owner)
            if declared is None or group.state is not GroupState.ACTIVE:
                continue
            key = ResourceKey(ResourceKind.TIMER_GROUP, *declared)
            if doubts or self._cache.get(key) is None:
                yield key

    def _planner(self, pool: Pool, publish: Callable[[PoolState], None]) -> Planner:
        store = self._stores[pool.store_name]
        return Planner(pool, store, self._settings.identity, self._clock, self._metrics, self._leading, publish)

    def _group_changed(self, store_name: str, before: Group | None, group: Group) -> None:
        """A row is new: its TimerGroup, those that want its id, and its Timers may have something to do."""
        self._pools.group_changed(store_name, group)
        if before is not None and before.owner != group.owner:
            self._group_concerns(before)
        if before is None:
            self._absence.look_soon()
        self._group_concerns(group)
        for resource in self._cache.of_kind(ResourceKind.TIMER_GROUP):
            if declared_id(resource) == group.group_id and _store_of(resource) == store_name:
                self._queue.add(resource.key)
        if (declared := self._directory.declared_by(group.owner)) is not None:
            self._timers_of(*declared)

    def _group_concerns(self, group: Group) -> None:
        declared = self._directory.declared_by(group.owner)
        if declared is not None:
            self._add(ResourceKey(ResourceKind.TIMER_GROUP, *declared))

    def _timers_of(self, namespace: str, name: str) -> None:
        for resource in self._cache.of_kind(ResourceKind.TIMER):
            reference = resource.spec.get("groupRef")
            if resource.namespace == namespace and isinstance(reference, Mapping) and reference.get("name") == name:
                self._queue.add(resource.key)

    def _store_came_or_went(self, store_name: str) -> None:
        if self._directory.away(store_name) is None:
            self._absence.try_again()
        for resource in self._cache.of_kind(ResourceKind.TIMER_GROUP):
            if _store_of(resource) == store_name:
                self._queue.add(resource.key)
                self._timers_of(resource.namespace, resource.name)

    def _serving_changed(self, store_name: str, group_id: str) -> None:
        row = self._directory.row(store_name, group_id)
        if row is not None:
            self._group_concerns(row)

    def _add(self, key: ResourceKey) -> None:
        if self._cache.get(key) is not None:
            self._queue.add(key)


def _store_of(resource: Resource) -> object:
    return resource.spec.get("store", STORE_DEFAULT)
