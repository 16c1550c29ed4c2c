"""`durable-timer uninstall` on a real API server, with no more rights than the chart's hook gives it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.chart import find_helm
from durable_timer.models.resource import FINALIZER
from tests.cluster.accounts import account
from tests.support.helm import Helm
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.usefixtures("crds")

OTHER = "example.com/kept"
Uninstall = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def uninstall(namespace: str, kubectl: Kubectl, tmp_path: Path) -> Uninstall:
    """Runs the command as the hook does."""
    program = find_helm()
    if program is None:
        pytest.skip("needs Helm on the PATH, or named by HELM")
    objects = Helm(program, tmp_path).render({"watch": {"namespaces": [namespace]}}, namespace)
    roles = [each for each in objects.of("Role") if each["metadata"]["name"].endswith("-uninstall")]
    kubeconfig = account(
        kubectl, namespace, tmp_path / "kubeconfig", [rule for role in roles for rule in role["rules"]]
    )
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "DURABLE_TIMER_KUBERNETES__NAMESPACES": namespace,
    }

    def run(timeout: str = "30s") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "durable_timer", "uninstall", "--timeout", timeout]
        command += ["--operator", f"{namespace}/dt-durable-timer-operator"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def operator(namespace: str, kubectl: Kubectl) -> Iterator[None]:
    """A Deployment of that name, whose pods do nothing."""
    labels = {"app": "operator"}
    pod = {"containers": [{"name": "operator", "image": "registry.local/none:1"}], "terminationGracePeriodSeconds": 0}
    kubectl.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "dt-durable-timer-operator"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        namespace=namespace,
    )
    created = "jsonpath={.status.replicas}=2"
    kubectl("wait", "deployment/dt-durable-timer-operator", "-n", namespace, f"--for={created}", "--timeout=30s")
    yield
    kubectl("delete", "deployment", "dt-durable-timer-operator", "-n", namespace, "--ignore-not-found", "--wait=false")


def declare(kubectl: Kubectl, namespace: str, *, timers: int, finalizers: list[str]) -> None:
    metadata = {"namespace": namespace, "finalizers": finalizers}
    kind = {"apiVersion": "durabletimer.dev/v1alpha1"}
    group = {**kind, "kind": "TimerGroup", "metadata": {"name": "group", **metadata}, "spec": {}}
    spec = {
        "groupRef": {"name": "group"},
        "executeAt": "2099-01-01T00:00:00Z",
        "callbackUrl": "http://example.com",
    }
    objects: list[dict[str, Any]] = [group]
    objects += [
        {**kind, "kind": "Timer", "metadata": {"name": f"t{n}", **metadata}, "spec": spec} for n in range(timers)
    ]
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))


def finalizers(kubectl: Kubectl, namespace: str) -> set[str]:
    listed = json.loads(kubectl("get", "timergroups,timers", "-n", namespace, "-o", "json"))["items"]
    return {name for item in listed for name in item["metadata"].get("finalizers", [])}


@pytest.mark.usefixtures("operator")
def test_the_operator_stops_and_its_finalizers_go(namespace: str, kubectl: Kubectl, uninstall: Uninstall) -> None:
    declare(kubectl, namespace, timers=40, finalizers=[FINALIZER])
    kubectl("delete", "timer", "t0", "-n", namespace, "--wait=false")
    done = uninstall()
    assert (done.returncode, done.stderr) == (0, "")
    assert "has stopped" in done.stdout
    assert "from 41 TimerGroups and Timers" in done.stdout
    assert not finalizers(kubectl, namespace)
    assert kubectl.find("timer", "t0", namespace=namespace) is None
    deployment = kubectl.get("deployment", "dt-durable-timer-operator", namespace=namespace)
    assert deployment["spec"]["replicas"] == 0
    again = uninstall()
    assert again.returncode == 0
    assert "from 0 TimerGroups and Timers" in again.stdout


def test_without_an_operator_the_rest_is_done(namespace: str, kubectl: Kubectl, uninstall: Uninstall) -> None:
    declare(kubectl, namespace, timers=1, finalizers=[FINALIZER, OTHER])
    done = uninstall()
    assert done.returncode == 0, done.stderr
    assert finalizers(kubectl, namespace) == {OTHER}
    for kind, name in (("timer", "t0"), ("timergroup", "group")):
        kubectl.patch(kind, name, {"metadata": {"finalizers": None}}, namespace=namespace)


@pytest.mark.usefixtures("operator")
def test_a_pod_that_does_not_end_holds_nothing_up(namespace: str, kubectl: Kubectl, uninstall: Uninstall) -> None:
    declare(kubectl, namespace, timers=1, finalizers=[FINALIZER])
    pod = kubectl("get", "pods", "-n", namespace, "-o", "name").split()[0].removeprefix("pod/")
    kubectl.patch("pod", pod, {"metadata": {"finalizers": [OTHER]}}, namespace=namespace)
    done = uninstall("8s")
    kubectl.patch("pod", pod, {"metadata": {"finalizers": None}}, namespace=namespace)
    assert done.returncode == 0, done.stderr
    assert "going on without waiting" in done.stderr
    assert not finalizers(kubectl, namespace)
