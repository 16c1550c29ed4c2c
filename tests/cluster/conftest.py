"""A real Kubernetes API server for the tests of this folder, which all carry the marker `cluster`.

They run only when they are asked for (`make test-cluster` sets DURABLE_TIMER_TEST_CLUSTER), because a KUBECONFIG that is
just there may name a cluster that people use. The cluster may be shared: each test works in a namespace of its own, and
none removes the custom resource definitions.
"""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from durable_timer.kube.client import KubeClient, open_client
from faults.proxy import Proxy
from tests.cluster.accounts import address, by_way_of
from tests.support.kubectl import Kubectl

ASKED = "DURABLE_TIMER_TEST_CLUSTER"
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCAL = ROOT.parent / "shared" / "cluster" / "up"
KIND_NAME = "durable-timer-tests"
FINALIZED = 'jsonpath={range .items[?(@.metadata.finalizers)]}{.kind}{" "}{.metadata.name}{"\\n"}{end}'


LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks every test of this folder, and leaves them out where nobody asked for them."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
    if not os.environ.get(ASKED):
        config.stash[LEFT_OUT] = len(ours)
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says how many were left out."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{count} tests need a Kubernetes API server: `make test-cluster` (it sets {ASKED})"
        )


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an administrator: KUBECONFIG's, or a local cluster's that is started and left running, or kind's."""
    if given := os.environ.get("KUBECONFIG"):
        yield Path(given)
    elif LOCAL.exists():
        yield _local()
    elif shutil.which("kind") and shutil.which("docker"):
        yield from _kind(tmp_path_factory.mktemp("kind") / "kubeconfig")
    else:
        pytest.fail(f"{ASKED} is set, and there is no cluster: set KUBECONFIG, or install Docker and kind")


@pytest.fixture(scope="session", autouse=True)
def kubectl(kubeconfig: Path) -> Kubectl:
    """kubectl as an administrator."""
    return Kubectl(kubeconfig)


@pytest.fixture(scope="session")
def crds(kubectl: Kubectl) -> None:
    """Our custom resource definitions, as this work tree has them, served."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A new namespace of this test alone, whose deletion is begun at its end."""
    name = f"dt-test-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    yield name
    release_finalizers(kubectl, name)
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    """Our own client, as an administrator."""
    async with open_client(kubeconfig) as opened:
        yield opened


@pytest.fixture
async def proxied(kubectl: Kubectl, tmp_path: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    """A proxy before the API server, and an administrator's kubeconfig by way of it."""
    proxy = Proxy(*address(kubectl))
    port = await proxy.start()
    yield proxy, by_way_of(port, kubectl, tmp_path / "proxied")
    await proxy.stop()


def release_finalizers(kubectl: Kubectl, namespace: str) -> None:
    """Takes the finalizers off all objects of ours there: no operator is left to do it."""
    listed = kubectl.run("get", "timergroups,timers", "-n", namespace, "-o", FINALIZED)
    for kind, name in (line.split() for line in listed.stdout.splitlines()):
        kubectl.run("patch", kind, name, "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def _local() -> Path:
    """Starts the one-node cluster that is kept beside the repository; nothing where it runs."""
    done = subprocess.run([LOCAL, "control-plane"], capture_output=True, text=True, timeout=900, check=False)
    found = re.search(r"^KUBECONFIG=(.+)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        pytest.fail(f"{LOCAL} failed:\n{done.stderr[-2000:]}")
    return Path(found[1])


def _kind(kubeconfig: Path) -> Iterator[Path]:
    common = ["--name", KIND_NAME, "--kubeconfig", str(kubeconfig)]
    subprocess.run(["kind", "create", "cluster", "--wait", "120s", *common], check=True, timeout=600)
    try:
        yield kubeconfig
    finally:
        subprocess.run(["kind", "delete", "cluster", *common], check=True, timeout=120)
