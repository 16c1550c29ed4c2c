"""What is gone for sure, and what is only not seen."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from durable_timer.errors import KubeUnavailable
from durable_timer.models.group import Group, GroupState
from durable_timer.models.resource import Resource, ResourceKind
from tests.controller.world import World, key_of

TWICE = 10.0


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.loop.dispose()
    assert not made.loop.errors


def ready(world: World) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")


def test_a_deleted_group_is_let_go_after_two_looks_and_resumes_when_applied_again(world: World) -> None:
    ready(world)
    deleted = world.loop.time()
    world.api.delete("orders")
    world.wait(lambda: world.group("orders").state is GroupState.DELETED)
    assert world.loop.time() - deleted >= TWICE
    world.wait(lambda: set(world.owners().values()) == {None})
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")
    assert world.group("orders").state is GroupState.ACTIVE


def test_a_group_applied_again_at_once_was_never_gone(world: World) -> None:
    ready(world)
    epochs = world.epochs()
    world.api.delete("orders")
    world.pass_time(5)
    world.api.apply("orders", {"shards": 4})
    world.pass_time(60)
    assert world.group("orders").state is GroupState.ACTIVE
    assert world.epochs() == epochs


def test_what_a_list_leaves_out_is_asked_for_by_name(world: World) -> None:
    """Neither did the watch of a new operator tell of it."""
    ready(world)
    world.api.hidden.add(key_of("orders"))
    world.loop.crash(world.process)
    there, world.api.objects = world.api.objects, {}
    world.start_another()
    world.api.objects = there
    world.pass_time(120)
    assert world.group("orders").state is GroupState.ACTIVE


def test_an_operator_that_starts_finds_what_was_deleted_meanwhile(world: World) -> None:
    ready(world)
    world.loop.crash(world.process)
    world.api.heard = lambda resource, gone: None
    world.api.delete("orders")
    world.restart()
    world.wait(lambda: world.group("orders").state is GroupState.DELETED)


@pytest.mark.parametrize(("cluster", "namespaces"), [("default", ("other",)), ("another", ())])
def test_another_namespace_or_cluster_is_left_alone(world: World, cluster: str, namespaces: tuple[str, ...]) -> None:
    ready(world)
    world.loop.crash(world.process)
    world.api.heard = lambda resource, gone: None
    world.api.delete("orders")
    world.become(cluster=cluster, namespaces=namespaces)
    world.pass_time(600)
    assert world.group("orders").state is GroupState.ACTIVE


def test_timers_that_were_let_go_with_their_rows_are_not_looked_for(world: World) -> None:
    """A namespace of ten thousand would be listed again and again while they go."""
    ready(world)
    spec = {"groupRef": {"name": "orders"}, "executeAt": "2090-01-01T00:00:00Z", "callbackUrl": "https://example.com/"}
    key = key_of("t", ResourceKind.TIMER)
    world.api.apply("t", spec, kind=ResourceKind.TIMER)
    world.wait(lambda: world.api.objects[key].finalizers)
    world.api.delete("t", ResourceKind.TIMER)
    world.wait(lambda: key not in world.api.objects)
    world.pass_time(60)
    assert world.api.lists[ResourceKind.TIMER] == 0
    assert not world.database.timers["orders"]


def test_a_timer_whose_finalizer_somebody_took_off_is_looked_for(world: World) -> None:
    ready(world)
    spec = {"groupRef": {"name": "orders"}, "executeAt": "2090-01-01T00:00:00Z", "callbackUrl": "https://example.com/"}
    key = key_of("t", ResourceKind.TIMER)
    world.api.apply("t", spec, kind=ResourceKind.TIMER)
    world.wait(lambda: world.database.timers.get("orders"))
    world.api.objects[key] = replace(world.api.objects[key], finalizers=())
    world.api.delete("t", ResourceKind.TIMER)
    world.wait(lambda: not world.database.timers["orders"])


def test_a_store_that_is_away_has_the_namespace_listed_now_and_then(world: World) -> None:
    ready(world)
    world.api.delete("orders")
    world.away = True
    world.pass_time(600)
    assert world.api.lists[ResourceKind.TIMER_GROUP] <= 15
    world.away = False
    world.wait(lambda: world.group("orders").state is GroupState.DELETED, 5)


def test_a_group_of_one_store_does_not_wait_for_those_of_another(world: World) -> None:
    names = [f"g{number}" for number in range(20)]
    for name in names:
        world.api.apply(name, {"shards": 1})
    world.api.apply("orders", {"shards": 1, "store": "second"})
    world.wait(lambda: "orders" in world.second.groups and len(world.database.groups) == 20)
    world.away = True
    for name in [*names, "orders"]:
        world.api.delete(name)
    world.wait(lambda: world.second.groups["orders"].state is GroupState.DELETED)


def test_nor_does_one_that_was_declared_in_both(world: World) -> None:
    """It was deleted and made again with another store while the first one was away."""
    ready(world)
    world.away = True
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4, "store": "second"})
    world.wait(lambda: "orders" in world.second.groups)
    world.api.delete("orders")
    world.wait(lambda: world.second.groups["orders"].state is GroupState.DELETED)
    assert world.group("orders").state is GroupState.ACTIVE
    world.away = False
    world.wait(lambda: world.group("orders").state is GroupState.DELETED, 60)


def test_an_api_server_that_fails_is_asked_now_and_then(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(world)
    asked: list[float] = []

    async def fail(kind: ResourceKind, namespace: str | None) -> list[Resource]:
        asked.append(world.loop.time())
        raise KubeUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(world.api, "list", fail)
        world.api.delete("orders")
        world.pass_time(300)
    assert 3 <= len(asked) <= 10
    world.wait(lambda: world.group("orders").state is GroupState.DELETED, 90)
    assert min(later - sooner for sooner, later in pairwise(asked)) >= TWICE


def test_a_fault_of_the_program_with_one_holds_no_other_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(world)
    world.api.apply("others", {"shards": 4})
    world.wait(lambda: world.reason("others") == "Ready")
    mark = world.store.set_group_state

    async def fail(group_id: str, owner: str, state: GroupState) -> Group:
        if group_id == "orders":
            raise RecursionError
        return await mark(group_id, owner, state)

    monkeypatch.setattr(world.store, "set_group_state", fail)
    for name in ("orders", "others"):
        world.api.delete(name)
    world.wait(lambda: world.group("others").state is GroupState.DELETED)
    world.api.apply("more", {"shards": 4})
    world.wait(lambda: world.reason("more") == "Ready")
