"""Many Timers on a real API server: declared in bounded time, and silent when idle.

DURABLE_TIMER_TEST_TIMERS says how many; ten thousand is the long form. It logs its figures: `-o log_cli=true
-o log_cli_level=INFO --log-disable=httpx2`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from durable_timer.kube.client import OURS, open_client
from durable_timer.models.resource import GROUP, VERSION, Resource, ResourceKind
from durable_timer.models.status import ConditionStatus, ConditionType, TimerStatus
from durable_timer.stores.base import Store
from tests.cluster.operators import Site
from tests.cluster.test_timers import timer
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually_blocking

COUNT = int(os.environ.get("DURABLE_TIMER_TEST_TIMERS", "300"))
MANY = 10_000
WITHIN = max(60.0, 300.0 * COUNT / MANY)
IDLE_FOR = 75.0 if COUNT >= MANY else 10.0
"""Long enough, in the long form, for a comparison of all of them."""

AT_ONCE = 32
log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("crds")]


@pytest.fixture
def site(kubectl: Kubectl, namespace: str, postgres_database: str, tmp_path: Path) -> Iterator[Site]:
    with Site(kubectl, namespace, postgres_database, tmp_path) as made:
        yield made


def test_many_are_declared_in_time_and_cost_nothing_when_idle(site: Site) -> None:
    operator = site.operator()
    site.executor()
    site.apply_group("orders", shards=16)
    site.wait_ready("orders")
    began = time.monotonic()
    asyncio.run(create(site))
    created = time.monotonic() - began
    eventually_blocking(lambda: every_second(lambda: site.ask(rows) == COUNT), WITHIN)
    eventually_blocking(lambda: every_second(lambda: asyncio.run(declared(site)) == COUNT), WITHIN)
    took = time.monotonic() - began
    log.info("%d Timers: created in %.1f s, all Ready %.1f s after the first create began", COUNT, created, took)
    assert took < WITHIN

    settled = eventually_blocking(lambda: unchanged(site), 120.0)
    assert settled is not None
    used, until = cpu_seconds(operator.pid), time.monotonic() + IDLE_FOR
    eventually_blocking(lambda: time.monotonic() >= until, IDLE_FOR + 5)
    share = (cpu_seconds(operator.pid) - used) / IDLE_FOR
    log.info("idle for %.0f s: %.1f %% of a core", IDLE_FOR, 100 * share)
    assert asyncio.run(versions(site)) == settled
    assert share < 0.3

    began = time.monotonic()
    site.kubectl("delete", "--raw", f"/apis/{GROUP}/{VERSION}/namespaces/{site.namespace}/timers")
    eventually_blocking(lambda: every_second(lambda: site.ask(rows) == 0), WITHIN)
    eventually_blocking(lambda: not asyncio.run(versions(site)), WITHIN)
    log.info("gone with their rows %.1f s after the delete began", time.monotonic() - began)


async def create(site: Site) -> None:
    """Makes them all, some at once, each to fire in many years."""
    names = iter(range(COUNT))
    async with open_client(site.kubectl.kubeconfig) as client:

        async def work() -> None:
            for number in names:
                body = timer(
                    f"t{number}", "http://127.0.0.1:1/", executeAt="2099-01-01T00:00:00Z", payload={"n": number}
                )
                body["metadata"]["namespace"] = site.namespace
                await client.create(OURS[ResourceKind.TIMER], site.namespace, body)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())


async def rows(store: Store) -> int:
    """How many rows there are."""
    return (await store.counts("orders")).pending


def every_second(look: Callable[[], bool]) -> bool:
    """What a look finds, a second after the last: a list of ten thousand costs as much as declaring some hundred."""
    until = time.monotonic() + 1
    eventually_blocking(lambda: time.monotonic() >= until)
    return look()


async def declared(site: Site) -> int:
    """How many are Ready."""
    async with open_client(site.kubectl.kubeconfig) as client:
        bodies = await client.list(OURS[ResourceKind.TIMER], site.namespace)
        return sum(is_ready(Resource.parse(body)) for body in bodies)


def is_ready(resource: Resource) -> bool:
    conditions = TimerStatus.model_validate(dict(resource.status)).conditions
    return any(one.type == ConditionType.READY and one.status is ConditionStatus.TRUE for one in conditions)


async def versions(site: Site) -> dict[str, str]:
    """The version of each Timer: another one after each write."""
    async with open_client(site.kubectl.kubeconfig) as client:
        bodies = await client.list(OURS[ResourceKind.TIMER], site.namespace)
        return {body["metadata"]["name"]: body["metadata"]["resourceVersion"] for body in bodies}


def unchanged(site: Site) -> Mapping[str, str] | None:
    """All versions, when none was written for two seconds."""
    before = asyncio.run(versions(site))
    until = time.monotonic() + 2
    eventually_blocking(lambda: time.monotonic() >= until)
    return before if asyncio.run(versions(site)) == before else None


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
