"""The end of Timers: both policies, in every state of row, group and store."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import JsonValue

from durable_timer.errors import StoreUnavailable
from durable_timer.models.group import GroupState
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.resource import FINALIZER
from durable_timer.models.results import Target, WhenRunning
from durable_timer.models.timer import TimerChange, TimerState
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.timer_deletion import GIVE_UP_AFTER
from durable_timer.reconcile.timers import TimerReconciler
from tests.stores.contract.world import LATER, Executor
from tests.timers.cluster import Cluster, key_of
from tests.timers.test_reconcile import one_shot, schedule, soon

RETAIN = {"deletionPolicy": "Retain"}


async def delete(cluster: Cluster, name: str = "t") -> None:
    cluster.api.remove(name)
    await cluster.reconcile(name)


@pytest.mark.parametrize("state", [GroupState.ACTIVE, GroupState.DELETED, GroupState.PURGING])
async def test_a_row_goes_with_its_resource_in_any_state_of_the_group(cluster: Cluster, state: GroupState) -> None:
    await cluster.apply("t", one_shot(soon()))
    if state is not GroupState.ACTIVE:
        await cluster.world.store.set_group_state(cluster.world.group_id, cluster.world.owner, state)
        await cluster.register()
        await cluster.reconcile("t")
        assert cluster.condition("t", "Ready") == ("False", "GroupNotReady")
    await delete(cluster)
    assert await cluster.find("t") is None
    assert cluster.api.objects == {}


async def test_a_running_one_is_stopped_after_its_delivery(cluster: Cluster, executor: Executor) -> None:
    await cluster.apply("t", schedule(), {"durabletimer.dev/run-requested-at": "now"})
    taken = await executor.take_one()
    await delete(cluster)
    assert cluster.api.objects == {}
    assert (await cluster.row("t")).cancel_requested
    at = await cluster.world.store.now() + LATER
    await executor.settle(taken, OutcomeKind.NEXT, attempt=1, at=at)
    assert await cluster.find("t") is None


async def test_one_applied_again_meanwhile_waits_for_that_and_is_declared(cluster: Cluster, executor: Executor) -> None:
    await cluster.apply("t", one_shot())
    taken = await executor.take_one()
    await delete(cluster)
    cluster.api.apply("t", one_shot(soon()))
    assert await cluster.reconcile("t") == timedelta(seconds=1)
    assert cluster.condition("t", "Ready") == ("False", "Running")
    await executor.settle(taken, OutcomeKind.COMPLETED, attempt=1)
    await cluster.reconcile("t")
    assert cluster.is_ready("t")
    assert (await cluster.row("t")).uid != taken.uid


async def test_one_of_a_cluster_built_anew_goes_also_before_its_running_row_is_adopted(
    cluster: Cluster, executor: Executor
) -> None:
    await cluster.apply("t", one_shot())
    taken = await executor.take_one()
    anew = Cluster(cluster.world)
    await anew.register()
    await anew.apply("t", one_shot())
    assert anew.condition("t", "Ready") == ("False", "Running")
    await delete(anew)
    assert anew.api.objects == {}
    await executor.settle(taken, OutcomeKind.FAILED, attempt=1)
    assert await anew.find("t") is None


@pytest.mark.parametrize("running", [False, True])
async def test_a_retained_row_goes_on_as_an_ordinary_one(
    cluster: Cluster, executor: Executor, *, running: bool
) -> None:
    await cluster.apply("t", one_shot(**RETAIN))
    taken = await executor.take_one() if running else None
    await delete(cluster)
    assert cluster.api.objects == {}
    assert (await cluster.row("t")).managed_by is None
    if taken is None:
        taken = await executor.take_one()
    await executor.settle(taken, OutcomeKind.COMPLETED, attempt=1)
    assert (await cluster.row("t")).state is TimerState.COMPLETED
    change = TimerChange(labels={"a": "b"})
    assert (await cluster.world.store.update(cluster.world.group_id, Target("k8s:shop:t"), change)).refusal is not None
    await cluster.world.pass_time(LATER)
    await cluster.world.store.purge(cluster.world.group_id, timedelta(0), timedelta(0), 10)
    assert await cluster.find("t") is None


async def test_a_retained_pending_one_can_be_changed_by_anybody(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon(), **RETAIN))
    await delete(cluster)
    result = await cluster.world.store.update(
        cluster.world.group_id, Target("k8s:shop:t"), TimerChange(labels={"a": "b"})
    )
    assert result.refusal is None


class TestNothingBlocksIt:
    async def test_a_group_that_was_never_there(self, cluster: Cluster) -> None:
        cluster.groups.known.clear()
        cluster.api.apply("t", one_shot())
        await cluster.reconcile("t")
        cluster.api.remove("t")
        assert cluster.api.objects == {}

    async def test_a_group_that_is_there_no_more_is_found_by_the_status(self, cluster: Cluster) -> None:
        await cluster.apply("t", one_shot(soon()))
        cluster.groups.known.clear()
        await delete(cluster)
        assert cluster.api.objects == {}
        assert await cluster.find("t") is None

    async def test_a_spec_that_cannot_be_read(self, cluster: Cluster) -> None:
        await cluster.apply("t", one_shot(soon()))
        cluster.api.apply("t", one_shot(soon(), callbackUrl="nonsense", payload=2**80))
        await delete(cluster)
        assert cluster.api.objects == {}
        assert await cluster.find("t") is None

    async def test_a_store_that_is_away_is_waited_for_and_not_for_ever(self, cluster: Cluster) -> None:
        await cluster.apply("t", one_shot(soon()))
        cluster.store.away = True
        cluster.api.remove("t")
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await cluster.reconcile("t")
        assert cluster.api.objects[key_of("t")].finalizers == (FINALIZER,)
        cluster.clock.ahead = GIVE_UP_AFTER
        await cluster.reconcile("t")
        assert cluster.api.objects == {}
        assert ("Warning", "RowLeft") in [event[:2] for event in cluster.api.events]
        with pytest.raises(StoreUnavailable):
            await cluster.timers.absent(key_of("t"))
        cluster.store.away = False
        await cluster.timers.absent(key_of("t"))
        assert await cluster.find("t") is None


class TestGroupsThatWereNotRead:
    """A leader has just begun, or a store has been away since it did."""

    async def unread(self, cluster: Cluster, status: dict[str, JsonValue]) -> None:
        """A Timer that is being deleted by a new leader, whose status was perhaps not written after its row was."""
        await cluster.apply("t", one_shot(soon()))
        known = cluster.api.objects[key_of("t")]
        cluster.api.objects[known.key] = replace(known, status=status)
        cluster.groups.known.clear()
        cluster.groups.unread.add("default")
        cluster.timers = cluster.operator()
        cluster.api.remove("t")

    async def test_a_row_that_no_status_names_is_waited_for(self, cluster: Cluster) -> None:
        await self.unread(cluster, {})
        with pytest.raises(StoreUnavailable, match="not read yet"):
            await cluster.reconcile("t")
        assert cluster.api.objects[key_of("t")].finalizers == (FINALIZER,)
        cluster.groups.unread.clear()
        await cluster.register()
        await cluster.reconcile("t")
        assert cluster.api.objects == {}
        assert await cluster.find("t") is None

    async def test_it_is_not_waited_for_without_an_end(self, cluster: Cluster) -> None:
        await self.unread(cluster, {})
        with pytest.raises(StoreUnavailable):
            await cluster.reconcile("t")
        cluster.clock.ahead = GIVE_UP_AFTER
        await cluster.reconcile("t")
        assert cluster.api.objects == {}
        assert cluster.api.events[-1][1] == "RowLeft"

    async def test_a_row_that_is_found_needs_no_other_store(self, cluster: Cluster) -> None:
        await self.unread(cluster, {"groupId": cluster.world.group_id})
        await cluster.reconcile("t")
        assert cluster.api.objects == {}
        assert await cluster.find("t") is None

    @pytest.mark.parametrize("state", [GroupState.ACTIVE, GroupState.DELETED])
    async def test_an_active_group_is_the_one_that_has_the_row(self, cluster: Cluster, state: GroupState) -> None:
        await self.unread(cluster, {"groupId": cluster.world.group_id})
        [row] = await cluster.world.store.get(cluster.world.group_id, ["k8s:shop:t"])
        assert row is not None
        await cluster.world.store.delete(cluster.world.group_id, [Target(row.timer_id)], WhenRunning.STOP, managed=True)
        await cluster.register()
        here = cluster.groups.known["orders"]
        cluster.groups.known["orders"] = replace(here, group=replace(here.group, state=state))
        if state is GroupState.ACTIVE:
            await cluster.reconcile("t")
            assert cluster.api.objects == {}
        else:
            with pytest.raises(StoreUnavailable):
                await cluster.reconcile("t")

    async def test_one_store_that_is_away_keeps_no_row_of_another(self, cluster: Cluster) -> None:
        await self.unread(cluster, {"groupId": cluster.world.group_id})
        stores = {"away": cluster.store, "default": cluster.store}
        cluster.groups.away_stores["away"] = "no answer in time"
        cluster.timers = TimerReconciler(
            stores, cluster.api, ResourceCache(), cluster.groups, cluster.clock, cluster.leading
        )
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await cluster.reconcile("t")
        assert await cluster.find("t") is None


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_a_resource_whose_finalizer_somebody_took_off_is_dealt_with_when_it_is_gone(
    cluster: Cluster, policy: str
) -> None:
    await cluster.apply("t", one_shot(soon(), deletionPolicy=policy))
    del cluster.api.objects[key_of("t")]
    for _ in range(2):
        await cluster.timers.absent(key_of("t"))
    row = await cluster.find("t")
    assert (row is None) == (policy == "Delete")
    assert row is None or row.managed_by is None


async def test_one_that_another_finalizer_holds_is_dealt_with_when_it_is_gone(cluster: Cluster) -> None:
    """Ours was taken off by somebody else."""
    await cluster.apply("t", one_shot(soon()))
    known = cluster.api.objects[key_of("t")]
    cluster.api.objects[known.key] = replace(known, deleting=True, finalizers=("example.com/other",))
    await cluster.reconcile("t")
    assert cluster.timers.concerned(key_of("t"))
    del cluster.api.objects[known.key]
    await cluster.timers.absent(key_of("t"))
    assert await cluster.find("t") is None


async def test_one_that_was_let_go_with_its_row_is_of_no_concern(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    assert cluster.timers.concerned(key_of("t"))
    await delete(cluster)
    assert not cluster.timers.concerned(key_of("t"))


async def test_a_row_whose_resource_nobody_knows_is_left_alone(cluster: Cluster) -> None:
    """It may be one of a cluster that is being built anew, whose Timers are still to be applied."""
    await cluster.apply("t", one_shot(soon()))
    cluster.timers = cluster.operator()
    await cluster.timers.absent(key_of("t"))
    assert await cluster.find("t") is not None


async def test_our_finalizer_comes_back(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    await cluster.api.set_finalizer(cluster.api.objects[key_of("t")], present=False)
    await cluster.reconcile("t")
    assert cluster.api.objects[key_of("t")].finalizers == (FINALIZER,)
