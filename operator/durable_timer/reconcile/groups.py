"""Reconciles TimerGroups: registers what they declare, and publishes what the store says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.logs import masked
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.group import Group, GroupState, SigningSpec, TimerGroupSpec
from durable_timer.models.limits import STORE_DEFAULT
from durable_timer.models.manifest import DeletionPolicy
from durable_timer.models.page import Counts
from durable_timer.models.resource import FINALIZER, Resource, ResourceKey
from durable_timer.models.status import Condition, ConditionStatus, ConditionType, GroupReason, TimerGroupStatus
from durable_timer.planning.conditions import news
from durable_timer.planning.group_status import (
    TOLD,
    UNTOLD,
    Blocked,
    GroupFacts,
    Pausing,
    group_status,
)
from durable_timer.reconcile.assignment import Pool
from durable_timer.reconcile.base import ResourceApi, Stores
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.directory import Directory
from durable_timer.reconcile.pools import Pools, Served
from durable_timer.reconcile.purging import Purger
from durable_timer.reconcile.registering import Registered, declared_id, declared_spec, register
from durable_timer.stores.base import Store

COUNT_EVERY: Final = 60.0
"""Seconds between two counts of a group's due and failed timers."""

PAUSE_TAKES: Final = 3.0
"""Seconds after the write of a pause until no callback of the group begins (`docs/semantics.md`)."""

LOOK_AGAIN: Final = timedelta(seconds=5)
"""After how long what only time solves is looked at again, at the latest."""

FINALIZER_HOLDS: Final = timedelta(minutes=10)
"""How long a deleted TimerGroup waits for its purge; then the purge goes on without it."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Memory:
    """What this process remembers of one TimerGroup between two reconciles; all of it may be lost."""

    counts: Counts | None = None
    counted_at: float = float("-inf")
    paused_at: float | None = None
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
    ) -> None:
        self._stores = stores
        self._api = api
        self._cache = cache
        self._directory = directory
        self._pools = pools
        self._purger = purger
        self._clock = clock
        self._metrics = metrics
        self._memories: dict[ResourceKey, _Memory] = {}

    async def reconcile(self, resource: Resource) -> timedelta | None:
        """See `Reconciler`."""
        if resource.deleting:
            return await self._delete(resource)
        spec = declared_spec(resource)
        if isinstance(spec, Blocked):
            return await self._publish(resource, self._facts(resource, None, spec))
        resource = await self._hold(resource, spec)
        store = self._stores.get(spec.store)
        if store is None:
            known = ", ".join(sorted(self._stores))
            blocked = Blocked(GroupReason.STORE_UNKNOWN, f"no store {spec.store!r} here, only {known}", stalled=True)
            return await self._publish(resource, self._facts(resource, spec, blocked))
        return await self._publish(resource, await self._gather(resource, spec, store))

    async def absent(self, key: ResourceKey) -> None:
        """See `Reconciler`: the rows that it registered are marked as deleted, and stay (Retain).

        A group whose policy is Delete was purged before its finalizer went; where it was not, keeping is safe.
        """
        self._memories.pop(key, None)
        self._metrics.group(key.namespace, key.name, None)
        for store_name, group in list(self._directory.owned(self._directory.owner(key.namespace, key.name))):
            if group.state is GroupState.ACTIVE:
                row = await self._stores[store_name].set_group_state(group.group_id, group.owner, GroupState.DELETED)
                self._directory.put(store_name, row)
                log.info("deleted, its timers are kept", group=group.group_id, owner=group.owner)

    async def _gather(self, resource: Resource, spec: TimerGroupSpec, store: Store) -> GroupFacts:
        away = self._directory.away(spec.store)
        if away is None:
            try:
                return await self._of_store(resource, spec, store)
            except (StoreError, TimeoutError) as error:
                away = f"store {spec.store!r} does not answer: {masked(str(error)) or 'no answer in time'}"
        return self._facts(resource, spec, None, away=away)

    async def _of_store(self, resource: Resource, spec: TimerGroupSpec, store: Store) -> GroupFacts:
        owner = self._directory.owner(resource.namespace, resource.name)
        before = self._directory.row(spec.store, declared_id(resource))
        if before is not None and before.owner != owner:
            before = None
        registered = await register(store, resource, spec, owner, before)
        if registered.row is not None:
            self._directory.put(spec.store, registered.row)
        await self._end_others(owner, (spec.store, declared_id(resource)))
        if registered.adopted_from is not None:
            await self._api.event(
                resource, "Normal", "Adopted", f"taken over from {registered.adopted_from!r}, as the annotation asks"
            )
        return await self._served(resource, spec, store, registered)

    async def _end_others(self, owner: str, declared: tuple[str, str]) -> None:
        """Marks what an earlier resource of the same name registered, in another store or under another id, as deleted."""
        for store_name, group in list(self._directory.owned(owner)):
            if group.state is GroupState.ACTIVE and (store_name, group.group_id) != declared:
                row = await self._stores[store_name].set_group_state(group.group_id, owner, GroupState.DELETED)
                self._directory.put(store_name, row)
                log.info("deleted, its timers are kept", group=group.group_id, owner=owner)

    async def _served(
        self, resource: Resource, spec: TimerGroupSpec, store: Store, registered: Registered
    ) -> GroupFacts:
        if registered.blocked is not None or registered.row is None:
            return self._facts(resource, spec, registered.blocked)
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

    def _facts(
        self, resource: Resource, spec: TimerGroupSpec | None, blocked: Blocked | None, *, away: str | None = None
    ) -> GroupFacts:
        return GroupFacts(
            generation=resource.generation,
            group_id=declared_id(resource),
            spec=spec,
            now=self._clock.now(),
            blocked=blocked,
            away=away,
        )

    async def _counts(self, store: Store, row: Group, memory: _Memory) -> Counts:
        now = self._clock.monotonic()
        if memory.counts is None or now - memory.counted_at >= COUNT_EVERY:
            memory.counts = await store.counts(row.group_id)
            memory.counted_at = now
        return memory.counts

    def _pausing(self, resource: Resource, spec: TimerGroupSpec, memory: _Memory) -> Pausing:
        """A pause is in effect 3 s after its write; one that was published as being so already is."""
        if not spec.paused:
            memory.paused_at = None
            return Pausing(asked=False, in_effect=False)
        now = self._clock.monotonic()
        if memory.paused_at is None:
            published = _condition(_status(resource), ConditionType.PAUSED)
            begun = published is None or published.status is not ConditionStatus.TRUE
            memory.paused_at = now if begun else float("-inf")
        return Pausing(asked=True, in_effect=now - memory.paused_at >= PAUSE_TAKES)

    def _secrets_told(self, resource: Resource, spec: TimerGroupSpec, memory: _Memory, served: Served | None) -> bool:
        """Whether executors have looked for the Secrets that the spec names since it names them."""
        signing = spec.callback.signing
        if signing != memory.signing:
            published = _condition(_status(resource), ConditionType.SECRETS_AVAILABLE)
            same = published is not None and published.observed_generation == resource.generation
            memory.signing = signing
            memory.secrets_told = same and published is not None and published.reason != GroupReason.PROGRESSING
        memory.secrets_told = memory.secrets_told or signing is None or (served is not None and served.read)
        return memory.secrets_told

    async def _publish(self, resource: Resource, facts: GroupFacts) -> timedelta | None:
        """Writes the status where it differs, and tells of the transitions; when to look again."""
        before = _status(resource)
        current = group_status(before, facts)
        ready = _condition(current, ConditionType.READY)
        if ready is not None:
            self._metrics.group(resource.namespace, resource.name, (ready.status.value, ready.reason))
        written = await self._api.write_status(resource, current.to_json())
        if written is not None:
            self._cache.put(written)
            for one in news(before.conditions, current.conditions, TOLD, UNTOLD):
                await self._api.event(resource, one.type, one.reason, one.message)
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

    async def _delete(self, resource: Resource) -> timedelta | None:
        """Has the group's timers deleted where the policy says so; then, or after ten minutes, lets the resource go."""
        if FINALIZER not in resource.finalizers:
            return None
        left = FINALIZER_HOLDS - (self._clock.now() - (resource.deletion_requested or self._clock.now()))
        problem = await self._unpurged(resource)
        if problem is not None and left > timedelta(0):
            await self._publish(resource, self._facts(resource, None, Blocked(GroupReason.PURGING, problem)))
            return min(LOOK_AGAIN, left)
        if problem is not None:
            message = f"the resource goes after {FINALIZER_HOLDS}, and the purge goes on without it: {problem}"
            await self._api.event(resource, "Warning", "PurgeContinues", message)
        await self._api.set_finalizer(resource, present=False)
        self._memories.pop(resource.key, None)
        self._metrics.group(resource.namespace, resource.name, None)
        log.info("let go", resource=str(resource.key), left=problem)
        return None

    async def _unpurged(self, resource: Resource) -> str | None:
        """Why timers of a deleted group are still there, as far as they have to go; None when they are gone."""
        if resource.spec.get("deletionPolicy") != DeletionPolicy.DELETE:
            return None
        store_name = resource.spec.get("store", STORE_DEFAULT)
        if not isinstance(store_name, str) or store_name not in self._stores:
            return f"no store {store_name!r} here"
        if not self._directory.read_once(store_name):
            return self._directory.away(store_name) or f"store {store_name!r} was not read yet"
        group_id = declared_id(resource)
        try:
            purged = await self._purged(store_name, group_id, self._directory.owner(resource.namespace, resource.name))
        except (StoreError, TimeoutError) as error:
            return f"store {store_name!r} does not answer: {masked(str(error)) or 'no answer in time'}"
        return None if purged else f"{self._purger.deleted(store_name, group_id)} timers deleted so far"

    async def _purged(self, store_name: str, group_id: str, owner: str) -> bool:
        """Whether nothing of the group is left; marks it as purging where it is not yet."""
        row = self._directory.row(store_name, group_id)
        if row is None or row.owner != owner:
            return True
        if row.state is GroupState.PURGING:
            return False
        if row.state is GroupState.DELETED and row.emptied_at is not None:
            return True
        row = await self._stores[store_name].set_group_state(group_id, owner, GroupState.PURGING)
        self._directory.put(store_name, row)
        return False

    def _memory(self, resource: Resource) -> _Memory:
        return self._memories.setdefault(resource.key, _Memory())


def _status(resource: Resource) -> TimerGroupStatus:
    """The status as it stands; one that makes no sense counts as none, and is written anew."""
    try:
        return TimerGroupStatus.model_validate(dict(resource.status))
    except ValueError:
        return TimerGroupStatus()


def _condition(status: TimerGroupStatus, type_: ConditionType) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == type_), None)
