"""The bridge's knowledge of groups: as fresh as it says, and asked for once however many ask."""

import asyncio
from datetime import timedelta

import pytest

from durable_timer.clock import SystemClock
from durable_timer.errors import StoreUnavailable
from durable_timer.metrics import Metrics
from durable_timer.models.group import Group, GroupRegistration, TimerGroupSpec
from durable_timer.stores.memory import MemoryStore
from durable_timer_api import groups_cache
from durable_timer_api.groups_cache import GroupsCache
from durable_timer_api.problems import Code, Problem
from durable_timer_api.settings import BridgeSettings
from tests.support.waiting import eventually


class Reading(MemoryStore):
    """Counts the readings of groups, which last until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def groups(self, since: int | None) -> tuple[list[Group], int]:
        self.readings += 1
        found = await super().groups(since)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return found

    async def register(self, group_id: str, *, paused: bool = False) -> None:
        spec = TimerGroupSpec(shards=1, paused=paused)
        await self.register_group(GroupRegistration(group_id, "file:x", 1, "default", spec, 1))


@pytest.fixture
def store() -> Reading:
    return Reading()


@pytest.fixture
async def groups(store: Reading) -> GroupsCache:
    await store.register("a")
    cache = GroupsCache({"default": store}, BridgeSettings(), SystemClock(), Metrics())
    await cache._read_again(cache.doors[0])
    return cache


async def test_those_who_ask_for_unknown_groups_share_readings(groups: GroupsCache, store: Reading) -> None:
    store.open.clear()
    before = store.readings
    asked = [asyncio.create_task(groups.get(f"unknown{number}")) for number in range(50)]
    await asyncio.sleep(0)
    asked += [asyncio.create_task(groups.get("late")) for _ in range(50)]
    await asyncio.sleep(0)
    await store.register("late")
    store.open.set()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, Problem) and result.code is Code.GROUP_NOT_FOUND for result in results[:50])
    assert all(not isinstance(result, BaseException) for result in results[50:])
    assert store.readings - before <= 3


async def test_an_error_of_a_reading_reaches_those_who_asked_for_it(groups: GroupsCache, store: Reading) -> None:
    store.error = StoreUnavailable("gone")
    results = await asyncio.gather(*(groups.get("x") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    store.error = None
    with pytest.raises(Problem, match="GROUP_NOT_FOUND"):
        await groups.get("x")


async def test_a_reading_that_comes_late_takes_nothing_back(groups: GroupsCache, store: Reading) -> None:
    await store.register("a", paused=True)
    store.open.clear()
    late = asyncio.create_task(groups._read_again(groups.doors[0]))
    await asyncio.sleep(0)
    await store.register("a")
    await store.register("b")
    store.open.set()
    await groups.get("b")
    await late
    served = await groups.get("a")
    assert served.group.spec.paused is False


async def test_a_schema_is_compiled_once_for_each_change(groups: GroupsCache, store: Reading) -> None:
    first = await groups.get("a")
    await groups._read_again(groups.doors[0])
    assert await groups.get("a") is first
    await store.register("a", paused=True)
    await groups._read_again(groups.doors[0])
    assert await groups.get("a") is not first


async def test_a_group_that_cannot_be_served_leaves_the_others_and_itself_as_they_were(
    groups: GroupsCache, store: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await groups.get("a")
    real = groups_cache.ServedGroup

    def serve(group: Group, door: groups_cache.StoreDoor) -> groups_cache.ServedGroup:
        if group.group_id == "a":
            raise ValueError("a schema of a later release")
        return real(group, door)

    monkeypatch.setattr(groups_cache, "ServedGroup", serve)
    await store.register("a", paused=True)
    await store.register("b")
    await groups._read_again(groups.doors[0])
    assert await groups.get("a") is known
    assert (await groups.get("b")).group.group_id == "b"


async def test_no_error_of_a_store_ends_the_reading(store: Reading) -> None:
    await store.register("a")
    settings = BridgeSettings(groups_interval=timedelta(milliseconds=10))
    cache = GroupsCache({"default": store}, settings, SystemClock(), Metrics())
    await cache.start()
    try:
        store.error = ValueError("'Future' is not a valid CallbackFormat")
        before = store.readings
        await eventually(lambda: store.readings > before + 2)
        store.error = None
        await store.register("b")
        await eventually(lambda: "b" in cache._groups)
    finally:
        await cache.close()


async def test_a_store_that_does_not_answer_holds_up_no_other(store: Reading) -> None:
    await store.register("a")
    silent = Reading()
    silent.open.clear()
    settings = BridgeSettings(
        groups_interval=timedelta(milliseconds=10), groups_stale_after=timedelta(milliseconds=500)
    )
    cache = GroupsCache({"silent": silent, "default": store}, settings, SystemClock(), Metrics())
    await cache.start()
    try:
        away, here = cache.doors
        before = store.readings
        while store.readings < before + 100:
            assert cache.is_fresh_at(here)
            await asyncio.sleep(0.01)
        assert not cache.is_fresh_at(away)
        await store.register("b")
        assert (await cache.get("b")).group.group_id == "b"
        with pytest.raises(StoreUnavailable, match="silent"):
            await cache.get("unknown")
    finally:
        await cache.close()
