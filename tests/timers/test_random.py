"""Everything at once: people, two operators that both believe to lead, and an executor, on each store."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from durable_timer.errors import KubeConflict, KubeGone
from durable_timer.models.instants import format_instant
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.resource import REDRIVE_REQUESTED, RUN_REQUESTED
from durable_timer.models.timer import TimerState
from durable_timer.reconcile.timers import TimerReconciler
from tests.stores.contract.world import Executor, unique
from tests.support.waiting import eventually
from tests.timers.cluster import Cluster, key_of
from tests.timers.test_reconcile import one_shot

NAMES = [f"t{number}" for number in range(6)]
DEEDS = 150
PAST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Storm:
    """Due one-shots only, so that each start of an occurrence shows.

    `causes` has, for each occurrence that was delivered, what may have started it: the row, the time that was declared
    (never the same twice) and the redrive that was asked for last.
    """

    cluster: Cluster
    executor: Executor
    rng: random.Random
    causes: dict[tuple[int, int], tuple[int, datetime | None, str | None]] = field(default_factory=dict)
    strays: set[str] = field(default_factory=set)
    """Deleted before our finalizer was on them, when a row of an earlier cluster may be there: that one stays."""
    seconds: int = 0
    over: bool = False

    async def people(self) -> None:
        for _ in range(DEEDS):
            self._act(self.rng.choice(NAMES))
            for _ in range(self.rng.randrange(4)):
                await asyncio.sleep(0)
        self.over = True

    def _act(self, name: str) -> None:
        api, known = self.cluster.api, self.cluster.api.objects.get(key_of(name))
        if known is None:
            api.apply(name, one_shot(self.new_time()))
            return
        if known.deleting:
            return
        spec, annotations = dict(known.spec), dict(known.annotations)
        match self.rng.choice(["time", "label", "label", "run", "redrive", "delete", "anew", "forget"]):
            case "time":
                spec["executeAt"] = self.new_time()
            case "label":
                spec["labels"] = {"n": str(self.rng.randrange(1000))}
            case "run":
                annotations[RUN_REQUESTED] = unique("r")
            case "redrive":
                annotations[REDRIVE_REQUESTED] = unique("r")
            case "delete":
                api.remove(name)
                if not known.finalizers:
                    self.strays.add(name)
                return
            case "anew":
                api.objects[known.key] = replace(known, uid=unique("uid"), generation=1, status={}, finalizers=())
                return
            case _:
                api.objects[known.key] = replace(known, status={})
                return
        api.apply(name, spec, annotations)

    def new_time(self) -> str:
        self.seconds += 1
        return format_instant(PAST + timedelta(seconds=self.seconds))

    async def operate(self, operator: TimerReconciler) -> None:
        while not self.over:
            await self.reconcile(operator, self.rng.choice(NAMES))
            await asyncio.sleep(0)

    async def reconcile(self, operator: TimerReconciler, name: str) -> None:
        resource = self.cluster.api.objects.get(key_of(name))
        try:
            if resource is None:
                await operator.absent(key_of(name))
            else:
                await operator.reconcile(resource)
        except (KubeConflict, KubeGone):
            pass

    async def execute(self) -> None:
        while not self.over:
            await self.deliver()
            await asyncio.sleep(0)

    async def deliver(self) -> int:
        taken = (await self.executor.take()).timers
        for timer in taken:
            row = await self.cluster.world.row(timer.timer_id)
            assert row.managed_by is not None
            cause = timer.uid, row.managed_by.execute_at, row.managed_by.redrive_request
            self.causes[timer.uid, timer.occurrence] = cause
            kind = self.rng.choice([OutcomeKind.COMPLETED, OutcomeKind.FAILED])
            await self.executor.settle(timer, kind, attempt=1)
        return len(taken)

    async def is_calm(self) -> bool:
        """Whether one more round of everything finds nothing to do."""
        before = +self.cluster.api.writes
        for name in NAMES:
            await self.reconcile(self.cluster.timers, name)
        return await self.deliver() == 0 and self.cluster.api.writes == before


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_fires_that_was_not_asked_for_and_all_ends_as_declared(
    cluster: Cluster, executor: Executor, seed: int
) -> None:
    storm = Storm(cluster, executor, random.Random(seed))
    await asyncio.gather(
        storm.people(), storm.operate(cluster.timers), storm.operate(cluster.operator()), storm.execute()
    )
    await eventually(storm.is_calm, 20.0)
    assert len(storm.causes) == len(set(storm.causes.values()))
    for name in NAMES:
        row, resource = await cluster.find(name), cluster.api.objects.get(key_of(name))
        if resource is None:
            assert row is None or name in storm.strays
            continue
        assert cluster.is_ready(name), cluster.api.status(name)
        assert row is not None
        assert row.managed_by is not None
        assert (row.managed_by.uid, row.managed_by.generation) == (resource.uid, resource.generation)
        assert (row.labels or {}) == resource.spec.get("labels", {})
        assert row.state in {TimerState.COMPLETED, TimerState.FAILED}
        assert cluster.api.status(name).state == row.state.value
