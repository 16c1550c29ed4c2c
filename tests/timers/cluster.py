"""A cluster as far as Timers need one: an API server that keeps objects and versions, and what the operator does on it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from durable_timer.clock import SystemClock
from durable_timer.errors import KubeUnavailable, StoreUnavailable
from durable_timer.models.resource import FINALIZER, Resource, ResourceKey, ResourceKind
from durable_timer.models.status import ConditionStatus, TimerStatus
from durable_timer.models.timer import Timer
from durable_timer.planning.declared import timer_id_of
from durable_timer.reconcile.base import RegisteredGroup
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.timers import TimerReconciler
from tests.stores.contract.world import World, unique
from tests.support.resources import KeptObjects

NAMESPACE = "shop"


class Api(KeptObjects):
    """`reconcile.base.ResourceApi`, with the API server's rules about versions, generations and finalizers."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str, str]] = []
        self.down = False

    def apply(self, name: str, spec: dict[str, Any], annotations: Mapping[str, str] | None = None) -> Resource:
        known = self.objects.get(key_of(name))
        if known is None:
            made = Resource(
                ResourceKind.TIMER, NAMESPACE, name, unique("uid"), 1, "0", {}, dict(annotations or {}), (), False,
                datetime.now(UTC), spec, {},
            )  # fmt: skip
            return self._keep(made)
        generation = known.generation + (spec != known.spec)
        told = dict(known.annotations if annotations is None else annotations)
        return self._keep(replace(known, spec=spec, generation=generation, annotations=told))

    def remove(self, name: str) -> None:
        known = self.objects[key_of(name)]
        if known.finalizers:
            self._keep(replace(known, deleting=True))
        else:
            del self.objects[known.key]

    def status(self, name: str) -> TimerStatus:
        return TimerStatus.model_validate(dict(self.objects[key_of(name)].status))

    async def list(self, kind: ResourceKind, namespace: str | None) -> list[Resource]:
        return list(self.objects.values())

    async def set_finalizer(self, resource: Resource, *, present: bool) -> Resource:
        there = self._present(resource)
        self.writes["finalizer"] += 1
        changed = replace(there, finalizers=(FINALIZER,) if present else ())
        if changed.deleting and not present:
            del self.objects[resource.key]
            return changed
        return self._keep(changed)

    async def event(self, resource: Resource, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.events.append((type_, reason, message))

    def _present(self, resource: Resource) -> Resource:
        if self.down:
            raise KubeUnavailable("down")
        return super()._present(resource)


def key_of(name: str) -> ResourceKey:
    return ResourceKey(ResourceKind.TIMER, NAMESPACE, name)


class Switch:
    """A store that can be taken away; counts its calls."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.away = False
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not callable(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if self.away:
                raise StoreUnavailable("away")
            return await method(*args, **kwargs)

        return call


class MovedClock(SystemClock):
    """The machine's, and how far it was moved."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Groups:
    """`reconcile.base.GroupDirectory`, by what it is told."""

    def __init__(self) -> None:
        self.known: dict[str, RegisteredGroup] = {}
        self.away_stores: dict[str, str] = {}
        self.unread: set[str] = set()

    def away(self, store_name: str) -> str | None:
        return self.away_stores.get(store_name)

    def read_once(self, store_name: str) -> bool:
        return store_name not in self.unread

    def find(self, namespace: str, name: str) -> RegisteredGroup | None:
        return self.known.get(name) if namespace == NAMESPACE else None


@dataclass
class Cluster:
    """One cluster, its operator, and the store of `world`, where the group `orders` is registered."""

    world: World
    api: Api = field(default_factory=Api)
    groups: Groups = field(default_factory=Groups)
    clock: MovedClock = field(default_factory=MovedClock)
    leads: bool = True

    def __post_init__(self) -> None:
        self.store = Switch(self.world.store)
        self.timers = self.operator()

    def leading(self) -> bool:
        return self.leads

    def operator(self) -> TimerReconciler:
        """A new leader."""
        return TimerReconciler(
            {"default": self.store}, self.api, ResourceCache(), self.groups, self.clock, self.leading
        )

    async def register(self) -> None:
        """Lets the directory read the group as it is."""
        rows, _ = await self.world.store.groups(None)
        row = next(row for row in rows if row.group_id == self.world.group_id)
        self.groups.known["orders"] = RegisteredGroup(self.store, "default", row, NAMESPACE, "orders")

    async def reconcile(self, name: str) -> timedelta | None:
        return await self.timers.reconcile(self.api.objects[key_of(name)])

    async def apply(self, name: str, spec: dict[str, Any], annotations: Mapping[str, str] | None = None) -> TimerStatus:
        """Applies a Timer and reconciles it."""
        self.api.apply(name, spec, annotations)
        await self.reconcile(name)
        return self.api.status(name)

    async def find(self, name: str) -> Timer | None:
        return await self.world.find(timer_id_of(NAMESPACE, name))

    async def row(self, name: str) -> Timer:
        return await self.world.row(timer_id_of(NAMESPACE, name))

    def condition(self, name: str, type_: str) -> tuple[str, str] | None:
        """Status and reason; None where there is none."""
        found = [known for known in self.api.status(name).conditions if known.type == type_]
        return (found[0].status.value, found[0].reason) if found else None

    def is_ready(self, name: str) -> bool:
        return self.condition(name, "Ready") == (ConditionStatus.TRUE.value, "Declared")
