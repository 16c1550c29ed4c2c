"""Timers whose resources are gone become ordinary ones."""

from datetime import timedelta

import pytest

from durable_timer.groups.releasing import PAGE, release
from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.models.results import IfExists, Target, WhenRunning
from durable_timer.models.timer import ManagedBy, NewTimer
from durable_timer.stores.memory import MemoryStore


def timer(timer_id: str, *, managed: bool = True) -> NewTimer:
    return NewTimer(
        group_id="g",
        timer_id=timer_id,
        shard=0,
        callback_url="http://target/",
        fingerprint=b"f",
        delay=timedelta(hours=1),
        managed_by=ManagedBy("uid", 1) if managed else None,
    )


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await made.register_group(GroupRegistration("g", "default/team/g", 1, "default", TimerGroupSpec(shards=1), 1))
    many = [timer(f"k8s:team:t{number}") for number in range(PAGE + 1)]
    others = [timer("k8s:team-b:t1"), timer("k8s:team:", managed=False), timer("plain", managed=False)]
    await made.create([*many, *others], IfExists.FAIL)
    return made


async def managed(store: MemoryStore, *timer_ids: str) -> list[bool]:
    rows = await store.get("g", timer_ids)
    return [row is not None and row.managed_by is not None for row in rows]


async def test_those_of_a_namespace_are_released_and_can_be_deleted(store: MemoryStore) -> None:
    assert await release(store, "g", "team") == PAGE + 1
    assert await managed(store, "k8s:team:t0", f"k8s:team:t{PAGE}", "k8s:team-b:t1") == [False, False, True]
    (deleted,) = await store.delete("g", [Target("k8s:team:t0")], WhenRunning.REFUSE)
    assert deleted.refusal is None
    assert await release(store, "g", "team") == 0


async def test_one_alone_is_not_taken_for_those_that_begin_with_its_name(store: MemoryStore) -> None:
    assert await release(store, "g", "team", "t1") == 1
    assert await managed(store, "k8s:team:t1", "k8s:team:t10") == [False, True]
