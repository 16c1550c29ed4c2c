"""TimerGroups through the operator's core, in virtual time."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from durable_timer.models.group import GroupRegistration, GroupState, TimerGroupSpec
from durable_timer.models.resource import ADOPT_FROM, FINALIZER
from durable_timer.models.status import ConditionStatus
from tests.controller.world import POOL, World, key_of, owner_of

MINUTE = 60.0
HOUR = 60 * MINUTE
DELETE = {"deletionPolicy": "Delete"}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.loop.dispose()
    assert not made.loop.errors


def register(world: World, group_id: str, owner: str, **fields: Any) -> None:
    """Another owner's registration."""
    spec = TimerGroupSpec()
    asked = GroupRegistration(group_id, owner, fields.get("shards", 4), POOL, spec, 1)
    task = world.loop.create_task(world.store.register_group(asked))
    world.wait(task.done)
    task.result()


def test_a_group_becomes_ready_and_an_idle_hour_writes_nothing(world: World) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    assert world.api.events == [("orders", "Ready")]
    world.pass_time(120)
    before = dict(world.api.writes)
    world.pass_time(HOUR)
    assert dict(world.api.writes) == before


def test_without_executors_it_says_so_and_heals(world: World) -> None:
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "NoExecutors")
    world.executor("a")
    world.wait(lambda: world.reason("orders") == "Ready")
    assert world.api.events == [("orders", "NoExecutors"), ("orders", "Ready")]


def test_a_group_that_signs_says_so_too_though_nobody_has_looked_for_its_secrets(world: World) -> None:
    signing = {"callback": {"signing": {"secretRefs": [{"name": "s", "key": "k"}]}}}
    world.api.apply("orders", {"shards": 4} | signing)
    world.wait(lambda: world.reason("orders") == "NoExecutors")
    assert world.reason("orders", "SecretsAvailable") == "Progressing"
    world.executor("a")
    world.wait(lambda: world.reason("orders") == "Ready")
    assert world.api.events == [("orders", "NoExecutors"), ("orders", "Ready")]


def test_a_store_that_is_away_for_a_moment_is_no_news_and_for_longer_one(world: World) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    world.pass_time(120)
    writes = world.api.writes["status"]
    world.away = True
    world.pass_time(2)
    world.away = False
    world.pass_time(30)
    assert world.api.writes["status"] == writes
    world.away = True
    world.wait(lambda: world.reason("orders") == "StoreUnreachable")
    assert world.status("orders").executors
    world.away = False
    world.wait(lambda: world.reason("orders") == "Ready")


@pytest.mark.parametrize("call", ["all", "counts", "register_group"])
def test_a_call_that_fails_for_a_moment_is_no_news(world: World, call: str) -> None:
    """A failover of the database, or a count that takes too long, while groups are being reconciled."""
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    world.pass_time(120)
    written, counted = dict(world.api.writes), world.calls["counts"]
    world.wait(lambda: world.calls["counts"] > counted, 2 * MINUTE)
    world.pass_time(MINUTE - 1)
    world.away, world.refused = call == "all", {call}
    if call == "register_group":
        world.api.apply("orders", {"shards": 4, "objectives": {"lateness": "7s"}})
    failing = world.calls["counts"] + world.calls["register_group"]
    world.pass_time(2)
    assert world.calls["counts"] + world.calls["register_group"] > failing
    assert dict(world.api.writes) == written
    world.away, world.refused = False, set()
    world.pass_time(30)
    assert world.reason("orders") == "Ready"
    assert world.api.events == [("orders", "Ready")]


def test_figures_that_cannot_be_had_stay_as_they_were(world: World) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    summary = world.status("orders").summary
    world.refused = {"counts"}
    world.pass_time(150)
    world.api.apply("orders", {"shards": 4, "paused": True})
    world.wait(lambda: world.reason("orders", "Paused") == "Paused")
    assert world.reason("orders") == "Ready"
    assert world.status("orders").summary == summary


def test_a_store_that_refuses_a_group_for_longer_is_said_though_it_answers(world: World) -> None:
    world.executor("a")
    world.refused = {"register_group"}
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "StoreUnreachable", 10)
    ready = world.condition("orders")
    assert ready is not None
    assert ready.message == "store 'default' refuses: refused"
    world.refused = set()
    world.wait(lambda: world.reason("orders") == "Ready")


def test_a_conflict_names_the_owner_and_the_annotation_hands_it_over(world: World) -> None:
    world.executor("a")
    register(world, "orders", "file:orders")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "GroupIdConflict")
    stalled = world.condition("orders", "Stalled")
    assert stalled is not None
    assert "file:orders" in stalled.message
    world.api.apply("orders", {"shards": 4}, {ADOPT_FROM: "file:others"})
    world.pass_time(10)
    assert world.reason("orders") == "GroupIdConflict"
    world.api.apply("orders", {"shards": 4}, {ADOPT_FROM: "file:orders"})
    world.wait(lambda: world.reason("orders") == "Ready")
    assert world.group("orders").owner == owner_of("orders")
    assert ("orders", "Adopted") in world.api.events


def test_a_conflict_heals_when_the_owner_hands_the_group_over(world: World) -> None:
    world.executor("a")
    register(world, "orders", "file:orders")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "GroupIdConflict")
    task = world.loop.create_task(world.store.transfer_group("orders", owner_of("orders"), None))
    world.wait(task.done)
    world.wait(lambda: world.reason("orders") == "Ready", 5)


def test_lateness_is_news_once_it_has_lasted_and_never_changes_ready(world: World) -> None:
    executor = world.executor("a")
    world.api.apply("orders", {"shards": 4, "objectives": {"lateness": "1s"}})
    world.wait(lambda: world.reason("orders") == "Ready")
    executor.lateness = {"orders": 0.5}
    world.wait(lambda: world.reason("orders", "LatenessWithinObjective") == "WithinObjective", 40)
    executor.lateness = {"orders": 3.0}
    world.pass_time(25)
    executor.lateness = {"orders": 0.2}
    world.pass_time(60)
    assert world.reason("orders", "LatenessWithinObjective") == "WithinObjective"
    executor.lateness = {"orders": 3.0}
    world.pass_time(25)
    assert world.reason("orders", "LatenessWithinObjective") == "WithinObjective"
    world.wait(lambda: world.reason("orders", "LatenessWithinObjective") == "AboveObjective", 10)
    assert world.reason("orders") == "Ready"
    writes = world.api.writes["status"]
    executor.lateness = {"orders": 3.5}
    world.pass_time(60)
    assert world.api.writes["status"] == writes


def test_a_missing_secret_is_said_and_a_signed_group_is_not_ready_before_it_was_looked_for(world: World) -> None:
    executor = world.executor("a")
    executor.unreadable = ("orders",)
    world.api.apply("orders", {"shards": 4, "callback": {"signing": {"secretRefs": [{"name": "s", "key": "k"}]}}})
    world.wait(lambda: world.reason("orders") == "SecretMissing")
    assert ("orders", "Ready") not in world.api.events
    executor.unreadable = ()
    world.wait(lambda: world.reason("orders") == "Ready")


def test_a_pause_is_in_effect_three_seconds_after_its_write(world: World) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    began = world.loop.time()
    world.api.apply("orders", {"shards": 4, "paused": True})
    world.wait(lambda: world.reason("orders", "Paused") == "Pausing", 1)
    world.wait(lambda: world.reason("orders", "Paused") == "Paused", 10)
    assert 3.0 <= world.loop.time() - began <= 5.0
    assert world.api.events[-1] == ("orders", "Paused")


def test_a_new_leader_is_no_news(world: World) -> None:
    executor = world.executor("a")
    world.api.apply("orders", {"shards": 4, "paused": True})
    world.wait(lambda: world.reason("orders", "Paused") == "Paused")
    executor.lateness = {"orders": 5.0}
    world.wait(lambda: world.reason("orders", "LatenessWithinObjective") == "AboveObjective", 60)
    world.pass_time(120)
    writes, events = dict(world.api.writes), list(world.api.events)
    world.restart()
    world.pass_time(120)
    assert dict(world.api.writes) == writes
    assert world.api.events == events


def test_a_status_wiped_by_hand_comes_back_and_moves_no_shard(world: World) -> None:
    for name in ("a", "b"):
        world.executor(name)
    world.api.apply("orders", {"shards": 8})
    world.wait(lambda: world.settled("a", "b"))
    world.wait(lambda: world.reason("orders") == "Ready")
    epochs, status = world.epochs(), world.status("orders")
    world.api.set_status("orders", {})
    world.wait(lambda: world.status("orders").executors == status.executors, 5)
    world.pass_time(30)
    assert world.epochs() == epochs


def test_a_purge_that_cannot_end_lets_the_resource_go_after_ten_minutes_and_goes_on(world: World) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4} | DELETE)
    world.wait(lambda: world.reason("orders") == "Ready")
    assert world.api.objects[key_of("orders")].finalizers == (FINALIZER,)
    world.api.delete("orders")
    world.wait(lambda: world.group("orders").state is GroupState.PURGING)
    world.away = True
    world.pass_time(9 * 60)
    assert key_of("orders") in world.api.objects
    world.pass_time(2 * 60)
    assert key_of("orders") not in world.api.objects
    assert ("orders", "PurgeContinues") in world.api.events
    world.restart()
    world.away = False
    world.wait(lambda: world.group("orders").emptied_at is not None, 60)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_purge_that_never_began_is_not_said_to_go_on(world: World, restarted: bool) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4} | DELETE)
    world.wait(lambda: world.reason("orders") == "Ready")
    world.away = True
    if restarted:
        world.restart()
    world.api.delete("orders")
    world.pass_time(11 * 60)
    assert key_of("orders") not in world.api.objects
    assert world.api.events[-1] == ("orders", "PurgeNotBegun")
    world.away = False
    world.wait(lambda: world.group("orders").state is GroupState.DELETED, 120)


def test_a_purge_waits_for_late_creates_of_bridges(world: World) -> None:
    world.api.apply("orders", {"shards": 4} | DELETE)
    world.wait(lambda: world.reason("orders") == "NoExecutors")
    world.api.delete("orders")
    world.wait(lambda: world.group("orders").emptied_at is not None, 60)
    row = world.group("orders")
    assert row.emptied_at is not None
    world.wait(lambda: key_of("orders") not in world.api.objects)
    assert row.emptied_at - row.state_since < timedelta(seconds=1)
    assert world.loop.time() >= 12


def test_of_two_rows_of_one_resource_only_the_declared_one_stays_active(world: World) -> None:
    """A TimerGroup that was deleted and made again under its name, with another id, before anybody looked."""
    world.executor("a")
    world.api.apply("orders", {"shards": 4, "groupId": "first"})
    world.wait(lambda: world.reason("orders") == "Ready")
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4, "groupId": "second"})
    world.wait(lambda: world.group("first").state is GroupState.DELETED)
    world.wait(lambda: world.reason("orders") == "Ready")
    assert world.group("second").state is GroupState.ACTIVE


def test_another_pool_waits_until_the_former_one_has_let_go(world: World) -> None:
    executor = world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4, "executorPool": "slow"})
    world.wait(lambda: world.group("orders").pool == "slow")
    world.wait(lambda: world.reason("orders") == "NoExecutors")
    assert set(world.owners().values()) == {None}
    assert executor.process.alive


def test_what_makes_no_sense_in_a_status_is_written_anew(world: World) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    world.api.set_status("orders", {"conditions": 7})
    world.wait(lambda: world.api.objects[key_of("orders")].status["conditions"] != 7, 5)
    ready = world.condition("orders")
    assert ready is not None
    assert ready.status is ConditionStatus.TRUE
