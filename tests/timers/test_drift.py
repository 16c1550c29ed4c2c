"""The comparison of all Timers with their rows."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.resource import Resource, ResourceKey, ResourceKind
from durable_timer.models.results import Target, WhenRunning
from durable_timer.models.timer import TimerChange
from durable_timer.reconcile.drift import PAGE, Drift
from tests.stores.contract.world import Executor
from tests.timers.cluster import Cluster, key_of
from tests.timers.test_reconcile import one_shot, schedule, soon


class Source:
    """All resources of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def of_kind(self, kind: ResourceKind) -> tuple[Resource, ...]:
        return tuple(self._cluster.api.objects.values())


def drift(cluster: Cluster) -> tuple[Drift, list[ResourceKey]]:
    found: list[ResourceKey] = []
    return Drift(Source(cluster), cluster.timers, found.append, cluster.clock, pause=0), found


async def lose(cluster: Cluster, name: str = "t") -> None:
    target = Target(f"k8s:shop:{name}")
    await cluster.world.store.delete(cluster.world.group_id, [target], WhenRunning.REFUSE, managed=True)


async def change(cluster: Cluster) -> None:
    by_hand = TimerChange(callback_url="http://by-hand.example/")
    await cluster.world.store.update(cluster.world.group_id, Target("k8s:shop:t"), by_hand, managed=True)


async def wipe_status(cluster: Cluster) -> None:
    cluster.api.objects[key_of("t")] = replace(cluster.api.objects[key_of("t")], status={})


async def release(cluster: Cluster) -> None:
    row = await cluster.row("t")
    by_hand = TimerChange(declared=(row.fingerprint, None))
    await cluster.world.store.update(cluster.world.group_id, Target("k8s:shop:t"), by_hand, managed=True)


@pytest.mark.parametrize("spec", [one_shot(soon()), schedule()], ids=["one-shot", "schedule"])
@pytest.mark.parametrize("damage", [lose, change, wipe_status, release])
async def test_what_was_lost_or_changed_by_hand_is_found_and_repaired(
    cluster: Cluster, damage: Callable[[Cluster], Awaitable[None]], spec: dict[str, object]
) -> None:
    await cluster.apply("t", spec)
    await cluster.apply("other", spec)
    right, status = await cluster.row("t"), cluster.api.status("t")
    comparison, found = drift(cluster)
    assert await comparison.compare() == 0
    await damage(cluster)
    assert await comparison.compare() == 1
    assert found == [key_of("t")]
    await cluster.reconcile("t")
    row = await cluster.row("t")
    assert (row.callback_url, row.execute_at, row.managed_by) == (
        right.callback_url, right.execute_at, right.managed_by,
    )  # fmt: skip
    assert [known.type for known in cluster.api.status("t").conditions] == [known.type for known in status.conditions]
    assert await comparison.compare() == 0


async def test_a_status_that_lags_behind_its_row_is_found(cluster: Cluster, executor: Executor) -> None:
    await cluster.apply("t", one_shot())
    comparison, _ = drift(cluster)
    await executor.settle(await executor.take_one(), OutcomeKind.COMPLETED, attempt=1)
    assert await comparison.compare() == 1
    await cluster.reconcile("t")
    assert cluster.api.status("t").state == "completed"
    assert await comparison.compare() == 0


async def test_a_one_shot_that_has_fired_is_not_made_again(cluster: Cluster, executor: Executor) -> None:
    await cluster.apply("t", one_shot())
    await executor.settle(await executor.take_one(), OutcomeKind.COMPLETED, attempt=1)
    await cluster.reconcile("t")
    await lose(cluster)
    comparison, _ = drift(cluster)
    await comparison.compare()
    await cluster.reconcile("t")
    assert await cluster.find("t") is None
    assert cluster.is_ready("t")
    assert (cluster.api.status("t").state, cluster.api.status("t").last_outcome) == ("completed", "completed")
    assert await comparison.compare() == 0


async def test_a_pass_reads_pages_and_writes_nothing(cluster: Cluster) -> None:
    names = [f"t{number}" for number in range(2 * PAGE + 1)]
    for name in names:
        cluster.api.apply(name, one_shot(soon()))
    await asyncio.gather(*(cluster.reconcile(name) for name in names))
    written = +cluster.api.writes
    cluster.store.calls.clear()
    comparison, _ = drift(cluster)
    assert await comparison.compare() == 0
    assert cluster.api.writes == written
    assert set(cluster.store.calls) <= {"get", "now"}
    assert cluster.store.calls["get"] == 3
    assert cluster.store.calls["now"] <= 1


async def test_a_store_that_is_away_is_left_to_the_next_pass(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    comparison, _ = drift(cluster)
    cluster.store.away = True
    assert await comparison.compare() == 0
    cluster.store.away = False
    await lose(cluster)
    assert await comparison.compare() == 1


async def test_passes_follow_each_other(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    seen = asyncio.Event()
    comparison = Drift(Source(cluster), cluster.timers, lambda _: seen.set(), cluster.clock, every=0.01, pause=0)
    running = asyncio.create_task(comparison.run())
    try:
        await lose(cluster)
        async with asyncio.timeout(timedelta(seconds=10).total_seconds()):
            await seen.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_one_that_is_soon_due_is_looked_at_for_its_outcome(cluster: Cluster) -> None:
    await cluster.apply("near", one_shot(soon(timedelta(seconds=90))))
    await cluster.apply("far", one_shot(soon()))
    comparison, found = drift(cluster)
    await comparison.compare()
    assert found == [key_of("near")]
    again = await cluster.reconcile("near")
    assert again is not None
    assert timedelta(seconds=60) < again < timedelta(seconds=95)
    assert await cluster.reconcile("far") is None
