"""kubectl against the cluster of the test session."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WITHIN = 60.0


class Kubectl:
    """Runs `kubectl …` with one kubeconfig. All methods block."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What it wrote to stdout.

        Raises:
            AssertionError: It failed; the message carries what it wrote to stderr.
        """
        done = self.run(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs it, whatever its exit code."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WITHIN, check=False)

    def apply(self, *objects: Mapping[str, Any], namespace: str) -> None:
        """Applies objects server-side."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self("apply", "--server-side", "--force-conflicts", "-n", namespace, "-f", "-", stdin=text)

    def get(self, kind: str, name: str, *, namespace: str) -> dict[str, Any]:
        """The object as it is now."""
        answer: dict[str, Any] = json.loads(self("get", kind, name, "-n", namespace, "-o", "json"))
        return answer

    def find(self, kind: str, name: str, *, namespace: str) -> dict[str, Any] | None:
        """The object as it is now, or None."""
        text = self("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str, subresource: str = "") -> None:
        """Applies a merge patch."""
        more = [f"--subresource={subresource}"] if subresource else []
        self("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(patch), *more)
