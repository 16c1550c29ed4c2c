"""The planner in virtual time: who joins, leaves and dies while it plans."""

from collections import Counter
from collections.abc import Iterator

import pytest

from durable_timer.models.ownership import ShardKey
from tests.controller.world import POOL, World
from tests.simulation.loop import Process

GROUPS = 6
SHARDS = 8


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    for number in range(GROUPS):
        made.api.apply(f"g{number}", {"shards": SHARDS})
    yield made
    made.loop.dispose()
    assert not made.loop.errors


def moved(before: dict[ShardKey, int], after: dict[ShardKey, int]) -> Counter[int]:
    """How many shards had their epoch grow by how much."""
    return Counter(after[key] - before[key] for key in before)


def start(world: World, *names: str) -> None:
    for name in names:
        world.executor(name)
    world.wait(lambda: len(world.owners()) == GROUPS * SHARDS and world.settled(*names))
    world.pass_time(5)


def test_a_newcomer_gets_its_part_and_each_shard_moves_once(world: World) -> None:
    start(world, "a", "b")
    before = world.epochs()
    world.executor("c")
    world.wait(lambda: world.settled("a", "b", "c"))
    world.pass_time(10)
    assert moved(before, world.epochs()) == {0: 32, 1: 16}


def test_newcomers_that_come_one_after_the_other_move_shards_once(world: World) -> None:
    start(world, "a")
    before = world.epochs()
    for name in ("b", "c"):
        world.executor(name)
        world.pass_time(2)
    world.wait(lambda: world.settled("a", "b", "c"))
    assert moved(before, world.epochs()) == {0: 16, 1: 32}


def test_a_dead_executors_shards_are_taken_within_five_seconds_and_no_others_move(world: World) -> None:
    start(world, "a", "b", "c")
    victim = world.executor("d")
    world.wait(lambda: world.settled("a", "b", "c", "d"))
    world.pass_time(5)
    before, owners = world.epochs(), world.owners()
    victim.crash()
    world.wait(lambda: "d" not in world.owners().values() and world.settled("a", "b", "c"), 5)
    after = world.epochs()
    assert all(after[key] - before[key] == (owners[key] == "d") for key in before)


def test_the_only_executors_death_is_declared_by_the_planner(world: World) -> None:
    start(world, "a", "b")
    for process in list(world.executors.values()):
        process.crash()
    world.wait(lambda: world.reason("g0") == "NoExecutors", 10)
    start(world, "c")
    assert world.settled("c")


def test_a_planned_departure_moves_its_shards_at_once(world: World) -> None:
    start(world, "a", "b", "c")
    owners, before = world.owners(), world.epochs()
    world.executors["b"].draining = True
    world.wait(lambda: world.settled("a", "c"), 3)
    assert all(world.epochs()[key] - before[key] == (owners[key] == "b") for key in before)


def test_an_outage_of_the_store_kills_nobody(world: World) -> None:
    start(world, "a", "b")
    before = world.epochs()
    world.away = True
    world.pass_time(30)
    world.away = False
    world.pass_time(30)
    assert world.epochs() == before


def test_an_old_leader_that_goes_on_overwrites_nothing(world: World) -> None:
    start(world, "a", "b")
    old = world.process
    world.loop.pause(old)
    world.start_another()
    world.executor("c")
    world.wait(lambda: world.settled("a", "b", "c"))
    before, assigned = world.epochs(), world.assigned()
    world.loop.resume(old)
    world.pass_time(30)
    assert (world.epochs(), world.assigned()) == (before, assigned)


def test_a_term_that_a_former_leader_raised_late_is_raised_above(world: World) -> None:
    start(world, "a", "b")
    late = world.loop.spawn(Process("late"), world.store.raise_term(POOL, "former"), "late")
    world.wait(late.done)
    world.executor("c")
    world.pass_time(30)
    assert "c" not in world.assigned().values()
    world.wait(lambda: world.settled("a", "b", "c"), 60)


def test_two_operators_in_one_pool_leave_each_others_plan(world: World) -> None:
    start(world, "a", "b")
    world.start_another()
    world.executor("c")
    world.wait(lambda: world.settled("a", "b", "c"), 120)
    before, assigned, term = world.epochs(), world.assigned(), world.term()
    world.pass_time(300)
    assert (world.epochs(), world.assigned()) == (before, assigned)
    assert world.term() > term + 2
