"""What becomes of a TimerGroup that is deleted: its timers are kept, or purged before it goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError, StoreUnavailable
from durable_timer.logs import masked
from durable_timer.models.group import Group, GroupState
from durable_timer.models.limits import STORE_DEFAULT
from durable_timer.models.manifest import DeletionPolicy
from durable_timer.models.resource import FINALIZER, Resource
from durable_timer.models.status import ConditionType, GroupReason
from durable_timer.planning.group_status import Blocked
from durable_timer.reconcile.base import ResourceApi, Stores
from durable_timer.reconcile.directory import Directory
from durable_timer.reconcile.group_publishing import GroupPublisher, condition_of, published_status
from durable_timer.reconcile.purging import Purger
from durable_timer.reconcile.registering import Registered, declared_id
from durable_timer.reconcile.writing import GroupWriter

LOOK_AGAIN: Final = timedelta(seconds=5)
"""After how long a purge is looked at again, at the latest."""

FINALIZER_HOLDS: Final = timedelta(minutes=10)
"""How long a deleted TimerGroup waits for its purge; then the purge goes on without it."""

log = structlog.get_logger(__name__)


class GroupDeletion:
    """Ends groups."""

    def __init__(
        self,
        stores: Stores,
        api: ResourceApi,
        directory: Directory,
        purger: Purger,
        publisher: GroupPublisher,
        clock: Clock,
        leading: Callable[[], bool],
    ) -> None:
        self._writers = {name: GroupWriter(store, leading) for name, store in stores.items()}
        self._api = api
        self._directory = directory
        self._purger = purger
        self._publisher = publisher
        self._clock = clock

    async def keep(self, store_name: str, group: Group) -> None:
        """Marks a group as deleted; its timers stay, unfired. Raises: StoreError, NotLeading."""
        if (away := self._directory.away(store_name)) is not None:
            raise StoreUnavailable(away)
        row = await self._writers[store_name].mark(group.group_id, group.owner, GroupState.DELETED)
        self._directory.put(store_name, row)
        log.info("deleted, its timers are kept", group=group.group_id, owner=group.owner)

    async def end(self, owner: str, declared: tuple[str, str] | None = None) -> None:
        """Marks the groups of an owner as deleted, but for the declared one.

        Raises: StoreError, NotLeading, TimeoutError: That of one which could not be marked, after the others were.
        """
        failure: Exception | None = None
        for store_name, group in list(self._directory.owned(owner)):
            if group.state is not GroupState.ACTIVE or (store_name, group.group_id) == declared:
                continue
            try:
                await self.keep(store_name, group)
            except (StoreError, TimeoutError) as error:
                failure = error
        if failure is not None:
            raise failure

    async def delete(self, resource: Resource) -> timedelta | None:
        """Has the group's timers deleted where the policy says so; then, or after ten minutes, lets the resource go."""
        if FINALIZER not in resource.finalizers:
            return None
        left = FINALIZER_HOLDS - (self._clock.now() - (resource.deletion_requested or self._clock.now()))
        problem = await self._unpurged(resource)
        if problem is not None and left > timedelta(0):
            facts = self._publisher.unserved(resource, None, Blocked(GroupReason.PURGING, problem))
            await self._publisher.publish(resource, facts)
            return min(LOOK_AGAIN, left)
        await self._api.set_finalizer(resource, present=False)
        if problem is not None:
            await self._api.event(resource, "Warning", *self._left_behind(resource, problem))
        self._publisher.forget(resource.key)
        log.info("let go", resource=str(resource.key), left=problem)
        return None

    def _left_behind(self, resource: Resource, problem: str) -> tuple[str, str]:
        """Reason and message of the Event about a resource that goes before its timers do."""
        group_id = declared_id(resource)
        owner = self._directory.owner(resource.namespace, resource.name)
        rows = [group for _, group in self._directory.owned(owner) if group.group_id == group_id]
        if any(group.state is GroupState.PURGING for group in rows):
            return "PurgeContinues", f"gone after {FINALIZER_HOLDS}, and the purge goes on without it: {problem}"
        return "PurgeNotBegun", (
            f"gone after {FINALIZER_HOLDS} without a purge that is known to have begun: {problem}; timers of group "
            f"{group_id!r} are kept, unfired, until it is applied again; delete it once more then to have them deleted"
        )

    async def _unpurged(self, resource: Resource) -> str | None:
        """Why timers of a deleted group are still there, as far as they have to go; None when they are gone."""
        if resource.spec.get("deletionPolicy") != DeletionPolicy.DELETE:
            return None
        store_name = resource.spec.get("store", STORE_DEFAULT)
        if not isinstance(store_name, str) or store_name not in self._writers:
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
        row = await self._writers[store_name].mark(group_id, owner, GroupState.PURGING)
        self._directory.put(store_name, row)
        return False


def is_an_earlier_ones(row: Group, registered: Registered, resource: Resource) -> bool:
    """Whether an earlier resource of the same name left the row behind, active: a resource never changes its count.

    What was handed over to a resource that had been told of the conflict is its own, and goes on until somebody decides.
    """
    mismatch = registered.blocked is not None and registered.blocked.reason is GroupReason.SHARDS_MISMATCH
    if row.state is not GroupState.ACTIVE or not mismatch or registered.adopted_from is not None:
        return False
    ready = condition_of(published_status(resource), ConditionType.READY)
    return ready is None or ready.reason not in (GroupReason.GROUP_ID_CONFLICT, GroupReason.SHARDS_MISMATCH)
