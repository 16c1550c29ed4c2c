"""Who owns what, planned for 200 groups of 16 shards by the operator that leads."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_timer.models.ownership import Member, Shard, ShardKey
from durable_timer.stores.base import Store
from tests.cluster.operators import Site, groups
from tests.support.kubectl import Kubectl
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually_blocking

GROUPS = 200
SHARDS = 16
ASSIGNED_WITHIN = 10.0
TAKING_WITHIN = 5.0
STATUS_WITHIN = 60.0
LOOK_EVERY = 0.5
"""Seconds: 3,200 rows are not read in no time."""

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("crds")]


@pytest.fixture
def site(kubectl: Kubectl, namespace: str, postgres_database: str, tmp_path: Path) -> Iterator[Site]:
    with Site(kubectl, namespace, postgres_database, tmp_path) as made:
        yield made


def settled(shards: list[Shard], executors: int, count: int = GROUPS * SHARDS) -> bool:
    """Whether all are there, assigned evenly, and with whom they are assigned to."""
    counts = parts(shards).values()
    even = len(counts) == executors and max(counts) - min(counts) <= 1
    return len(shards) == count and even and all(shard.owner == shard.assigned_to for shard in shards)


def parts(shards: list[Shard]) -> Counter[str | None]:
    return Counter(shard.assigned_to for shard in shards)


def owners(shards: list[Shard]) -> dict[ShardKey, str | None]:
    return {shard.key: shard.owner for shard in shards}


def epochs(shards: list[Shard]) -> dict[ShardKey, int]:
    return {shard.key: shard.epoch for shard in shards}


def wait_settled(site: Site, executors: int, within: float) -> list[Shard]:
    def found() -> list[Shard]:
        shards = site.shards()
        claimed = sum(shard.owner == shard.assigned_to for shard in shards)
        assert settled(shards, executors), f"{len(shards)} shards, {claimed} claimed as {parts(shards)}"
        return shards

    return eventually_blocking(found, within, LOOK_EVERY)


def shown(site: Site) -> Counter[str]:
    """How many groups' statuses name each executor."""
    form = 'jsonpath={range .items[*].status.executors[*]}{.name}{"\\n"}{end}'
    return Counter(site.kubectl("get", "tg", "-n", site.namespace, "-o", form).split())


def incarnation_of(site: Site, executor: ServiceProcess) -> str:
    async def read(store: Store) -> list[Member]:
        return await store.members("default")

    members = site.ask(read)
    return next(m.incarnation for m in members if m.name.endswith(f"-{executor.pid}") and not m.dead)


def test_200_groups_are_assigned_move_once_and_are_taken_over(site: Site) -> None:
    leader = site.operator()
    first, second = site.executor(), site.executor()
    site.wait_leading(leader)
    first.wait_ready()
    second.wait_ready()
    names = [f"group-{number}" for number in range(GROUPS)]

    site.kubectl.apply(*groups(names, shards=SHARDS), namespace=site.namespace)
    applied = time.monotonic()
    before = wait_settled(site, 2, ASSIGNED_WITHIN)
    log.info("assigned within %.1f s", time.monotonic() - applied)
    site.kubectl(
        "wait", "--for=condition=Ready", "tg", "--all", "-n", site.namespace, f"--timeout={STATUS_WITHIN:.0f}s"
    )
    log.info("all ready within %.1f s", time.monotonic() - applied)

    third = site.executor()
    after = wait_settled(site, 3, 30)
    moved = [key for key, owner in owners(after).items() if owner != owners(before)[key]]
    assert len(moved) <= -(-GROUPS * SHARDS // 3)
    newcomer = incarnation_of(site, third)
    assert {owners(after)[key] for key in moved} == {newcomer}
    grown = {key: epoch - epochs(before)[key] for key, epoch in epochs(after).items()}
    assert all(step == (1 if key in moved else 0) for key, step in grown.items())
    log.info("a third executor moved %d of %d", len(moved), len(after))

    for name in names[:20]:
        site.kubectl.patch("tg", name, {"status": None}, namespace=site.namespace, subresource="status")
    eventually_blocking(lambda: all(site.group(name).get("status", {}).get("executors") for name in names[:20]), 20)
    assert epochs(site.shards()) == epochs(after)

    follower = site.operator()
    follower.wait_ready()
    dead = incarnation_of(site, first)
    leader.kill()
    first.kill()
    killed = time.monotonic()
    eventually_blocking(lambda: {dead, None}.isdisjoint(owners(site.shards()).values()), 15, LOOK_EVERY)
    took = time.monotonic() - killed
    log.info("taken over within %.1f s, the leader dead too", took)
    assert took <= TAKING_WITHIN

    site.wait_leading(follower)
    wait_settled(site, 2, 20)
    stayed = [key for key, owner in owners(after).items() if owner != dead]
    assert {key: epoch for key, epoch in epochs(site.shards()).items() if key in stayed} == {
        key: epochs(after)[key] for key in stayed
    }
    eventually_blocking(
        lambda: len(shown(site)) == 2 and sum(shown(site).values()) == 2 * GROUPS, STATUS_WITHIN, LOOK_EVERY
    )
