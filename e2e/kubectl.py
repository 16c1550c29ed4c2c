"""kubectl and helm as the tests use them: in one namespace, with what they answer as data."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

USUAL: Final = 90.0
COMPONENT: Final = "app.kubernetes.io/component"


class CommandFailed(Exception):
    """A command's exit code was not 0; the text has what it wrote."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API server said it."""

    name: str
    uid: str
    ip: str
    ready: bool
    deleting: bool

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Pod:
        """From the API's object."""
        status = body["status"]
        conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
        return cls(
            name=body["metadata"]["name"],
            uid=body["metadata"]["uid"],
            ip=status.get("podIP", ""),
            ready=conditions.get("Ready") == "True",
            deleting="deletionTimestamp" in body["metadata"],
        )


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Commands against the cluster that a KUBECONFIG names."""

    kubeconfig: Path
    helm_program: str
    namespace: str

    def __call__(self, *words: str, given: str | None = None, within: float = USUAL) -> str:
        """What `kubectl` writes to standard output, given `given` as its input.

        Raises:
            CommandFailed: it did not succeed.
            subprocess.TimeoutExpired: it did not end in time.
        """
        return _run(
            "kubectl",
            "--kubeconfig",
            str(self.kubeconfig),
            "--namespace",
            self.namespace,
            *words,
            given=given,
            within=within,
        )

    def helm(self, *words: str, given: str | None = None, within: float = 2 * USUAL) -> str:
        """What `helm` writes. Raises as kubectl does."""
        command = (self.helm_program, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace)
        return _run(*command, *words, given=given, within=within)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Applies objects, server-side."""
        self("apply", "--server-side", "--force-conflicts", "--filename=-", given=_listed(objects))

    def get(self, *words: str) -> Any:
        """An object, or a list of them, as the API has it."""
        return orjson.loads(self("get", *words, "--output=json"))

    def pods(self, component: str) -> list[Pod]:
        """The pods of one of the chart's programs, by name, without those that are being deleted."""
        found = self.get("pods", f"--selector={COMPONENT}={component}")["items"]
        return sorted((pod for pod in map(Pod.parse, found) if not pod.deleting), key=lambda pod: pod.name)

    def deployment(self, component: str) -> str:
        """The name of the deployment of one of the chart's programs, as `deployment/NAME`."""
        return self("get", "deployments", f"--selector={COMPONENT}={component}", "--output=name").strip()

    def logs(self, pod: str) -> str:
        """All that a pod's containers wrote, those before the last start as well."""
        earlier = ""
        with contextlib.suppress(CommandFailed):
            earlier = self("logs", pod, "--all-containers", "--previous")
        return earlier + self("logs", pod, "--all-containers")


def _listed(objects: tuple[Mapping[str, Any], ...]) -> str:
    return orjson.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).decode()


def _run(*command: str, given: str | None, within: float) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=within, check=False)
    if done.returncode:
        raise CommandFailed(
            f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


def waited(condition: Callable[[], object], within: float, pause: float = 0.25) -> float:
    """Seconds until the condition answered something truthy, asked over and over; commands that fail count as no.

    Raises:
        TimeoutError: after `within` seconds.
    """
    begun = time.monotonic()
    last: object = None
    while time.monotonic() - begun < within:
        try:
            last = condition()
        except (CommandFailed, OSError) as error:
            last = error
        else:
            if last:
                return time.monotonic() - begun
        time.sleep(pause)
    raise TimeoutError(f"not within {within:g} s; last: {last!r}")
