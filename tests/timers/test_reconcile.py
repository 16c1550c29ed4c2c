"""Timers reconciled on each store: declared once, changed, run, adopted, and shown as they are."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_timer.errors import KubeConflict, KubeUnavailable, NotLeading
from durable_timer.models.group import PayloadSpec
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.resource import REDRIVE_REQUESTED, RUN_REQUESTED, Resource
from durable_timer.models.results import Refusal, Target
from durable_timer.models.timer import LastOutcome, SecretRef, Suspension, TimerChange, TimerState
from durable_timer.planning.declared import DeclaredTimer, Refused, read_timer
from durable_timer.planning.declared_payload import PayloadRules
from durable_timer.reconcile import timers
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.timers import TimerReconciler
from tests.stores.contract.world import LATER, Executor, World
from tests.timers.cluster import Cluster, key_of

PENDING, RUNNING, COMPLETED, FAILED = TimerState
PAST = "2026-01-01T00:00:00Z"


def soon(by: timedelta = LATER) -> str:
    return (datetime.now(UTC) + by).strftime("%Y-%m-%dT%H:%M:%SZ")


def one_shot(when: str = PAST, **fields: Any) -> dict[str, Any]:
    return {"groupRef": {"name": "orders"}, "callbackUrl": "http://target.example/", "executeAt": when} | fields


def schedule(**fields: Any) -> dict[str, Any]:
    return {
        "groupRef": {"name": "orders"},
        "callbackUrl": "http://target.example/",
        "schedule": {"cron": "0 0 1 1 *"},
    } | fields


async def test_a_timer_is_declared_once_and_then_nothing_is_written(cluster: Cluster) -> None:
    status = await cluster.apply("t", one_shot(soon()))
    row = await cluster.row("t")
    assert cluster.is_ready("t")
    assert (status.observed_generation, status.declared_generation, status.group_id) == (1, 1, cluster.world.group_id)
    assert (status.timer_id, status.state, status.next_run_time) == ("k8s:shop:t", "pending", row.execute_at)
    written = +cluster.api.writes
    assert written == {"finalizer": 1, "status": 1}
    for operator in (cluster.timers, cluster.operator()):
        cluster.timers = operator
        assert await cluster.reconcile("t") is None
    assert (cluster.api.writes, await cluster.row("t")) == (written, row)


async def test_a_group_that_is_not_there_yet_is_waited_for(world: World) -> None:
    cluster = Cluster(world)
    await cluster.apply("t", one_shot())
    assert cluster.condition("t", "Ready") == ("False", "GroupNotFound")
    assert cluster.condition("t", "Reconciling") == ("True", "GroupNotFound")
    assert await cluster.find("t") is None
    assert cluster.api.objects[key_of("t")].finalizers == ()
    await cluster.register()
    await cluster.reconcile("t")
    assert cluster.is_ready("t")
    assert cluster.condition("t", "Reconciling") is None


async def test_groups_of_one_id_in_two_stores_keep_their_own_rules(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each look at one of them would have all Timers of the other read again."""
    here = cluster.groups.known["orders"]
    strict = here.group.spec.model_copy(update={"payload": PayloadSpec(max_bytes=1024)})
    there = replace(here, store_name="other", group=replace(here.group, spec=strict), name="others")
    cluster.groups.known["others"] = there
    cluster.timers = TimerReconciler(
        {"default": cluster.store, "other": cluster.store}, cluster.api, ResourceCache(), cluster.groups,
        cluster.clock, cluster.leading,
    )  # fmt: skip
    names: list[str] = []

    def read(resource: Resource, rules: PayloadRules) -> DeclaredTimer | Refused:
        names.append(resource.name)
        return read_timer(resource, rules)

    monkeypatch.setattr(timers, "read_timer", read)
    when = soon()
    for _ in range(2):
        await cluster.apply("t", one_shot(when))
        await cluster.apply("u", one_shot(when, groupRef={"name": "others"}))
    assert names == ["t", "u"]


async def test_a_change_and_a_suspension(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    await cluster.apply("t", one_shot(soon(2 * LATER), payload={"n": 1}, suspend=True))
    row = await cluster.row("t")
    assert (row.payload, row.suspended, row.occurrence) == (b'{"n":1}', Suspension.SUSPENDED, 2)
    assert cluster.condition("t", "Suspended") == ("True", "Suspended")
    assert cluster.is_ready("t")
    assert cluster.api.status("t").next_run_time is None


async def test_the_status_follows_a_run(cluster: Cluster, executor: Executor) -> None:
    await cluster.apply("t", one_shot())
    taken = await executor.take_one()
    await cluster.reconcile("t")
    assert cluster.api.status("t").state == "running"
    await executor.settle(taken, OutcomeKind.FAILED, attempt=1, last_error="410 Gone")
    await cluster.reconcile("t")
    status = cluster.api.status("t")
    assert (status.state, status.last_outcome, status.last_error) == ("failed", "failed", "410 Gone")
    assert cluster.condition("t", "LastRunSucceeded") == ("False", "Failed")
    assert cluster.is_ready("t")
    assert [reason for _, reason, _ in cluster.api.events] == ["Failed"]


async def test_a_schedule_shows_its_last_and_its_next_run(cluster: Cluster, executor: Executor) -> None:
    await cluster.apply("t", schedule(), {RUN_REQUESTED: "now"})
    next_at = await cluster.world.store.now() + LATER
    taken = await executor.take_one()
    await executor.settle(taken, OutcomeKind.NEXT, attempt=1, at=next_at, last_outcome=LastOutcome.COMPLETED)
    await cluster.reconcile("t")
    status, row = cluster.api.status("t"), await cluster.row("t")
    assert (status.next_run_time, status.last_run_time, status.last_outcome) == (
        row.execute_at, row.last_run_at, "completed",
    )  # fmt: skip
    assert cluster.condition("t", "LastRunSucceeded") == ("True", "Succeeded")


class TestRequests:
    async def test_each_value_acts_once(self, cluster: Cluster, executor: Executor) -> None:
        await cluster.apply("t", schedule())
        for number, value in enumerate(["a", "a", "b"]):
            status = await cluster.apply("t", schedule(), {RUN_REQUESTED: value})
            assert status.last_run_request == value
            assert (await cluster.row("t")).occurrence == [2, 2, 3][number]

    async def test_an_operator_that_dies_before_it_could_say_so_has_acted_once(self, cluster: Cluster) -> None:
        await cluster.apply("t", schedule())
        cluster.api.apply("t", schedule(), {RUN_REQUESTED: "a"})
        cluster.api.down = True
        with pytest.raises(KubeUnavailable):
            await cluster.reconcile("t")
        assert (await cluster.row("t")).occurrence == 2
        cluster.api.down = False
        cluster.timers = cluster.operator()
        await cluster.reconcile("t")
        assert (await cluster.row("t")).occurrence == 2
        assert cluster.api.status("t").last_run_request == "a"

    async def test_a_redrive_acts_once(self, cluster: Cluster, executor: Executor) -> None:
        await cluster.apply("t", one_shot())
        for number in (1, 2):
            taken = await executor.take_one()
            assert taken.occurrence == number
            await executor.settle(taken, OutcomeKind.FAILED, attempt=1)
            await cluster.apply("t", one_shot(), {REDRIVE_REQUESTED: "once"})
        row = await cluster.row("t")
        assert (row.state, row.occurrence) == (FAILED, 2)

    async def test_one_that_the_state_refuses_is_told_of_and_never_acts(
        self, cluster: Cluster, executor: Executor
    ) -> None:
        await cluster.apply("t", one_shot(soon()))
        status = await cluster.apply("t", one_shot(soon()), {REDRIVE_REQUESTED: "x"})
        assert status.last_redrive_request == "x"
        assert ("Warning", "RedriveRefused") in [event[:2] for event in cluster.api.events]

    async def test_one_that_comes_while_it_runs_acts_after_it(self, cluster: Cluster, executor: Executor) -> None:
        await cluster.apply("t", schedule(), {RUN_REQUESTED: "a"})
        taken = await executor.take_one()
        cluster.api.apply("t", schedule(), {RUN_REQUESTED: "b"})
        assert await cluster.reconcile("t") == timedelta(seconds=1)
        assert cluster.is_ready("t")
        assert cluster.api.status("t").last_run_request == "a"
        at = await cluster.world.store.now() + LATER
        await executor.settle(taken, OutcomeKind.NEXT, attempt=1, at=at)
        await cluster.reconcile("t")
        assert cluster.api.status("t").last_run_request == "b"
        assert (await executor.take_one()).occurrence == taken.occurrence + 2


class TestGenerations:
    async def test_a_running_row_is_written_after_its_settle(self, cluster: Cluster, executor: Executor) -> None:
        await cluster.apply("t", one_shot())
        taken = await executor.take_one()
        later = soon()
        cluster.api.apply("t", one_shot(later))
        assert await cluster.reconcile("t") == timedelta(seconds=1)
        assert cluster.condition("t", "Ready") == ("False", "Running")
        await executor.settle(taken, OutcomeKind.COMPLETED, attempt=1)
        await cluster.reconcile("t")
        assert cluster.is_ready("t")
        row = await cluster.row("t")
        assert (row.state, row.occurrence, cluster.api.status("t").declared_generation) == (PENDING, 2, 2)

    async def test_a_finished_one_fires_again_only_at_another_time(self, cluster: Cluster, executor: Executor) -> None:
        await cluster.apply("t", one_shot())
        await executor.settle(await executor.take_one(), OutcomeKind.COMPLETED, attempt=1)
        await cluster.apply("t", one_shot(labels={"a": "b"}))
        assert (await executor.take()).timers == []
        assert (await cluster.row("t")).labels == {"a": "b"}
        await cluster.apply("t", one_shot("2026-01-02T00:00:00Z"))
        assert (await executor.take_one()).occurrence == 2

    async def test_what_the_group_refuses_stalls_until_it_is_changed(self, cluster: Cluster) -> None:
        await cluster.apply("t", one_shot(payload="x" * 70_000))
        assert cluster.condition("t", "Stalled") == ("True", "PayloadTooLarge")
        assert cluster.condition("t", "Ready") == ("False", "PayloadTooLarge")
        assert await cluster.find("t") is None
        assert [event[:2] for event in cluster.api.events] == [("Warning", "PayloadTooLarge")]
        await cluster.apply("t", one_shot(payload="x"))
        assert cluster.is_ready("t")
        assert cluster.condition("t", "Stalled") is None
        assert [event[:2] for event in cluster.api.events[1:]] == [("Normal", "Declared")]


class TestAnotherCluster:
    async def test_the_same_timers_on_the_same_store_are_adopted_and_none_fires(
        self, cluster: Cluster, executor: Executor
    ) -> None:
        names = ["done", "failed", "scheduled", "pending"]
        specs = [one_shot(), one_shot(callbackUrl="http://failing.example/"), schedule(), one_shot(soon())]
        for name, spec in zip(names, specs, strict=True):
            await cluster.apply(name, spec)
        for taken in (await executor.take()).timers:
            failing = taken.timer_id.endswith(":failed")
            await executor.settle(taken, OutcomeKind.FAILED if failing else OutcomeKind.COMPLETED, attempt=1)
        before = [await cluster.row(name) for name in names]
        anew = Cluster(cluster.world)
        await anew.register()
        for name, spec in zip(names, specs, strict=True):
            await anew.apply(name, spec)
            assert anew.is_ready(name)
        for name, row in zip(names, before, strict=True):
            after = await anew.row(name)
            assert after.managed_by is not None
            assert row.managed_by is not None
            assert after.managed_by.uid == anew.api.objects[key_of(name)].uid != row.managed_by.uid
            assert replace(after, managed_by=row.managed_by, version=row.version, updated_at=row.updated_at) == row
        assert (await executor.take()).timers == []
        assert anew.api.status("done").last_outcome == "completed"

    async def test_the_old_cluster_deletes_nothing_that_the_new_one_has_adopted(self, cluster: Cluster) -> None:
        spec = one_shot(soon())
        await cluster.apply("t", spec)
        anew = Cluster(cluster.world)
        await anew.register()
        await anew.apply("t", spec)
        cluster.api.remove("t")
        await cluster.reconcile("t")
        assert cluster.api.objects == {}
        assert await anew.find("t") is not None


class TestSecrets:
    async def test_a_header_from_a_secret_is_a_reference_and_shown_nowhere(self, cluster: Cluster) -> None:
        headers = [
            {"name": "authorization", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}},
            {"name": "x-plain", "value": "plain-and-hushed"},
        ]
        await cluster.apply("t", one_shot(soon(), headers=headers))
        assert [header.value for header in (await cluster.row("t")).headers] == [
            SecretRef("token", "value", "shop"), "plain-and-hushed",
        ]  # fmt: skip
        await cluster.apply("t", one_shot(soon(), headers=headers), {REDRIVE_REQUESTED: "x"})
        shown = json.dumps([dict(cluster.api.objects[key_of("t")].status), cluster.api.events])
        assert "token" not in shown
        assert "hushed" not in shown


class TestStoreAway:
    async def test_what_was_to_be_declared_says_so_and_recovers(self, cluster: Cluster) -> None:
        cluster.store.away = True
        cluster.api.apply("t", one_shot())
        assert await cluster.reconcile("t") is not None
        assert cluster.condition("t", "Ready") == ("False", "StoreUnreachable")
        cluster.store.away = False
        await cluster.reconcile("t")
        assert cluster.is_ready("t")

    async def test_what_is_declared_stays_as_it_is(self, cluster: Cluster) -> None:
        await cluster.apply("t", one_shot(soon()))
        before = cluster.api.objects[key_of("t")]
        cluster.store.away = True
        assert await cluster.reconcile("t") is not None
        cluster.groups.known.clear()
        assert await cluster.reconcile("t") is None
        assert cluster.api.objects[key_of("t")] == before


async def test_two_leaders_at_once_declare_and_run_once(cluster: Cluster) -> None:
    for number in range(20):
        cluster.api.apply(f"t{number}", schedule(), {RUN_REQUESTED: "a"})

    async def lead() -> None:
        operator, left = cluster.operator(), [key_of(f"t{number}") for number in range(20)]
        while left:
            try:
                await operator.reconcile(cluster.api.objects[left[-1]])
            except KubeConflict:
                continue
            left.pop()

    await asyncio.gather(lead(), lead())
    for number in range(20):
        row = await cluster.row(f"t{number}")
        assert (row.occurrence, cluster.is_ready(f"t{number}")) == (2, True)


async def test_many_at_once_go_to_the_store_together(cluster: Cluster) -> None:
    names = [f"t{number}" for number in range(300)]
    for name in names:
        cluster.api.apply(name, one_shot(soon()))
    await asyncio.gather(*(cluster.reconcile(name) for name in names))
    assert all(cluster.is_ready(name) for name in names)
    assert cluster.api.writes == {"finalizer": 300, "status": 300}
    assert cluster.store.calls["get"] <= 3
    assert cluster.store.calls["create"] <= 30


async def test_rest_may_not_write_what_a_resource_declares(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    result = await cluster.world.store.update(cluster.world.group_id, Target("k8s:shop:t"), TimerChange(labels={}))
    assert result.refusal is Refusal.MANAGED


async def test_a_resource_that_went_meanwhile_is_no_error(cluster: Cluster) -> None:
    resource = cluster.api.apply("t", one_shot(soon()))
    cluster.api.remove("t")
    assert await cluster.timers.reconcile(resource) is None
    assert await cluster.find("t") is None


async def test_a_leader_of_old_that_goes_on_in_the_middle_writes_nothing(cluster: Cluster) -> None:
    await cluster.apply("t", schedule())
    await cluster.apply("goes", one_shot(soon()))
    before = await cluster.row("t"), await cluster.row("goes")
    cluster.leads = False
    cluster.api.apply("new", one_shot())
    cluster.api.apply("t", schedule(labels={"a": "b"}), {RUN_REQUESTED: "late"})
    cluster.api.remove("goes")
    for name in ("new", "t", "goes"):
        with pytest.raises(NotLeading):
            await cluster.reconcile(name)
    assert (await cluster.row("t"), await cluster.row("goes")) == before
    assert await cluster.find("new") is None
