"""The operator's core in virtual time: the memory store, an API server that keeps objects, executors that follow plans."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from durable_timer.errors import StoreError, StoreUnavailable
from durable_timer.metrics_operator import OperatorMetrics
from durable_timer.models.group import Group
from durable_timer.models.ownership import Claim, Member, MemberReport, Shard, ShardKey
from durable_timer.models.resource import FINALIZER, Resource, ResourceKey, ResourceKind
from durable_timer.models.status import Condition, TimerGroupStatus
from durable_timer.planning.assignment import plan
from durable_timer.reconcile.core import Core, CoreSettings
from durable_timer.stores.memory.database import MemoryDatabase
from durable_timer.stores.memory.store import MemoryStore
from tests.simulation.clocks import ProcessClock, StoreClock
from tests.simulation.loop import Process, VirtualLoop
from tests.support.resources import KeptObjects

NAMESPACE = "shop"
POOL = "default"
BEAT = 0.5


class Api(KeptObjects):
    """`reconcile.base.ResourceApi`, with the API server's rules about versions, generations and finalizers.

    `heard` is told of each object that was written, and of those that went: as a watch would.
    """

    def __init__(self, now: Callable[[], Any]) -> None:
        super().__init__()
        self.hidden: set[ResourceKey] = set()
        """Objects that lists leave out."""
        self.lists: Counter[ResourceKind] = Counter()
        """How often each kind was listed."""
        self.events: list[tuple[str, str]] = []
        self.heard: Callable[[Resource, bool], None] = lambda resource, gone: None
        self._now = now
        self._made = 0

    def apply(
        self,
        name: str,
        spec: Mapping[str, Any],
        annotations: Mapping[str, str] | None = None,
        kind: ResourceKind = ResourceKind.TIMER_GROUP,
    ) -> None:
        key = key_of(name, kind)
        known = self.objects.get(key)
        if known is None:
            self._made += 1
            known = Resource(
                key.kind, key.namespace, name, f"uid-{self._made}", 0, "0", {}, {}, (), False, self._now(), {}, {}
            )
        generation = known.generation + (known.generation == 0 or spec != known.spec)
        told = dict(annotations or known.annotations)
        self._keep(replace(known, spec=dict(spec), generation=generation, annotations=told))

    def delete(self, name: str, kind: ResourceKind = ResourceKind.TIMER_GROUP) -> None:
        known = self.objects[key_of(name, kind)]
        if known.finalizers:
            self._keep(replace(known, deleting=True, deletion_requested=self._now()))
        else:
            self._drop(known)

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        self._keep(replace(self.objects[key_of(name)], status=status))

    async def list(self, kind: ResourceKind, namespace: str | None) -> list[Resource]:
        self.lists[kind] += 1
        return [
            one
            for key, one in self.objects.items()
            if key.kind is kind and key not in self.hidden and namespace in (None, key.namespace)
        ]

    async def set_finalizer(self, resource: Resource, *, present: bool) -> Resource:
        if (FINALIZER in resource.finalizers) is present:
            return resource
        changed = replace(self._present(resource), finalizers=(FINALIZER,) if present else ())
        self.writes["finalizer"] += 1
        if changed.deleting and not present:
            self._drop(changed)
            return changed
        return self._keep(changed)

    async def event(self, resource: Resource, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.events.append((resource.name, reason))

    def _keep(self, resource: Resource) -> Resource:
        kept = super()._keep(resource)
        self.heard(kept, False)
        return kept

    def _drop(self, resource: Resource) -> None:
        del self.objects[resource.key]
        self.heard(resource, True)


class Executor:
    """A member that claims what it should own, and gives back what it should not."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(name)
        self.draining = False
        self.lateness: dict[str, float] = {}
        self.unreadable: tuple[str, ...] = ()
        self._task = world.loop.spawn(self.process, self._run(), name)

    def crash(self) -> None:
        self.world.loop.crash(self.process)

    async def _run(self) -> None:
        store = MemoryStore(self.world.database)
        await store.join(Member(self.name, self.name, POOL, None, 0, False, False, MemberReport()))
        beat = 0
        while True:
            beat += 1
            newest = (await store.groups(None))[1]
            report = MemberReport("", self.unreadable, dict(self.lateness), newest)
            answer = await store.beat(self.name, beat, draining=self.draining, report=report)
            if answer is None:
                return
            await self._follow(store, list(answer.members))
            await asyncio.sleep(BEAT)

    async def _follow(self, store: MemoryStore, members: list[Member]) -> None:
        shards, _ = await store.shards(POOL)
        active = {g.group_id for g in (await store.groups(None))[0] if g.state == "active"}
        should = plan(members, shards)
        alive = {member.incarnation for member in members if not member.dead}

        def mine(row: Shard) -> bool:
            return should[row.key] == self.name and row.group_id in active

        given = [Claim(*row.key, row.epoch) for row in shards if row.owner == self.name and not mine(row)]
        await store.release(given, self.name, timedelta(seconds=5))
        wanted = [row for row in shards if mine(row) and row.owner != self.name and row.owner not in alive]
        await store.claim([Claim(*row.key, row.epoch) for row in wanted], self.name)


class World:
    """One cluster, a store with executors by name and a second one without, and an operator that leads."""

    def __init__(self, *, cluster: str = "default", namespaces: tuple[str, ...] = ()) -> None:
        self.loop = VirtualLoop()
        self.store_clock = StoreClock(self.loop)
        self.database = MemoryDatabase(self.store_clock.now, random.Random(1))
        self.away = False
        self.refused: set[str] = set()
        """Calls that fail while the store answers all others."""
        self.calls: Counter[str] = Counter()
        self.store = MemoryStore(self.database, hooks=_Away(self))
        self.second = MemoryDatabase(self.store_clock.now, random.Random(3))
        self.api = Api(self.store_clock.now)
        self.metrics = OperatorMetrics()
        self.leading = True
        self.executors: dict[str, Executor] = {}
        self._settings = CoreSettings(cluster, namespaces, "operator", timedelta(seconds=10))
        self.process = Process("operator")
        self.core = self._start()

    def _start(self) -> Core:
        clock = ProcessClock(self.loop, start=1000.0, offset=0.0)
        core = Core(
            {"default": self.store, "second": MemoryStore(self.second)},
            self.api,
            self._settings,
            clock,
            random.Random(2),
            self.metrics,
            lambda: self.leading,
        )
        self._task = self.loop.spawn(self.process, core.run(), "core")
        self.api.heard = lambda resource, gone: core.deleted(resource) if gone else core.saw(resource)
        for resource in self.api.objects.values():
            core.saw(resource)
        return core

    def restart(self) -> None:
        """A new operator process, the old one being gone."""
        self.loop.crash(self.process)
        self.start_another()

    def start_another(self) -> None:
        """A new operator process beside the old one."""
        self.process = Process("operator")
        self.core = self._start()

    def become(self, *, cluster: str = "default", namespaces: tuple[str, ...] = ()) -> None:
        """A new operator process with other settings."""
        self._settings = replace(self._settings, cluster=cluster, namespaces=namespaces)
        self.restart()

    def executor(self, name: str) -> Executor:
        made = self.executors[name] = Executor(self, name)
        return made

    def wait(self, done: Callable[[], object], within: float = 30.0) -> None:
        """Runs until that holds; an error when it does not in time."""
        assert self.loop.run_until(lambda: bool(done()), self.loop.time() + within), "not in time"

    def pass_time(self, seconds: float) -> None:
        self.loop.run_until(lambda: False, self.loop.time() + seconds)

    def status(self, name: str) -> TimerGroupStatus:
        return TimerGroupStatus.model_validate(dict(self.api.objects[key_of(name)].status))

    def condition(self, name: str, type_: str = "Ready") -> Condition | None:
        return next((one for one in self.status(name).conditions if one.type == type_), None)

    def reason(self, name: str, type_: str = "Ready") -> str | None:
        found = self.condition(name, type_)
        return found.reason if found is not None else None

    def group(self, group_id: str) -> Group:
        return self.database.groups[group_id]

    def owners(self) -> dict[ShardKey, str | None]:
        return {key: row.owner for key, row in self.database.shards.items()}

    def epochs(self) -> dict[ShardKey, int]:
        return {key: row.epoch for key, row in self.database.shards.items()}

    def assigned(self) -> dict[ShardKey, str | None]:
        return {key: row.assigned_to for key, row in self.database.shards.items()}

    def term(self) -> int:
        return max(row.plan_term for row in self.database.shards.values())

    def settled(self, *names: str) -> bool:
        """Whether all shards are owned by exactly these executors, as assigned."""
        rows = list(self.database.shards.values())
        return {row.owner for row in rows} == set(names) and all(row.owner == row.assigned_to for row in rows)


class _Away:
    """Hooks of a store that can be taken away."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def before(self, name: str) -> None:
        self._world.calls[name] += 1
        if self._world.away:
            raise StoreUnavailable("away")
        if name in self._world.refused:
            raise StoreError("refused")

    async def after(self, name: str) -> None:
        """Nothing happens after a commit."""


def key_of(name: str, kind: ResourceKind = ResourceKind.TIMER_GROUP) -> ResourceKey:
    return ResourceKey(kind, NAMESPACE, name)


def owner_of(name: str, cluster: str = "default") -> str:
    return f"{cluster}/{NAMESPACE}/{name}"
