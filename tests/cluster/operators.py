"""Operators and executors as real processes on the API server of the session and a PostgreSQL database."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from durable_timer.models.group import Group
from durable_timer.models.ownership import Shard
from durable_timer.stores.base import Store
from durable_timer.stores.registry import open_store
from tests.support.kubectl import Kubectl
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually_blocking

T = TypeVar("T")
LEASE = "durable-timer-operator"
READY = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"


class Site:
    """One namespace with what runs for it; leaving the block ends all processes. All methods block."""

    def __init__(self, kubectl: Kubectl, namespace: str, store: str, folder: Path) -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        self.store = store
        self._folder = folder
        self._stack = ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        self.free_lease()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def free_lease(self) -> None:
        """Makes a Lease that nobody holds, so that the first operator need not wait for a leader that never was."""
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE},
            "spec": {"holderIdentity": ""},
        }
        self.kubectl.apply(lease, namespace=self.namespace)

    def operator(self, *arguments: str, kubeconfig: Path | None = None, **kubernetes: str) -> ServiceProcess:
        """An operator of this namespace, started; settings of the part `kubernetes` by keyword."""
        told = {"namespaces": self.namespace, "lease_namespace": self.namespace} | kubernetes
        settings = [word for name, text in told.items() for word in ("--set", f"kubernetes.{name}={text}")]
        environment = {"KUBECONFIG": str(kubeconfig or self.kubectl.kubeconfig)}
        return self._start("operator", "--store", self.store, *settings, *arguments, environment=environment)

    def executor(self, *arguments: str) -> ServiceProcess:
        """An executor of the store, started."""
        return self._start("executor", "--store", self.store, *arguments)

    def holder(self) -> str:
        """Who holds the Lease."""
        lease = self.kubectl.find("lease", LEASE, namespace=self.namespace)
        return str((lease or {}).get("spec", {}).get("holderIdentity") or "")

    def leads(self, operator: ServiceProcess) -> bool:
        return f"-{operator.pid}_" in self.holder()

    def wait_leading(self, operator: ServiceProcess, within: float = 20.0) -> None:
        eventually_blocking(lambda: self.leads(operator), within)

    def apply_group(self, name: str, **spec: Any) -> None:
        self.kubectl.apply(group(name, **spec), namespace=self.namespace)

    def group(self, name: str) -> dict[str, Any]:
        return self.kubectl.get("tg", name, namespace=self.namespace)

    def condition(self, name: str, type_: str, kind: str = "tg") -> dict[str, Any]:
        """The condition as it is now, or an empty one."""
        found = self.kubectl.find(kind, name, namespace=self.namespace) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def wait_reason(self, name: str, reason: str, type_: str = "Ready", within: float = 20.0) -> dict[str, Any]:
        """The condition, once its reason is that one."""

        def found() -> dict[str, Any] | None:
            condition = self.condition(name, type_)
            assert condition.get("reason") == reason, condition
            return condition

        answer = eventually_blocking(found, within)
        assert answer is not None
        return answer

    def wait_ready(self, name: str, within: float = 20.0) -> None:
        self.wait_reason(name, "Ready", within=within)

    def events(self, name: str) -> list[tuple[str, str]]:
        """Type and reason of each Event about a resource, oldest first."""
        listed = json.loads(self.kubectl("get", "events.events.k8s.io", "-n", self.namespace, "-o", "json"))
        told = [one for one in listed["items"] if one["regarding"]["name"] == name]
        return [(one["type"], one["reason"]) for one in sorted(told, key=lambda one: one["eventTime"])]

    def ask(self, question: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What the store answers."""

        async def run() -> T:
            store = open_store(self.store)
            try:
                return await question(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def rows(self) -> dict[str, Group]:
        """The groups of the store."""

        async def read(store: Store) -> dict[str, Group]:
            return {group.group_id: group for group in (await store.groups(None))[0]}

        return self.ask(read)

    def shards(self, pool: str = "default") -> list[Shard]:
        """The shard rows of a pool."""

        async def read(store: Store) -> list[Shard]:
            return (await store.shards(pool))[0]

        return self.ask(read)

    def _start(self, command: str, *arguments: str, environment: Mapping[str, str] | None = None) -> ServiceProcess:
        self._started += 1
        log = self._folder / f"{command}-{self._started}.log"
        process = ServiceProcess(command, *arguments, log=log, environment=environment)
        self._stack.enter_context(process)
        return process


def group(name: str, **spec: Any) -> dict[str, Any]:
    """A TimerGroup."""
    return {
        "apiVersion": "durabletimer.dev/v1alpha1",
        "kind": "TimerGroup",
        "metadata": {"name": name},
        "spec": spec,
    }


def groups(names: Iterable[str], **spec: Any) -> list[dict[str, Any]]:
    """TimerGroups that differ in their names alone."""
    return [group(name, **spec) for name in names]


def seconds_since(time: str) -> float:
    """The age of a time of Kubernetes."""
    return (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
