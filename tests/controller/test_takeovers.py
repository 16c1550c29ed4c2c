"""What is left behind by somebody who is gone: a pool without executors, a leader that stood still, an object's namesake."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from durable_timer.clock import SystemClock
from durable_timer.errors import StoreUnavailable
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.resource import ADOPT_FROM
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.core import DOUBT_EVERY
from durable_timer.reconcile.directory import TURN, Directory
from tests.controller.world import World, key_of, owner_of
from tests.support.waiting import eventually

DELETE = {"deletionPolicy": "Delete"}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.loop.dispose()
    assert not made.loop.errors


def ready(world: World, **spec: Any) -> None:
    world.executor("a")
    world.api.apply("orders", {"shards": 4} | spec)
    world.wait(lambda: world.reason("orders") == "Ready")


def mark(world: World, state: GroupState) -> None:
    task = world.loop.create_task(world.store.set_group_state("orders", owner_of("orders"), state))
    world.wait(task.done)


def test_a_pool_whose_executors_died_holds_no_group_back(world: World) -> None:
    ready(world)
    world.executors["a"].crash()
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4, "executorPool": "slow"})
    world.wait(lambda: world.group("orders").pool == "slow")
    assert world.group("orders").state is GroupState.ACTIVE


def test_nor_does_one_that_nobody_planned_any_more(world: World) -> None:
    """The group was deleted, its executors died at once, and the operator that comes after knows neither."""
    ready(world)
    world.loop.crash(world.process)
    world.executors["a"].crash()
    mark(world, GroupState.DELETED)
    assert set(world.owners().values()) == {"a"}
    world.api.heard = lambda resource, gone: None
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4, "executorPool": "slow"})
    world.start_another()
    world.wait(lambda: world.group("orders").pool == "slow")


@pytest.mark.parametrize("change", [{"paused": True}, {"executorPool": "slow"}, {"groupId": "others"}])
def test_who_does_not_lead_registers_nothing(world: World, change: dict[str, Any]) -> None:
    ready(world)
    before = dict(world.database.groups)
    world.leading = False
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4} | change)
    world.pass_time(60)
    assert world.database.groups == before
    world.leading = True
    world.wait(lambda: world.database.groups != before, 60)


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_who_does_not_lead_ends_no_group(world: World, policy: str) -> None:
    ready(world, deletionPolicy=policy)
    world.leading = False
    world.api.delete("orders")
    world.pass_time(60)
    assert world.group("orders").state is GroupState.ACTIVE
    world.leading = True
    world.wait(lambda: world.group("orders").state is not GroupState.ACTIVE, 60)


def test_who_does_not_lead_purges_nothing(world: World) -> None:
    ready(world, **DELETE)
    world.leading = False
    mark(world, GroupState.PURGING)
    world.pass_time(60)
    assert world.group("orders").state is GroupState.PURGING
    world.leading = True
    world.wait(lambda: world.group("orders").state is GroupState.ACTIVE, 60)


def test_who_does_not_lead_raises_no_term(world: World) -> None:
    world.leading = False
    ready_pools = dict(world.database.terms)
    world.executor("a")
    world.api.apply("orders", {"shards": 4})
    world.pass_time(30)
    assert world.database.terms == ready_pools


def test_who_does_not_lead_declares_nobody_dead_and_assigns_nothing(world: World) -> None:
    ready(world)
    world.executors["a"].crash()
    world.executor("b")
    world.leading = False
    before = world.assigned()
    world.pass_time(30)
    assert not world.database.members["a"].member.dead
    assert world.assigned() == before
    world.leading = True
    world.wait(lambda: world.settled("b"))


def test_who_does_not_lead_assigns_nothing_to_newcomers(world: World) -> None:
    ready(world)
    world.leading = False
    before = world.assigned()
    world.executor("b")
    world.pass_time(30)
    assert world.assigned() == before
    world.leading = True
    world.wait(lambda: world.settled("a", "b"))


def test_a_resource_whose_group_is_anothers_goes_at_once_and_ends_nothing(world: World) -> None:
    """Though it asks for its timers to be deleted: it has none."""
    ready(world, groupId="shared")
    world.api.apply("second", {"shards": 4, "groupId": "shared"} | DELETE)
    world.wait(lambda: world.reason("second") == "GroupIdConflict")
    world.api.delete("second")
    world.wait(lambda: key_of("second") not in world.api.objects, 5)
    world.pass_time(60)
    assert world.group("shared").state is GroupState.ACTIVE


def test_two_that_adopt_from_each_other_come_to_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(world, groupId="shared")
    spec = {"shards": 4, "groupId": "shared"}
    world.api.apply("second", spec, {ADOPT_FROM: owner_of("orders")})
    world.wait(lambda: world.reason("second") == "Ready")
    handed = _Handed()
    monkeypatch.setattr(world.store, "_hooks", handed)
    world.api.apply("orders", spec, {ADOPT_FROM: owner_of("second")})
    world.pass_time(60)
    assert handed.count <= 2
    assert {world.reason("orders"), world.reason("second")} == {"Ready", "GroupIdConflict"}
    world.api.apply("second", spec, {"other": "one"})
    world.pass_time(5)
    world.api.apply("second", spec, {ADOPT_FROM: owner_of("orders")})
    world.wait(lambda: world.reason("second") == "Ready")


@pytest.mark.parametrize("before", ["ready", "restarted", "away"])
def test_a_group_of_another_count_ends_what_was_deleted_just_before(world: World, before: str) -> None:
    """Nobody would else pause or end it, for a resource of its name is there."""
    ready(world)
    if before == "restarted":
        world.loop.crash(world.process)
        world.api.heard = lambda resource, gone: None
    world.away = before == "away"
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 8})
    if before == "restarted":
        world.start_another()
    if before == "away":
        world.wait(lambda: world.reason("orders") == "StoreUnreachable")
        world.away = False
    world.wait(lambda: world.group("orders").state is GroupState.DELETED, 7)
    world.wait(lambda: world.reason("orders") == "ShardsMismatch")
    world.pass_time(120)
    assert world.group("orders").state is GroupState.DELETED
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4})
    world.wait(lambda: world.reason("orders") == "Ready")


def test_one_of_another_count_that_is_handed_over_goes_on(world: World) -> None:
    ready(world, groupId="shared")
    world.api.apply("second", {"shards": 8, "groupId": "shared"})
    world.wait(lambda: world.reason("second") == "GroupIdConflict")
    task = world.loop.create_task(world.store.transfer_group("shared", owner_of("second"), None))
    world.wait(task.done)
    world.wait(lambda: world.reason("second") == "ShardsMismatch")
    world.restart()
    world.pass_time(120)
    assert world.group("shared").state is GroupState.ACTIVE


def test_one_of_another_count_is_not_adopted(world: World) -> None:
    ready(world, groupId="shared")
    world.api.apply("second", {"shards": 8, "groupId": "shared"}, {ADOPT_FROM: owner_of("orders")})
    world.wait(lambda: world.reason("second") == "ShardsMismatch")
    world.pass_time(60)
    assert world.group("shared").owner == owner_of("orders")
    assert world.reason("orders") == "Ready"
    assert ("second", "Adopted") not in world.api.events


def test_nor_one_that_is_being_purged(world: World) -> None:
    ready(world, groupId="shared")
    world.executors["a"].crash()
    world.api.apply("orders", {"shards": 4, "groupId": "shared"} | DELETE)
    world.wait(lambda: world.api.objects[key_of("orders")].finalizers)
    world.api.apply("second", {"shards": 8, "groupId": "shared"})
    world.wait(lambda: world.reason("second") == "GroupIdConflict")
    world.api.delete("orders")
    world.wait(lambda: world.group("shared").state is GroupState.PURGING)
    world.api.apply("second", {"shards": 8, "groupId": "shared"}, {ADOPT_FROM: owner_of("orders")})
    world.wait(lambda: world.reason("second") == "Purging")
    assert world.group("shared").owner == owner_of("orders")
    world.executor("b")
    world.wait(lambda: world.reason("second") == "Ready", 180)
    assert world.group("shared").shards == 8


class _Handed:
    """Counts what changes hands; the store fails after a hundred, for virtual time stands still in a loop without pauses."""

    count = 0

    async def before(self, name: str) -> None:
        if name == "transfer_group":
            self.count += 1
            if self.count > 100:
                raise StoreUnavailable("never at rest")

    async def after(self, name: str) -> None:
        """Nothing happens after a commit."""


def test_a_group_whose_deletion_was_never_told_is_missed(world: World) -> None:
    """A watch that is broken off and begun anew lists what is there."""
    ready(world)
    world.api.heard = lambda resource, gone: None
    world.api.delete("orders")
    world.wait(lambda: world.group("orders").state is GroupState.DELETED, DOUBT_EVERY + 120)


def test_a_namesake_is_not_hidden_by_what_is_still_heard_of_the_former() -> None:
    world = World()
    world.api.heard = lambda resource, gone: None
    world.api.apply("orders", {"shards": 4})
    former = world.api.objects[key_of("orders")]
    world.api.delete("orders")
    world.api.apply("orders", {"shards": 4})
    present = world.api.objects[key_of("orders")]
    cache = ResourceCache()
    assert cache.put(present)
    assert not cache.put(former)
    assert not cache.drop(former.key, former.uid)
    assert cache.get(former.key) == present
    world.loop.dispose()


def test_versions_that_are_no_numbers_do_not_hide_a_namesake() -> None:
    world = World()
    world.api.heard = lambda resource, gone: None
    world.api.apply("orders", {"shards": 4})
    former = replace(world.api.objects[key_of("orders")], resource_version="a")
    cache = ResourceCache()
    cache.put(former)
    assert cache.put(replace(former, uid="another"))
    world.loop.dispose()


async def test_a_migration_that_takes_longer_than_a_call_is_made_once_and_ends() -> None:
    begun, done = [], asyncio.Event()

    class Slow:
        """A store with a long migration; nothing else is asked of it before its end."""

        async def migrate(self) -> None:
            begun.append(1)
            await done.wait()

        async def groups(self, since: int | None) -> tuple[list[Any], int]:
            assert done.is_set()
            return [], 0

    directory = Directory({"default": Slow()}, "default", SystemClock(), lambda *_: None, lambda _: None)  # type: ignore[dict-item]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("durable_timer.reconcile.directory.CALL_TIMEOUT", 0.01)
        patch.setattr("durable_timer.reconcile.directory.READ_EVERY", 0.01)
        patch.setattr("durable_timer.reconcile.directory.AWAY_AFTER", 0.03)
        running = asyncio.create_task(directory.run())
        await eventually(lambda: directory.away("default") is not None)
        assert begun == [1]
        done.set()
        await eventually(lambda: directory.read_once("default"))
        running.cancel()
        await asyncio.wait([running])
    assert begun == [1]


async def test_a_migration_that_failed_is_tried_again() -> None:
    tries: list[int] = []

    class Failing:
        """A store that is away at first."""

        async def migrate(self) -> None:
            tries.append(1)
            if len(tries) < 3:
                raise StoreUnavailable("away")

        async def groups(self, since: int | None) -> tuple[list[Any], int]:
            return [], 0

    directory = Directory({"default": Failing()}, "default", SystemClock(), lambda *_: None, lambda _: None)  # type: ignore[dict-item]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("durable_timer.reconcile.directory.READ_EVERY", 0.01)
        running = asyncio.create_task(directory.run())
        await eventually(lambda: directory.read_once("default"))
        running.cancel()
        await asyncio.wait([running])
    assert len(tries) == 3


async def test_many_rows_are_taken_in_in_turns() -> None:
    """Among ten thousand Timers each row costs a millisecond, and a leader that does not renew for 6 s is none."""
    spec, now = TimerGroupSpec(), datetime.now(UTC)
    rows = [
        Group(f"g{number}", f"file:g{number}", 1, "default", spec, 1, GroupState.ACTIVE, now, None, number)
        for number in range(5 * TURN)
    ]

    class Full:
        """A store of many groups."""

        async def migrate(self) -> None:
            """There is nothing to do."""

        async def groups(self, since: int | None) -> tuple[list[Group], int]:
            return rows if since is None else [], len(rows)

    seen: list[int] = []
    turns: list[int] = []

    async def others() -> None:
        while len(seen) < len(rows):
            turns.append(len(seen))
            await asyncio.sleep(0)

    directory = Directory(
        {"default": Full()},  # type: ignore[dict-item]
        "default",
        SystemClock(),
        lambda *_: seen.append(1),
        lambda _: None,
    )
    running, beside = asyncio.create_task(directory.run()), asyncio.create_task(others())
    await asyncio.wait([beside], timeout=10)
    running.cancel()
    await asyncio.wait([running])
    assert max(after - before for before, after in pairwise([*turns, len(rows)])) <= TURN
