"""What is done to a pod from its node: signals to its processes, rules in its network. Needs root there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from e2e.kubectl import Pod

PROC: Final = Path("/proc")
BESIDE: Final = {"pause", "tini"}
"""Processes of a pod that are not its program."""


def program(pod: Pod) -> int:
    """The id, on this machine, of the program of a pod that has one container: its oldest process.

    Raises:
        ProcessLookupError: it has none here.
    """
    for pid in _processes(pod.uid):
        with contextlib.suppress(OSError):
            if (PROC / str(pid) / "comm").read_text().strip() not in BESIDE:
                return pid
    raise ProcessLookupError(f"no process of pod {pod.name} runs on this machine")


def send(pod: Pod, number: signal.Signals) -> None:
    """Sends a signal to a pod's program."""
    os.kill(program(pod), number)


@contextlib.contextmanager
def cut_off(pod: Pod, port: int) -> Iterator[None]:
    """Meanwhile what the pod sends to that port of any address, and what comes from it, is thrown away."""
    pid = program(pod)
    rules = (("OUTPUT", "--destination-port"), ("INPUT", "--source-port"))
    for chain, which in rules:
        _iptables(pid, "--insert", chain, which, port)
    try:
        yield
    finally:
        for chain, which in rules:
            _iptables(pid, "--delete", chain, which, port)


def _iptables(pid: int, do: str, chain: str, which: str, port: int) -> None:
    rule = ["--protocol", "tcp", which, str(port), "--jump", "DROP"]
    subprocess.run(["nsenter", "--target", str(pid), "--net", "iptables", "--wait", do, chain, *rule], check=True)


def _processes(pod: str) -> list[int]:
    """The processes of a pod, by its uid, the oldest first; they are there before the API server knows."""
    names = {pod, pod.replace("-", "_")}
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                groups = (folder / "cgroup").read_text()
                if any(f"pod{name}" in groups for name in names):
                    found.append((_started(folder), int(folder.name)))
    return [pid for _, pid in sorted(found)]


def _started(folder: Path) -> int:
    """When a process was started, in ticks since the machine was."""
    return int((folder / "stat").read_text().rpartition(")")[2].split()[19])
