"""The chart on a real API server: its objects are accepted, its pods restricted, its accounts bounded."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from docs.chart import MANIFESTS, find_helm
from tests.chart.conftest import FULL
from tests.support.foreign import foreign_definitions
from tests.support.helm import Helm, Json, Objects, merged
from tests.support.kubectl import Kubectl

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    program = find_helm()
    if program is None:
        pytest.skip("needs Helm on the PATH, or named by HELM")
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture
def restricted(namespace: str, kubectl: Kubectl) -> str:
    """The test's namespace, which takes restricted pods only."""
    kubectl("label", "namespace", namespace, *(f"{name}={value}" for name, value in RESTRICTED.items()))
    return namespace


@pytest.fixture(scope="session")
def foreign(kubectl: Kubectl) -> None:
    """ServiceMonitor, PrometheusRule and ScaledObject are known to the API server."""
    files = foreign_definitions()
    if files is None:
        pytest.skip("needs Go, to have the definitions of Prometheus' operator and of KEDA")
    for file in files:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))
        kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(file))


@pytest.fixture
def installed(helm: Helm, namespace: str, kubectl: Kubectl) -> Iterator[Objects]:
    """The accounts and rights of a release in the test's namespace."""
    values = {
        "crds": {"install": False},
        "executor": {"secretNamespaces": [{"namespace": namespace, "names": ["webhook-key"]}]},
    }
    kinds = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    objects = Objects(each for each in helm.render(values, namespace) if each["kind"] in kinds)
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
    yield objects
    for each in objects:
        if each["kind"].startswith("Cluster"):
            kubectl("delete", each["kind"], each["metadata"]["name"], "--wait=false")


def dry_run(kubectl: Kubectl, text: str) -> subprocess.CompletedProcess[str]:
    arguments = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
    return kubectl.run(*arguments, stdin=text)


def here(values: dict[str, Any], namespace: str) -> Json:
    """The values with the test's namespace as the only one that is named."""
    return merged(values, {"executor": {"secretNamespaces": [{"namespace": namespace}]}})


@pytest.mark.usefixtures("crds")
def test_the_api_server_accepts_the_defaults(helm: Helm, restricted: str, kubectl: Kubectl) -> None:
    done = dry_run(kubectl, helm.text({}, restricted))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("crds", "foreign")
def test_the_api_server_accepts_everything_at_once(helm: Helm, restricted: str, kubectl: Kubectl) -> None:
    done = dry_run(kubectl, helm.text(here(FULL, restricted), restricted))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("crds")
def test_the_api_server_accepts_one_namespace_alone(helm: Helm, restricted: str, kubectl: Kubectl) -> None:
    done = dry_run(kubectl, helm.text({"watch": {"namespaces": [restricted]}}, restricted))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("crds")
def test_the_api_server_accepts_the_plain_manifests(restricted: str, kubectl: Kubectl) -> None:
    text = kubectl("kustomize", str(MANIFESTS)).replace("namespace: durable-timer\n", f"namespace: {restricted}\n")
    rest = [each for each in yaml.safe_load_all(text) if each["kind"] != "Namespace"]
    done = dry_run(kubectl, yaml.safe_dump_all(rest))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_restricted_namespace_takes_every_pod(helm: Helm, restricted: str, kubectl: Kubectl) -> None:
    objects = helm.render(merged(here(FULL, restricted), {"priorityClass": {"create": False}}), restricted)
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects.of("ServiceAccount")))
    claim = {"name": "data", "emptyDir": {}}
    for name, spec in objects.pods().items():
        spec["volumes"] = [*spec["volumes"], claim] if name.startswith("StatefulSet") else spec["volumes"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": restricted}, "spec": spec}
        done = kubectl.run("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
        assert (done.returncode, done.stderr) == (0, ""), name


ALLOWED = {
    "operator": [
        "patch timergroups.durabletimer.dev", "patch timers.durabletimer.dev", "list timers.durabletimer.dev",
        "patch timergroups.durabletimer.dev --subresource=status", "patch timers.durabletimer.dev --subresource=status",
        "create events.events.k8s.io", "create leases.coordination.k8s.io",
        "update leases.coordination.k8s.io/dt-durable-timer-operator",
    ],
    "executor": ["get secrets/webhook-key"],
    "bridge": [],
    "uninstall": [
        "list timers.durabletimer.dev", "patch timers.durabletimer.dev", "patch timergroups.durabletimer.dev", "list pods",
        "patch deployments.apps/dt-durable-timer-operator --subresource=scale",
    ],
}  # fmt: skip
ALL = sorted({what for allowed in ALLOWED.values() for what in allowed})
NOBODY = [
    "list secrets", "watch secrets", "get secrets", "create secrets", "get secrets/other", "create pods", "delete pods",
    "create pods --subresource=exec", "create timers.durabletimer.dev", "delete timers.durabletimer.dev",
    "delete timergroups.durabletimer.dev", "update timers.durabletimer.dev", "delete leases.coordination.k8s.io",
    "update leases.coordination.k8s.io/another", "patch deployments.apps", "delete deployments.apps", "get configmaps",
    "list namespaces", "patch customresourcedefinitions.apiextensions.k8s.io", "create rolebindings.rbac.authorization.k8s.io",
    "create serviceaccounts --subresource=token", "impersonate users",
]  # fmt: skip


@pytest.mark.usefixtures("crds", "installed")
def test_cluster_wide_the_operator_alone_reaches_other_namespaces(namespace: str, kubectl: Kubectl) -> None:
    for account in ALLOWED:
        subject = f"system:serviceaccount:{namespace}:dt-durable-timer-{account}"
        asked = ("auth", "can-i", "--as", subject, "-n", "default")
        timers = kubectl.run(*asked, "patch", "timers.durabletimer.dev").stdout.strip()
        secrets = kubectl.run(*asked, "get", "secrets/webhook-key").stdout.strip()
        assert (timers, secrets) == ("yes" if account in {"operator", "uninstall"} else "no", "no"), account


@pytest.mark.parametrize("account", ALLOWED)
@pytest.mark.usefixtures("crds", "installed")
def test_an_account_may_do_its_own_and_nothing_else(account: str, namespace: str, kubectl: Kubectl) -> None:
    subject = f"system:serviceaccount:{namespace}:dt-durable-timer-{account}"

    def may(what: str) -> bool:
        said = kubectl.run("auth", "can-i", *what.split(), "-n", namespace, "--as", subject).stdout.strip()
        assert said in {"yes", "no"}, what
        return said == "yes"

    assert {what for what in [*ALL, *NOBODY] if may(what)} == set(ALLOWED[account])
