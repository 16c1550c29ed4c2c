"""Nobody can name a Secret of another namespace: neither in a group, nor in a Timer, nor over REST."""

from pathlib import Path
from typing import Any

import pytest

from durable_timer.errors import KubeRejected
from durable_timer.kube.client import OURS, KubeClient
from durable_timer.models.resource import GROUP, VERSION, ResourceKind
from tests.programs.client import Client
from tests.support.kubectl import Kubectl
from tests.support.process import ServiceProcess

ELSEWHERE = {"name": "token", "key": "value", "namespace": "kube-system"}
HEADERS = [{"name": "authorization", "valueFrom": {"secretKeyRef": ELSEWHERE}}]
SPECS: dict[ResourceKind, dict[str, Any]] = {
    ResourceKind.TIMER_GROUP: {"callback": {"signing": {"secretRefs": [ELSEWHERE]}}},
    ResourceKind.TIMER: {
        "groupRef": {"name": "g"},
        "executeAt": "2030-01-01T00:00:00Z",
        "callbackUrl": "http://a.example/",
        "headers": HEADERS,
    },
}


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("kind", ResourceKind)
async def test_a_namespace_beside_a_secrets_name_is_refused_by_kubectl_and_never_stored(
    client: KubeClient, kubectl: Kubectl, namespace: str, kind: ResourceKind
) -> None:
    body = {"metadata": {"name": "x"}, "spec": SPECS[kind]}
    with pytest.raises(AssertionError, match=r"namespace.*field not declared in schema|unknown field"):
        kubectl.apply({"apiVersion": f"{GROUP}/{VERSION}", "kind": kind.value, **body}, namespace=namespace)
    stored = await client.create(OURS[kind], namespace, body)
    assert "kube-system" not in str(stored["spec"])
    assert "'name': 'token'" in str(stored["spec"])


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("name", ["kube-system/token", "../token", "Token", ""])
async def test_a_secrets_name_is_a_name(client: KubeClient, namespace: str, name: str) -> None:
    spec = {"callback": {"signing": {"secretRefs": [{"name": name, "key": "value"}]}}}
    with pytest.raises(KubeRejected, match=r"secretRefs\[0\]\.name"):
        await client.create(OURS[ResourceKind.TIMER_GROUP], namespace, {"metadata": {"name": "x"}, "spec": spec})


def test_rest_takes_no_references_to_secrets(tmp_path: Path) -> None:
    arguments = ("--store", f"sqlite:///{tmp_path}/timers.sqlite", "--groups", "examples/timergroup.yaml")
    with ServiceProcess("standalone", *arguments, log=tmp_path / "log") as service:
        service.wait_ready()
        for headers in (
            HEADERS,
            {"authorization": HEADERS[0]["valueFrom"]},
            {"authorization": {"secretRef": ELSEWHERE}},
        ):
            timer = {"delay": "1h", "callbackUrl": "http://a.example/", "headers": headers}
            assert Client(service.url).request("POST", "/api/v1/groups/demo/timers", timer).status == 400
