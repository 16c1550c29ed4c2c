"""The service as the chart installs it, in a namespace of its own, and a database, a receiver and a client in another."""

from __future__ import annotations

import contextlib
import secrets
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from string import Template
from typing import Any, Final, cast

import orjson
import yaml

from e2e.cluster import ROOT, Cluster, Images
from e2e.kubectl import COMPONENT, Kubectl, Pod, waited
from e2e.node import send
from e2e.remote import RemoteClient
from faults.load import GROUP, Targets
from faults.loop import Loop
from faults.ownership import Ownership
from faults.receiving import SLOW_SECONDS, Receiver

RELEASE: Final = "timers"
CHART: Final = ROOT / "charts" / "durable-timer"
BRIDGE_PORT: Final = 80
READY_WITHIN: Final = 120.0
GONE_WITHIN: Final = 120.0
EXECUTOR_CPU: Final = "50m"
OTHER_CPU: Final = "20m"
"""A fifth or less of what the chart asks for, so that all fit on a small node beside others."""

RESTRICTED: Final = "pod-security.kubernetes.io/enforce=restricted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How an installation differs from the usual one."""

    executors: int = 3
    more: Mapping[str, Any] = field(default_factory=dict)
    """The chart's values, over those of `values`."""


@dataclass(slots=True)
class Stage:
    """A running installation (`faults.scene.Stage`). Services are reached by their cluster address."""

    cluster: Cluster
    images: Images
    kubectl: Kubectl
    tools: Kubectl
    """In the namespace of `tools.yaml`."""
    loop: Loop
    receiver: Receiver
    ownership: Ownership
    shape: Shape

    def client(self, scale: float, slow: float) -> RemoteClient:
        address = f"{_address(self.tools, 'client')}:8080"
        return RemoteClient(address, [self.bridge], self.receiver.targets, scale=scale, slow=slow)

    @property
    def bridge(self) -> str:
        """The URL of the bridges' Service, for pods."""
        return f"http://{self._service()['metadata']['name']}.{self.kubectl.namespace}.svc.cluster.local:{BRIDGE_PORT}"

    @property
    def bridge_here(self) -> str:
        """The same, HOST:PORT, for this machine."""
        return f"{self._service()['spec']['clusterIP']}:{BRIDGE_PORT}"

    def executors(self) -> list[Pod]:
        """The executors' pods, by name."""
        return self.kubectl.pods("executor")

    def leader(self) -> str:
        """The pod that leads, as the Lease says; empty while none does."""
        leases = self.kubectl.get("leases.coordination.k8s.io")["items"]
        return next((lease["spec"].get("holderIdentity") or "" for lease in leases), "")

    def tool(self, name: str) -> Pod:
        """One of `tools.yaml`'s pods."""
        return Pod.parse(self.tools.get("pod", name))

    def wait_shared(self, executors: Sequence[Pod] | None = None, within: float = READY_WITHIN) -> None:
        """Returns once those executors' pods, by default all, own all shards and others none."""
        self.ownership.wait_shared(*(pod.name for pod in executors or self.executors()), within=within)

    def values(self, more: Mapping[str, Any] | None = None) -> str:
        """The chart's values, as JSON."""
        repository, _, tag = self.images.product.rpartition(":")
        usual = {
            "image": {"repository": repository, "tag": tag},
            "crds": {"install": False},
            "watch": {"namespaces": [self.kubectl.namespace]},
            "stores": {"default": {"url": f"postgresql://postgres@postgresql.{self.tools.namespace}:5432/postgres"}},
            "operator": {"resources": {"requests": {"cpu": OTHER_CPU}}},
            "bridge": {"resources": {"requests": {"cpu": OTHER_CPU}}},
            "executor": {"replicas": self.shape.executors, "resources": {"requests": {"cpu": EXECUTOR_CPU}}},
        }
        return orjson.dumps(merged(merged(usual, self.shape.more), more or {})).decode()

    def install(self) -> None:
        """Makes the namespace, installs the chart there, and waits until the group's shards are shared."""
        self.kubectl("create", "namespace", self.kubectl.namespace)
        self.kubectl("label", "namespace", self.kubectl.namespace, RESTRICTED)
        within = f"--timeout={READY_WITHIN:g}s"
        self.kubectl.helm("install", RELEASE, str(CHART), "--values=-", "--wait", within, given=self.values())
        self.kubectl.apply(resource("TimerGroup", GROUP))
        self.wait_ready("timergroup", GROUP)
        self.wait_shared()

    def wait_ready(self, kind: str, name: str, within: float = READY_WITHIN) -> None:
        """Returns once an object's condition Ready is true."""
        self.kubectl("wait", kind, name, "--for=condition=Ready", f"--timeout={within:g}s", within=within + 10)

    def _service(self) -> Mapping[str, Any]:
        [found] = self.kubectl.get("services", f"--selector={COMPONENT}=bridge")["items"]
        return cast(Mapping[str, Any], found)


def resource(kind: str, name: str, **spec: object) -> dict[str, Any]:
    """A TimerGroup or a Timer."""
    return {"apiVersion": "durabletimer.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the other's where they disagree, as Helm merges values."""
    both = {**one, **other}
    for name in one.keys() & other.keys():
        if isinstance(one[name], Mapping) and isinstance(other[name], Mapping):
            both[name] = merged(one[name], other[name])
    return both


@contextlib.contextmanager
def stage(cluster: Cluster, images: Images, name: str, shape: Shape) -> Iterator[Stage]:
    """Starts everything in two new namespaces, and deletes them; returns when their pods are gone."""
    namespace = f"dt-e2e-{name.replace('_', '-')}-{secrets.token_hex(2)}"
    kubectl = Kubectl(cluster.kubeconfig, cluster.helm, namespace)
    tools = replace(kubectl, namespace=f"{namespace}-tools")
    kubectl("apply", "--server-side", "--force-conflicts", f"--filename={ROOT / 'crds'}")
    with contextlib.ExitStack() as stack:
        stack.callback(_delete, kubectl, tools)
        _start(tools, images)
        loop = stack.enter_context(Loop())
        address = _address(tools, "receiver")
        receiver = Receiver(Targets(f"http://{address}:8080", f"http://{address}:8081"))
        store = f"postgresql://postgres@{_address(tools, 'postgresql')}:5432/postgres"
        made = Stage(cluster, images, kubectl, tools, loop, receiver, Ownership(loop, store, GROUP), shape)
        made.install()
        yield made


def _start(tools: Kubectl, images: Images) -> None:
    tools("create", "namespace", tools.namespace)
    tools("label", "namespace", tools.namespace, RESTRICTED)
    text = (ROOT / "e2e" / "tools.yaml").read_text()
    filled = Template(text).substitute(image=images.tools, slow_seconds=SLOW_SECONDS)
    tools.apply(*yaml.safe_load_all(filled))
    ready = ("--selector=tool", "--for=condition=Ready", f"--timeout={READY_WITHIN:g}s")
    tools("wait", "pods", *ready, within=READY_WITHIN + 10)


def _address(kubectl: Kubectl, service: str) -> str:
    return str(kubectl.get("service", service)["spec"]["clusterIP"])


def _delete(*every: Kubectl) -> None:
    """Nobody counts any more what is under way there, and a database that goes first would be waited for: all is killed."""
    for kubectl in every:
        kubectl("delete", "namespace", kubectl.namespace, "--wait=false", "--ignore-not-found")
    for kubectl in every:
        waited(partial(_none_left, kubectl), GONE_WITHIN)


def _none_left(kubectl: Kubectl) -> bool:
    pods = list(map(Pod.parse, kubectl.get("pods")["items"]))
    for pod in pods:
        with contextlib.suppress(ProcessLookupError):
            send(pod, signal.SIGKILL)
    return not pods
