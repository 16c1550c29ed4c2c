"""Reconciles TimerGroups: registers what they declare, and publishes what the store says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError, StoreUnavailable
from durable_timer.logs import masked
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.group import Group, SigningSpec, TimerGroupSpec
from durable_timer.models.manifest import DeletionPolicy
from durable_timer.models.page import Counts
from durable_timer.models.resource import ADOPT_FROM, FINALIZER, Resource, ResourceKey
from durable_timer.models.status import ConditionStatus, ConditionType, GroupReason
from durable_timer.planning.group_status import (
    Blocked,
    GroupFacts,
    Pausing,
)
from durable_timer.reconcile.assignment import Pool
from durable_timer.reconcile.base import ResourceApi, Stores
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.directory import AWAY_AFTER, Directory
from durable_timer.reconcile.group_deletion import LOOK_AGAIN, GroupDeletion, is_an_earlier_ones
from durable_timer.reconcile.group_publishing import GroupPublisher, condition_of, published_status
from durable_timer.reconcile.pools import Pools, Served
from durable_timer.reconcile.purging import Purger
from durable_timer.reconcile.registering import Registered, declared_id, declared_spec, register
from durable_timer.reconcile.writing import GroupWriter
from durable_timer.stores.base import Store

COUNT_EVERY: Final = 60.0
"""Seconds between two counts of a group's due and failed timers."""

PAUSE_TAKES: Final = 3.0
"""Seconds after the write of a pause until no callback of the group begins (`docs/semantics.md`)."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Memory:
    """What this process remembers of one TimerGroup between two reconciles; all of it may be lost."""

    counts: Counts | None = None
    counted_at: float = float("-inf")
    failing_since: float | None = None
    paused_at: float | None = None
    adopted: str | None = None
    """From whom the annotation that is on it had its group taken over."""
    signing: SigningSpec | None = None
    secrets_told: bool = True


class GroupReconciler:
    """The `Reconciler` of TimerGroups."""

    def __init__(
        self,
        stores: Stores,
        api: ResourceApi,
        cache: ResourceCache,
        directory: Directory,
        pools: Pools,
        purger: Purger,
        clock: Clock,
        metrics: OperatorMetrics,
        leading: Callable[[], bool],
    ) -> None:
        self._stores = stores
        self._api = api
        self._cache = cache
        self._directory = directory
        self._pools = pools
        self._clock = clock
        self._leading = leading
        self._publisher = GroupPublisher(api, cache, clock, metrics)
        self._deletion = GroupDeletion(stores, api, directory, purger, self._publisher, clock, leading)
        self._memories: dict[ResourceKey, _Memory] = {}

    async def reconcile(self, resource: Resource) -> timedelta | None:
        """See `Reconciler`."""
        if resource.deleting:
            self._memories.pop(resource.key, None)
            return await self._deletion.delete(resource)
        spec = declared_spec(resource)
        if isinstance(spec, Blocked):
            return await self._publish(resource, self._publisher.unserved(resource, None, spec))
        resource = await self._hold(resource, spec)
        store = self._stores.get(spec.store)
        if store is None:
            known = ", ".join(sorted(self._stores))
            blocked = Blocked(GroupReason.STORE_UNKNOWN, f"no store {spec.store!r} here, only {known}", stalled=True)
            return await self._publish(resource, self._publisher.unserved(resource, spec, blocked))
        return await self._publish(resource, await self._gather(resource, spec, store))

    def concerned(self, key: ResourceKey) -> bool:  # noqa: ARG002 - what is known of any resource has to be forgotten
        """See `Reconciler`."""
        return True

    async def absent(self, key: ResourceKey) -> None:
        """See `Reconciler`: the groups that it registered are marked as deleted, and kept.

        One whose policy is Delete was purged before its finalizer went; where it was not, keeping is safe.
        """
        self._memories.pop(key, None)
        self._publisher.forget(key)
        await self._deletion.end(self._directory.owner(key.namespace, key.name))

    async def _gather(self, resource: Resource, spec: TimerGroupSpec, store: Store) -> GroupFacts:
        """The facts of a group. Raises: StoreError, TimeoutError: A call failed, which has not lasted yet."""
        memory = self._memory(resource)
        away = self._directory.away(spec.store)
        if away is not None:
            memory.failing_since = None
            return self._publisher.unserved(resource, spec, None, away=away)
        try:
            facts = await self._of_store(resource, spec, store)
        except (StoreError, TimeoutError) as error:
            now = self._clock.monotonic()
            memory.failing_since = now if memory.failing_since is None else memory.failing_since
            if now - memory.failing_since < AWAY_AFTER:
                raise
            does = "does not answer" if isinstance(error, StoreUnavailable | TimeoutError) else "refuses"
            away = f"store {spec.store!r} {does}: {masked(str(error)) or 'no answer in time'}"
            return self._publisher.unserved(resource, spec, None, away=away)
        memory.failing_since = None
        return facts

    async def _of_store(self, resource: Resource, spec: TimerGroupSpec, store: Store) -> GroupFacts:
        owner = self._directory.owner(resource.namespace, resource.name)
        before = self._directory.row(spec.store, declared_id(resource))
        if before is not None and before.owner != owner:
            before = None
        if before is not None and before.pool != spec.executor_pool:
            self._pools.plan(Pool(spec.store, before.pool))  # whoever died there has to be told so before it is left
        memory = self._memory(resource)
        if ADOPT_FROM not in resource.annotations:
            memory.adopted = None
        registered = await register(GroupWriter(store, self._leading), resource, spec, owner, before, memory.adopted)
        if registered.row is not None:
            self._directory.put(spec.store, registered.row)
            if is_an_earlier_ones(registered.row, registered, resource):
                await self._deletion.keep(spec.store, registered.row)
        await self._end_others(owner, (spec.store, declared_id(resource)))
        if registered.adopted_from is not None:
            memory.adopted = registered.adopted_from
            await self._api.event(
                resource, "Normal", "Adopted", f"taken over from {registered.adopted_from!r}, as the annotation asks"
            )
        return await self._served(resource, spec, store, registered)

    async def _end_others(self, owner: str, declared: tuple[str, str]) -> None:
        """Ends what an earlier resource of the same name registered, in another store or under another id."""
        try:
            await self._deletion.end(owner, declared)
        except (StoreError, TimeoutError) as error:
            log.warning("cannot end a former group yet", owner=owner, error=str(error) or "timeout")

    async def _served(
        self, resource: Resource, spec: TimerGroupSpec, store: Store, registered: Registered
    ) -> GroupFacts:
        if registered.blocked is not None or registered.row is None:
            return self._publisher.unserved(resource, spec, registered.blocked)
        memory = self._memory(resource)
        served = self._pools.of(Pool(spec.store, spec.executor_pool), registered.row.group_id)
        return GroupFacts(
            generation=resource.generation,
            group_id=registered.row.group_id,
            spec=spec,
            now=self._clock.now(),
            serving=served.serving if served is not None else None,
            unassigned=served.unassigned if served is not None else True,
            new=served.new if served is not None else True,
            secrets_told=self._secrets_told(resource, spec, memory, served),
            lateness=served.lateness if served is not None else None,
            paused=self._pausing(resource, spec, memory),
            counts=await self._counts(store, registered.row, memory),
        )

    async def _counts(self, store: Store, row: Group, memory: _Memory) -> Counts | None:
        """Figures of at most a minute ago; None where they could not be had, and stay as they were published."""
        now = self._clock.monotonic()
        if now - memory.counted_at >= COUNT_EVERY:
            memory.counted_at = now
            try:
                memory.counts = await store.counts(row.group_id)
            except (StoreError, TimeoutError) as error:
                memory.counts = None
                log.info("cannot count the timers of a group now", group=row.group_id, error=str(error) or "timeout")
        return memory.counts

    def _pausing(self, resource: Resource, spec: TimerGroupSpec, memory: _Memory) -> Pausing:
        """A pause is in effect 3 s after its write; one that was published as being so already is."""
        if not spec.paused:
            memory.paused_at = None
            return Pausing(asked=False, in_effect=False)
        now = self._clock.monotonic()
        if memory.paused_at is None:
            published = condition_of(published_status(resource), ConditionType.PAUSED)
            begun = published is None or published.status is not ConditionStatus.TRUE
            memory.paused_at = now if begun else float("-inf")
        return Pausing(asked=True, in_effect=now - memory.paused_at >= PAUSE_TAKES)

    def _secrets_told(self, resource: Resource, spec: TimerGroupSpec, memory: _Memory, served: Served | None) -> bool:
        """Whether executors have looked for the Secrets that the spec names since it names them."""
        signing = spec.callback.signing
        if signing != memory.signing:
            published = condition_of(published_status(resource), ConditionType.SECRETS_AVAILABLE)
            same = published is not None and published.observed_generation == resource.generation
            memory.signing = signing
            memory.secrets_told = same and published is not None and published.reason != GroupReason.PROGRESSING
        memory.secrets_told = memory.secrets_told or signing is None or (served is not None and served.read)
        return memory.secrets_told

    async def _publish(self, resource: Resource, facts: GroupFacts) -> timedelta:
        """Publishes; when to look again."""
        await self._publisher.publish(resource, facts)
        if facts.paused.asked and not facts.paused.in_effect:
            return timedelta(seconds=PAUSE_TAKES)
        if facts.away is not None or (facts.blocked is not None and not facts.blocked.stalled):
            return LOOK_AGAIN
        return timedelta(seconds=COUNT_EVERY)

    async def _hold(self, resource: Resource, spec: TimerGroupSpec) -> Resource:
        """Our finalizer where deletion has to delete timers first, and nowhere else."""
        wanted = spec.deletion_policy is DeletionPolicy.DELETE
        if (FINALIZER in resource.finalizers) is wanted:
            return resource
        resource = await self._api.set_finalizer(resource, present=wanted)
        self._cache.put(resource)
        return resource

    def _memory(self, resource: Resource) -> _Memory:
        return self._memories.setdefault(resource.key, _Memory())
