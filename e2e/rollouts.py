"""Changes that people make on purpose: no duplicate, and hardly a gap."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from e2e.kubectl import waited
from e2e.stage import CHART, RELEASE, Stage
from faults.checks import PLANNED_WITHIN, Fault, Measured
from faults.load import GROUP

ROLLED_WITHIN: Final = 180.0
WAIT: Final = ("--wait", f"--timeout={ROLLED_WITHIN:g}s")
HANDED_OVER_WITHIN: Final = 3.0
"""Seconds without a leader when the one that leads is stopped as planned."""

LEADER_LOOK: Final = 0.1
MOST: Final = 4
LOOKS_FOR_ABSENCE: Final = 30.0
"""Seconds in which an operator that took what it does not see for gone would have deleted it: it looks twice, 10 s apart."""


def executors(stage: Stage) -> Fault:
    """A rolling update of executors whose targets answer in 8 s: shards go over at once, pods end later."""
    begun = time.time()
    _restart(stage, "executor")
    stage.wait_shared()
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN)


def bridges(stage: Stage) -> Fault:
    """A rolling update of bridges: each request is answered at its first try."""
    begun = time.time()
    _restart(stage, "bridge")
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN, all_answered=True)


def operators(stage: Stage) -> Fault:
    """A rolling update of the operator: one of the new ones leads in the end."""
    before = {pod.name for pod in stage.kubectl.pods("operator")}
    begun = time.time()
    stage.kubectl("rollout", "restart", stage.kubectl.deployment("operator"))
    away = _longest_without_leader(stage, before)
    stage.kubectl("rollout", "status", stage.kubectl.deployment("operator"), within=ROLLED_WITHIN)
    measured = (Measured("without a leader, at most", away, HANDED_OVER_WITHIN),)
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN, measured=measured)


def scaling(stage: Stage) -> Fault:
    """One executor becomes four, and one again."""
    begun = time.time()
    for count in (MOST, 1):
        stage.kubectl("scale", stage.kubectl.deployment("executor"), f"--replicas={count}")
        waited(partial(_ready, stage, count), ROLLED_WITHIN)
        stage.wait_shared()
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN)


def upgrade(stage: Stage) -> Fault:
    """helm upgrade with other values for all programs, and helm rollback."""
    begun = time.time()
    _upgrade(stage, {"settings": {"log": {"level": "warning"}}})
    stage.wait_shared()
    stage.kubectl.helm("rollback", RELEASE, *WAIT, within=ROLLED_WITHIN)
    stage.wait_shared()
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN, all_answered=True)


def narrowed(stage: Stage) -> Fault:
    """The operator is told to watch another namespace instead: what it sees no longer is not gone."""
    begun = time.time()
    _upgrade(stage, {"watch": {"namespaces": [stage.tools.namespace]}})
    time.sleep(LOOKS_FOR_ABSENCE)
    stage.kubectl.helm("rollback", RELEASE, *WAIT, within=ROLLED_WITHIN)
    stage.wait_ready("timergroup", GROUP)
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN)


def _upgrade(stage: Stage, values: Mapping[str, Any]) -> None:
    changed = stage.values(values)
    stage.kubectl.helm("upgrade", RELEASE, str(CHART), "--values=-", *WAIT, given=changed, within=ROLLED_WITHIN)


def _restart(stage: Stage, component: str) -> None:
    deployment = stage.kubectl.deployment(component)
    stage.kubectl("rollout", "restart", deployment)
    stage.kubectl("rollout", "status", deployment, f"--timeout={ROLLED_WITHIN:g}s", within=ROLLED_WITHIN + 10)


def _ready(stage: Stage, count: int) -> bool:
    pods = stage.executors()
    return len(pods) == count and all(pod.ready for pod in pods)


def _longest_without_leader(stage: Stage, before: set[str]) -> float:
    """Seconds, until one leads that was not there before."""
    longest, since = 0.0, time.monotonic()
    deadline = time.monotonic() + ROLLED_WITHIN
    while time.monotonic() < deadline:
        leader = stage.leader()
        now = time.monotonic()
        if leader:
            longest, since = max(longest, now - since), now
            if not any(name in leader for name in before):
                return longest
        time.sleep(LEADER_LOOK)
    raise TimeoutError(f"no new operator leads within {ROLLED_WITHIN:g} s")
