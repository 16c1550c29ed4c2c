"""The end of a Timer: its row goes, or becomes an ordinary one; then our finalizer comes off."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final, assert_never

from durable_timer.clock import Clock
from durable_timer.errors import KubeGone, StoreError, StoreUnavailable
from durable_timer.models.group import GroupState
from durable_timer.models.manifest import DeletionPolicy
from durable_timer.models.resource import FINALIZER, Resource
from durable_timer.models.results import Target
from durable_timer.planning.declaration import Drop, Release, decide_deletion
from durable_timer.planning.declared import group_name, timer_id_of
from durable_timer.reconcile.base import GroupDirectory, RegisteredGroup, ResourceApi
from durable_timer.reconcile.gathering import StoreRows

GIVE_UP_AFTER: Final = 600.0
"""Seconds for which a deletion waits for a store that is away; then the resource goes, and its row stays behind."""

_TRIES: Final = 8


class TimerDeletion:
    """Deletes what Timers declared, in whatever state their groups are."""

    def __init__(
        self, api: ResourceApi, directory: GroupDirectory, store_names: Sequence[str], rows: StoreRows, clock: Clock
    ) -> None:
        self._api = api
        self._directory = directory
        self._store_names = store_names
        self._rows = rows
        self._clock = clock
        self._waiting_since: dict[str, float] = {}

    async def finish(self, resource: Resource) -> bool:
        """Deals with the row of a resource that is being deleted, and lets it go; whether nothing is left to do then.

        False when it had to be let go without its row, because the store has been away for ten minutes, and where
        somebody took our finalizer off: its row is dealt with when the resource is gone.

        Raises:
            StoreError: The store is away, for a shorter time yet.
            KubeError: Something that passes.
        """
        if FINALIZER not in resource.finalizers:
            return False
        done = await self._row_is_gone(resource)
        with contextlib.suppress(KubeGone):
            await self._api.set_finalizer(resource, present=False)
        self._waiting_since.pop(resource.uid, None)
        return done

    async def let_row_go(self, resource: Resource) -> None:
        """Deletes the row that this very object declared, or releases it, by its policy.

        That there is no row is known only where its group is active, or the groups of all stores have been read.

        Raises:
            StoreError: It may be in a store that does not answer; what the others have of it was dealt with.
        """
        group = self._group(resource)
        settled = group is not None and group.group.state is GroupState.ACTIVE
        failure: StoreError | None = None
        for store_name, group_id in self._places(resource, group):
            try:
                settled = await self._let_go(resource, store_name, group_id) or settled
            except StoreError as error:
                failure = error
        if failure is None and not settled:
            failure = self._unread()
        if failure is not None:
            raise failure

    def _unread(self) -> StoreError | None:
        for name in self._store_names:
            if not self._directory.read_once(name):
                return StoreUnavailable(self._directory.away(name) or f"store {name!r} was not read yet")
        return None

    def _group(self, resource: Resource) -> RegisteredGroup | None:
        name = group_name(resource.spec)
        return None if name is None else self._directory.find(resource.namespace, name)

    async def _row_is_gone(self, resource: Resource) -> bool:
        try:
            await self.let_row_go(resource)
        except StoreError as error:
            since = self._waiting_since.setdefault(resource.uid, self._clock.monotonic())
            if self._clock.monotonic() - since < GIVE_UP_AFTER:
                raise
            timer_id = timer_id_of(resource.namespace, resource.name)
            message = f"it goes without its row {timer_id}, because its store has been away for ten minutes: {error}"
            await self._api.event(resource, "Warning", "RowLeft", message)
            return False
        return True

    def _places(self, resource: Resource, found: RegisteredGroup | None) -> list[tuple[str, str]]:
        """Where its row may be, as stores and group ids: in its group, or in the one that its status names."""
        places = [] if found is None else [(found.store_name, found.group.group_id)]
        noted = resource.status.get("groupId")
        if isinstance(noted, str) and (found is None or found.group.group_id != noted):
            places += [(store_name, noted) for store_name in self._store_names]
        return places

    async def _let_go(self, resource: Resource, store_name: str, group_id: str) -> bool:
        """Whether there was a row to let go. Raises: StoreError."""
        if (away := self._directory.away(store_name)) is not None:
            raise StoreUnavailable(away)
        timer_id = timer_id_of(resource.namespace, resource.name)
        rows = self._rows.of(store_name, group_id)
        row = await rows.get(timer_id)
        for tries in range(_TRIES):
            step = decide_deletion(resource.uid, _policy(resource), row, adopting=_adopts(resource))
            match step:
                case None:
                    return tries > 0
                case Drop(version):
                    dropped = await rows.delete(Target(timer_id, version))
                    if dropped.refusal is None:
                        return True
                    row = dropped.timer
                case Release(change, version):
                    row = (await rows.update(Target(timer_id, version), change)).timer
                case _:
                    assert_never(step)
        raise StoreUnavailable(f"somebody else keeps writing the row of {timer_id}")


def _policy(resource: Resource) -> DeletionPolicy:
    retained = resource.spec.get("deletionPolicy") == DeletionPolicy.RETAIN.value
    return DeletionPolicy.RETAIN if retained else DeletionPolicy.DELETE


def _adopts(resource: Resource) -> bool:
    """Whether it was about to declare a row, and never had."""
    return FINALIZER in resource.finalizers and resource.status.get("declaredGeneration") is None
