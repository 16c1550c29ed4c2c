"""The interfaces between the operator's parts: what reconciles a kind, what finds a group, what writes to Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from pydantic import JsonValue

from durable_timer.models.group import Group
from durable_timer.models.resource import Resource, ResourceKey, ResourceKind
from durable_timer.stores.base import Store

Stores = Mapping[str, Store]
"""The operator's stores by the names that `spec.store` uses."""


class Reconciler(Protocol):
    """Brings what one kind of resource declares into the store, and its status back."""

    async def reconcile(self, resource: Resource) -> timedelta | None:
        """Reconciles the whole spec of the resource as it is now; idempotent.

        What is wrong with the resource or its surroundings (an invalid spec, a store that is away, a group that is not
        there) becomes a condition in its status and is no exception. `resource` is the newest that the cache has, of one
        key never two at a time.

        Returns:
            After how long at the latest it wants to be called again; None when only a change needs it.

        Raises:
            KubeError, StoreError: Something that passes; the queue calls again, by a back-off.
        """
        ...

    def concerned(self, key: ResourceKey) -> bool:
        """Whether there is anything left to do once the resource is gone: nobody looks for it otherwise."""
        ...

    async def absent(self, key: ResourceKey) -> None:
        """The resource is gone for sure (`reconcile.absence`), or another time told so: idempotent. Raises as above."""
        ...


@dataclass(frozen=True, slots=True)
class RegisteredGroup:
    """A group's row, in which of the operator's stores it is, and the TimerGroup that registered it."""

    store: Store
    store_name: str
    group: Group
    namespace: str
    name: str


class GroupDirectory(Protocol):
    """The groups that TimerGroups registered, as the stores said a second ago."""

    def find(self, namespace: str, name: str) -> RegisteredGroup | None:
        """The group of the TimerGroup of that name: a deleted or purging one too; None when it registered none.

        Timers of a group are queued again when its row appears or changes.
        """
        ...

    def away(self, store_name: str) -> str | None:
        """Why a store cannot be reached; None while it answers. Its Timers are queued again when it does."""
        ...

    def read_once(self, store_name: str) -> bool:
        """Whether the groups of a store were ever read: until then `find` knows none of them."""
        ...


class ResourceApi(Protocol):
    """The writes and reads that reconciling needs of Kubernetes (`kube.resources.Resources`)."""

    async def list(self, kind: ResourceKind, namespace: str | None) -> list[Resource]:
        """All of a namespace (of all for None), complete. Raises: KubeError."""
        ...

    async def get(self, kind: ResourceKind, namespace: str, name: str) -> Resource | None:
        """None when the API server says that there is none. Raises: KubeError."""
        ...

    async def write_status(self, resource: Resource, status: Mapping[str, JsonValue]) -> Resource | None:
        """Makes the status what is given, on condition that nobody wrote since; None when there is nothing to write.

        Raises: KubeConflict, KubeGone, KubeError.
        """
        ...

    async def set_finalizer(self, resource: Resource, *, present: bool) -> Resource:
        """Adds or removes our finalizer. Raises: KubeConflict, KubeGone, KubeError."""
        ...

    async def event(self, resource: Resource, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Publishes an Event about the resource; never raises."""
        ...
