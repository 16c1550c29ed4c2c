"""Two operators: one leads, the other takes over, and what an old leader does late changes nothing."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_timer.cli.exits import ExitCode
from tests.cluster.operators import LEASE, Site
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually_blocking

KILLED_FOLLOWED_WITHIN = 15.0
STOPPED_FOLLOWED_WITHIN = 3.0
FROZEN_FOR = 30.0

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("crds")]


@pytest.fixture
def site(kubectl: Kubectl, namespace: str, postgres_database: str, tmp_path: Path) -> Iterator[Site]:
    with Site(kubectl, namespace, postgres_database, tmp_path) as made:
        yield made


def test_another_leads_after_a_kill_and_at_once_after_a_stop(site: Site) -> None:
    first = site.operator()
    site.wait_leading(first)
    second = site.operator()
    second.wait_ready()
    site.apply_group("orders")
    site.wait_reason("orders", "NoExecutors")

    first.kill()
    killed = time.monotonic()
    site.wait_leading(second, KILLED_FOLLOWED_WITHIN)
    assert time.monotonic() - killed <= KILLED_FOLLOWED_WITHIN
    third = site.operator()
    third.wait_ready()
    eventually_blocking(lambda: third.output.count("serving"))
    site.apply_group("later")
    site.wait_reason("later", "NoExecutors")

    stopping = time.monotonic()
    second.signal(signal.SIGTERM)
    site.wait_leading(third, STOPPED_FOLLOWED_WITHIN)
    assert time.monotonic() - stopping <= STOPPED_FOLLOWED_WITHIN
    assert second.wait() == ExitCode.OK
    site.apply_group("last")
    site.wait_reason("last", "NoExecutors")


def test_a_lease_deleted_by_hand_stops_and_forks_nothing(site: Site) -> None:
    leader = site.operator()
    site.executor()
    site.wait_leading(leader)
    follower = site.operator()
    site.apply_group("orders")
    site.wait_ready("orders")
    before = site.shards()
    site.kubectl("delete", "lease", LEASE, "-n", site.namespace)
    eventually_blocking(lambda: site.holder() != "")
    site.apply_group("later", shards=1)
    site.wait_ready("later")
    assert site.leads(leader)
    assert [shard for shard in site.shards() if shard.group_id == "orders"] == before
    assert "leading" not in follower.output


def test_losing_the_lease_ends_the_process(site: Site) -> None:
    leader = site.operator()
    site.wait_leading(leader)
    site.kubectl.patch("lease", LEASE, {"spec": {"holderIdentity": "another"}}, namespace=site.namespace)
    assert leader.wait(15) == ExitCode.LEASE
    assert "another holds it" in leader.output


def test_a_leader_frozen_for_30_seconds_overwrites_nothing(site: Site) -> None:
    old = site.operator()
    site.executor()
    site.wait_leading(old)
    site.apply_group("orders")
    site.wait_ready("orders")
    old.signal(signal.SIGSTOP)
    frozen = time.monotonic()
    new = site.operator()
    site.wait_leading(new, KILLED_FOLLOWED_WITHIN + 5)
    site.executor()
    eventually_blocking(lambda: len({shard.assigned_to for shard in site.shards()}) == 2, 20)
    site.wait_ready("orders")
    eventually_blocking(lambda: len(site.group("orders")["status"]["executors"]) == 2)
    site.apply_group("later", shards=4)
    site.wait_ready("later")
    eventually_blocking(lambda: time.monotonic() - frozen >= FROZEN_FOR, FROZEN_FOR + 5)
    shards = site.shards()
    status = site.group("orders")["status"]

    old.signal(signal.SIGCONT)
    assert old.wait(15) == ExitCode.LEASE
    assert site.shards() == shards
    assert site.group("orders")["status"] == status
    assert site.leads(new)
