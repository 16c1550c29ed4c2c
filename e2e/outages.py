"""The control plane is away, the database is away, or an executor does not reach it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Final

import asyncpg

from e2e.kills import killed
from e2e.kubectl import Pod, waited
from e2e.node import cut_off, program
from e2e.stage import Stage
from faults.checks import SETTLED_BY, Fault

CONTROL_PLANE_AWAY_FOR: Final = 60.0
KILLED_AFTER: Final = 20.0
"""Seconds without the control plane before the executor is killed."""

CUT_FOR: Final = 10.0
DATABASE_PORT: Final = 5432
BACK_WITHIN: Final = 60.0


def operator_gone(stage: Stage) -> Fault:
    """No operator for a minute, in which an executor is killed."""
    deployment = stage.kubectl.deployment("operator")
    stage.kubectl("scale", deployment, "--replicas=0")
    waited(lambda: not stage.kubectl.pods("operator"), BACK_WITHIN)
    fault = _killed_meanwhile(stage, stage.executors())
    stage.kubectl("scale", deployment, "--replicas=2")
    stage.kubectl("rollout", "status", deployment, f"--timeout={BACK_WITHIN:g}s")
    stage.wait_shared()
    return fault


def api_server_gone(stage: Stage) -> Fault:
    """No API server for a minute, in which an executor is killed; its container comes back and serves without it."""
    pods = stage.executors()
    stage.cluster.kill_api_server()
    try:
        fault = _killed_meanwhile(stage, pods)
    finally:
        stage.cluster.up()
    waited(lambda: stage.kubectl("get", "--raw=/readyz"), BACK_WITHIN)
    stage.wait_shared()
    return fault


def cut_from_database(stage: Stage) -> Fault:
    """One executor's packets to and from the database are thrown away."""
    pod = stage.executors()[0]
    living = stage.ownership.living(pod.name)
    begun = time.time()
    with cut_off(pod, DATABASE_PORT):
        time.sleep(SETTLED_BY)
        in_flight = stage.ownership.in_flight(living)
        time.sleep(max(0.0, begun + CUT_FOR - time.time()))
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)


def database_restarted(stage: Stage) -> Fault:
    """PostgreSQL is told to stop at once, and its container starts again."""
    pod = stage.tool("postgresql")
    before = program(pod)
    begun = time.time()
    os.kill(before, signal.SIGINT)
    waited(lambda: program(pod) != before, BACK_WITHIN)
    waited(lambda: _answers(stage), BACK_WITHIN)
    return Fault(begun=begun, ended=time.time())


def _killed_meanwhile(stage: Stage, pods: Sequence[Pod]) -> Fault:
    """Kills an executor's process after a while, and lets the rest of a minute pass."""
    since = time.monotonic()
    time.sleep(KILLED_AFTER)
    fault = killed(stage, pods)
    time.sleep(max(0.0, CONTROL_PLANE_AWAY_FOR - (time.monotonic() - since)))
    return fault


def _answers(stage: Stage) -> bool:
    try:
        return bool(stage.ownership.fetch("SELECT 1"))
    except asyncpg.PostgresError:
        return False
