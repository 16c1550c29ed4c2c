"""Publishes what is known of a TimerGroup: its status where it differs, and Events of what changed."""

from __future__ import annotations

from durable_timer.clock import Clock
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.group import TimerGroupSpec
from durable_timer.models.resource import Resource, ResourceKey
from durable_timer.models.status import Condition, ConditionType, TimerGroupStatus
from durable_timer.planning.conditions import news
from durable_timer.planning.group_status import TOLD, UNTOLD, Blocked, GroupFacts, group_status
from durable_timer.reconcile.base import ResourceApi
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.registering import declared_id


class GroupPublisher:
    """Writes statuses of TimerGroups."""

    def __init__(self, api: ResourceApi, cache: ResourceCache, clock: Clock, metrics: OperatorMetrics) -> None:
        self._api = api
        self._cache = cache
        self._clock = clock
        self._metrics = metrics

    def unserved(
        self, resource: Resource, spec: TimerGroupSpec | None, blocked: Blocked | None, *, away: str | None = None
    ) -> GroupFacts:
        """The facts of a group of which only that is known."""
        return GroupFacts(
            generation=resource.generation,
            group_id=declared_id(resource),
            spec=spec,
            now=self._clock.now(),
            blocked=blocked,
            away=away,
        )

    async def publish(self, resource: Resource, facts: GroupFacts) -> None:
        """Writes the status where it differs, then tells of the transitions. Raises: KubeError."""
        before = published_status(resource)
        current = group_status(before, facts)
        ready = condition_of(current, ConditionType.READY)
        if ready is not None:
            self._metrics.group(resource.namespace, resource.name, (ready.status.value, ready.reason))
        written = await self._api.write_status(resource, current.to_json())
        if written is not None:
            self._cache.put(written)
            for one in news(before.conditions, current.conditions, TOLD, UNTOLD):
                await self._api.event(resource, one.type, one.reason, one.message)

    def forget(self, key: ResourceKey) -> None:
        """The resource is gone."""
        self._metrics.group(key.namespace, key.name, None)


def published_status(resource: Resource) -> TimerGroupStatus:
    """The status as it stands; one that makes no sense counts as none, and is written anew."""
    try:
        return TimerGroupStatus.model_validate(dict(resource.status))
    except ValueError:
        return TimerGroupStatus()


def condition_of(status: TimerGroupStatus, type_: ConditionType) -> Condition | None:
    """The condition of that type, where there is one."""
    return next((condition for condition in status.conditions if condition.type == type_), None)
