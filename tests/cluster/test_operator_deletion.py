"""Deleted TimerGroups: kept, purged, applied again meanwhile, and left alone where nobody may delete."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_timer.models.group import GroupState
from durable_timer.models.results import IfExists
from durable_timer.stores.base import Store
from tests.cluster.operators import Site
from tests.stores.contract.world import LATER, World
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually_blocking

PENDING = 100_000
BATCH = 1000
FAST = ("--set", "http.request_timeout=1s")
"""Bridges whose requests end after a second: a purge waits no longer for late creates."""

LOOKED_TWICE = 25.0
"""Seconds within which what is gone was looked for twice."""

A_MINUTE_EMPTY = 75.0

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("crds")]


@pytest.fixture
def site(kubectl: Kubectl, namespace: str, postgres_database: str, tmp_path: Path) -> Iterator[Site]:
    with Site(kubectl, namespace, postgres_database, tmp_path) as made:
        yield made


def fill(site: Site, group_id: str, shards: int, count: int) -> None:
    """Creates that many timers, due in an hour."""

    async def write(store: Store) -> None:
        world = World(store, _never, _never, shards, group_id)
        for start in range(0, count, BATCH):
            timers = [world.new(f"t-{number}", delay=LATER) for number in range(start, min(count, start + BATCH))]
            await store.create(timers, IfExists.FAIL)

    site.ask(write)


async def _never(*_: object) -> Any:
    raise NotImplementedError


def pending(site: Site, group_id: str) -> int:
    async def count(store: Store) -> int:
        return (await store.counts(group_id)).pending

    return site.ask(count)


def state(site: Site, group_id: str) -> GroupState:
    return site.rows()[group_id].state


def is_gone(site: Site, name: str) -> bool:
    return site.kubectl.find("tg", name, namespace=site.namespace) is None


def test_delete_purges_all_timers_before_the_resource_goes(site: Site) -> None:
    first = site.operator(*FAST)
    site.executor()
    site.apply_group("orders", deletionPolicy="Delete")
    site.wait_ready("orders")
    fill(site, "orders", 16, PENDING)
    site.kubectl("delete", "tg", "orders", "-n", site.namespace, "--wait=false")
    site.wait_reason("orders", "Purging", within=10)
    first.kill()
    site.operator(*FAST)
    eventually_blocking(lambda: is_gone(site, "orders"), 60)
    row = site.rows()["orders"]
    assert (row.state, pending(site, "orders")) == (GroupState.DELETED, 0)
    assert row.emptied_at is not None


def test_a_group_applied_again_waits_for_the_purge_and_for_another_shard_count(site: Site) -> None:
    site.operator(*FAST)
    site.executor()
    site.apply_group("orders", deletionPolicy="Delete")
    site.wait_ready("orders")
    fill(site, "orders", 16, 20_000)
    site.kubectl("delete", "tg", "orders", "-n", site.namespace, "--wait=false")
    site.wait_reason("orders", "Purging", within=10)
    site.kubectl(
        "patch", "tg", "orders", "-n", site.namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    eventually_blocking(lambda: is_gone(site, "orders"))
    site.apply_group("orders", shards=8)
    site.wait_reason("orders", "Purging")
    assert site.condition("orders", "Stalled") == {}
    site.wait_reason("orders", "ShardsMismatch", within=30)
    assert site.condition("orders", "Stalled") == {}
    site.wait_ready("orders", within=A_MINUTE_EMPTY)
    assert (site.rows()["orders"].shards, pending(site, "orders")) == (8, 0)


def test_retain_keeps_the_timers_and_goes_on_with_them(site: Site) -> None:
    site.operator()
    site.executor()
    site.apply_group("orders")
    site.wait_ready("orders")
    fill(site, "orders", 16, 100)
    site.kubectl("delete", "tg", "orders", "-n", site.namespace, "--timeout=5s")
    eventually_blocking(lambda: state(site, "orders") is GroupState.DELETED, LOOKED_TWICE)
    eventually_blocking(lambda: not site.shards(), 20)
    assert pending(site, "orders") == 100
    site.apply_group("orders")
    site.wait_ready("orders")
    assert (state(site, "orders"), pending(site, "orders")) == (GroupState.ACTIVE, 100)


def test_a_policy_changed_to_retain_lets_the_resource_go_at_once(site: Site) -> None:
    site.operator(*FAST)
    site.apply_group("orders", deletionPolicy="Delete")
    site.wait_reason("orders", "NoExecutors")
    assert site.group("orders")["metadata"]["finalizers"] == ["durabletimer.dev/finalizer"]
    site.apply_group("orders", deletionPolicy="Retain")
    eventually_blocking(lambda: "finalizers" not in site.group("orders")["metadata"])
    site.kubectl("delete", "tg", "orders", "-n", site.namespace, "--timeout=5s")
    eventually_blocking(lambda: state(site, "orders") is GroupState.DELETED, LOOKED_TWICE)


def test_an_operator_of_other_namespaces_or_of_another_cluster_deletes_nothing(site: Site, kubectl: Kubectl) -> None:
    both = site.operator()
    site.wait_leading(both)
    site.apply_group("orders")
    site.wait_reason("orders", "NoExecutors")
    both.stop()
    kubectl("delete", "tg", "orders", "-n", site.namespace, "--timeout=5s")
    narrowed = site.operator(namespaces="default")
    site.wait_leading(narrowed)
    other = site.operator(cluster="another", lease_name="another")
    quiet_until = time.monotonic() + LOOKED_TWICE
    eventually_blocking(lambda: time.monotonic() >= quiet_until, LOOKED_TWICE + 5)
    assert "leading" in other.output
    assert state(site, "orders") is GroupState.ACTIVE
    narrowed.stop()
    site.operator()
    eventually_blocking(lambda: state(site, "orders") is GroupState.DELETED, LOOKED_TWICE + 20)
