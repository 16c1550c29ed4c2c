"""The election on a real API server, with real processes that are killed, frozen and stopped."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_timer.clock import SystemClock
from durable_timer.errors import LeaseLost
from durable_timer.kube.client import LEASE, KubeClient, open_client
from durable_timer.kube.lease import GIVE_UP, RENEW, Election
from faults.proxy import Proxy
from tests.cluster.accounts import account
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

FOLLOWED_WITHIN = 15.0
STOPPED_FOLLOWED_WITHIN = 3.0
RIGHTS = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}


class Elector:
    """One process of `tests.cluster.elector`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, kubeconfig: Path, namespace: str, identity: str) -> "Elector":
        command = [sys.executable, "-m", "tests.cluster.elector", str(kubeconfig), namespace, identity]
        return cls(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))

    async def says(self, within: float = 60.0) -> str:
        """Its next word."""
        assert self._process.stdout is not None
        async with asyncio.timeout(within):
            return (await self._process.stdout.readline()).decode().strip()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Electors:
    """The processes of one test."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self.running: list[Elector] = []

    async def start(self, identity: str) -> Elector:
        elector = await Elector.start(self._kubeconfig, self._namespace, identity)
        self.running.append(elector)
        return elector


@pytest.fixture
async def electors(kubectl: Kubectl, namespace: str, tmp_path: Path) -> AsyncIterator[Electors]:
    """Processes as an account with no other right than on Leases; there is a Lease that nobody holds."""
    made = Electors(account(kubectl, namespace, tmp_path / "config", [RIGHTS]), namespace)
    _released(kubectl, namespace)
    yield made
    for elector in made.running:
        await elector.end()


def _released(kubectl: Kubectl, namespace: str) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "operator"}}
    kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps({**lease, "spec": {"holderIdentity": ""}}))


def _holder(kubectl: Kubectl, namespace: str) -> str | None:
    lease = kubectl.find("lease", "operator", namespace=namespace)
    return None if lease is None else lease["spec"].get("holderIdentity")


async def _holds(kubectl: Kubectl, namespace: str, identity: str) -> None:
    async def holds() -> bool:
        return await asyncio.to_thread(_holder, kubectl, namespace) == identity

    await eventually(holds, 30.0)


async def test_one_leads_and_the_other_follows_when_it_is_killed(
    electors: Electors, kubectl: Kubectl, namespace: str
) -> None:
    leader = await electors.start("one")
    assert await leader.says() == "leading"
    follower = await electors.start("two")
    leader.signal(signal.SIGKILL)
    killed = time.monotonic()
    assert await follower.says() == "leading"
    assert time.monotonic() - killed < FOLLOWED_WITHIN
    lease = kubectl.get("lease", "operator", namespace=namespace)["spec"]
    assert (lease["holderIdentity"], lease["leaseTransitions"], lease["leaseDurationSeconds"]) == ("two", 2, 10)


async def test_a_planned_stop_hands_over(electors: Electors, kubectl: Kubectl, namespace: str) -> None:
    leader = await electors.start("one")
    assert await leader.says() == "leading"
    follower = await electors.start("two")
    version = kubectl.get("lease", "operator", namespace=namespace)["metadata"]["resourceVersion"]

    async def renewed() -> bool:
        lease = await asyncio.to_thread(kubectl.get, "lease", "operator", namespace=namespace)
        return bool(lease["metadata"]["resourceVersion"] != version)

    await eventually(renewed)
    leader.signal(signal.SIGTERM)
    stopped = time.monotonic()
    assert await leader.says() == "released"
    assert await follower.says() == "leading"
    assert time.monotonic() - stopped < STOPPED_FOLLOWED_WITHIN


async def test_who_was_frozen_finds_out_before_it_writes(electors: Electors, kubectl: Kubectl, namespace: str) -> None:
    frozen = await electors.start("one")
    assert await frozen.says() == "leading"
    follower = await electors.start("two")
    frozen.signal(signal.SIGSTOP)
    assert await follower.says() == "leading"
    frozen.signal(signal.SIGCONT)
    assert await frozen.says() == "lost"
    await _holds(kubectl, namespace, "two")


async def test_a_lease_deleted_by_hand_is_made_again_by_its_leader(
    electors: Electors, kubectl: Kubectl, namespace: str
) -> None:
    leader = await electors.start("one")
    assert await leader.says() == "leading"
    follower = await electors.start("two")
    for _ in range(3):
        kubectl("delete", "lease", "operator", "-n", namespace)
        await _holds(kubectl, namespace, "one")
    with pytest.raises(TimeoutError):
        await follower.says(within=GIVE_UP)
    with pytest.raises(TimeoutError):
        await leader.says(within=0.1)


async def test_the_lead_outlasts_an_api_server_that_is_away_shortly_and_no_longer(
    client: KubeClient, namespace: str, proxied: tuple[Proxy, Path]
) -> None:
    proxy, config = proxied
    await client.create(LEASE, namespace, {"metadata": {"name": "operator"}, "spec": {"holderIdentity": ""}})
    async with open_client(config) as through:
        election = Election(through, namespace, "operator", "one", SystemClock())
        await election.acquire()
        holding = asyncio.ensure_future(election.hold())
        proxy.answers.shut()
        await asyncio.sleep(RENEW / 2)
        proxy.answers.open()
        before = await client.get(LEASE, namespace, "operator")

        async def renewed() -> bool:
            return await client.get(LEASE, namespace, "operator") != before

        await eventually(renewed)
        assert election.leading()
        assert not holding.done()
        await proxy.stop()
        with pytest.raises(LeaseLost, match="not renewed for 6 s"):
            await asyncio.wait_for(holding, 30)
        assert not election.leading()


async def test_another_holder_ends_the_lead_at_the_next_renewal(client: KubeClient, namespace: str) -> None:
    await client.create(LEASE, namespace, {"metadata": {"name": "operator"}, "spec": {"holderIdentity": ""}})
    election = Election(client, namespace, "operator", "one", SystemClock(), duration=5, renew=0.5, give_up=3)
    await election.acquire()
    lease = await client.get(LEASE, namespace, "operator")
    assert lease is not None
    await client.replace(LEASE, namespace, {**lease, "spec": {**lease["spec"], "holderIdentity": "two"}})
    with pytest.raises(LeaseLost, match="two holds it"):
        await asyncio.wait_for(election.hold(), 20)
    assert not election.leading()
