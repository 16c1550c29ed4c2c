"""Helm, as the chart's tests use it."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from docs.chart import CHART, KUBE_VERSION

Json = dict[str, Any]

STORE: Json = {"stores": {"default": {"secretName": "timers-db"}}}
"""The least that has to be said."""


class HelmRefused(Exception):
    """Helm's message."""


class Helm:
    """Runs one program; the values of a call are added to `STORE`."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self._folder = folder

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None, timeout: float = 60) -> str:
        """Raises: HelmRefused."""
        command = [self.program, *arguments]
        if values is not None:
            file = self._folder / "values.yaml"
            file.write_text(yaml.safe_dump(merged(STORE, values)))
            command += ["--values", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise HelmRefused(done.stdout + done.stderr)
        return done.stdout

    def text(self, values: Mapping[str, Any] | None = None, namespace: str = "timers", *more: str) -> str:
        """What the chart renders, hooks included."""
        common = ("template", "dt", str(CHART), "--namespace", namespace, "--kube-version", KUBE_VERSION)
        return self.run(*common, *more, values=values or {})

    def render(self, values: Mapping[str, Any] | None = None, namespace: str = "timers") -> "Objects":
        return Objects(document for document in yaml.safe_load_all(self.text(values, namespace)) if document)


class Objects(list[Json]):
    """Rendered objects."""

    def __init__(self, objects: Iterable[Json]) -> None:
        super().__init__(objects)

    def of(self, kind: str) -> list[Json]:
        return [found for found in self if found["kind"] == kind]

    def one(self, kind: str, ends: str = "") -> Json:
        """The only one of its kind whose name ends so."""
        found = [each for each in self.of(kind) if each["metadata"]["name"].endswith(ends)]
        assert len(found) == 1, f"{len(found)} {kind} *{ends}"
        return found[0]

    def pods(self) -> dict[str, Json]:
        """The pod spec of each workload, by kind and name."""
        kinds = ("Deployment", "StatefulSet", "Job")
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"]["spec"]
            for each in self
            if each["kind"] in kinds
        }


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    """As Helm merges values: maps into each other, all else replaced."""
    result = dict(base)
    for name, value in over.items():
        present = result.get(name)
        both = isinstance(present, Mapping) and isinstance(value, Mapping)
        result[name] = merged(present, value) if both and present is not None else value
    return result
