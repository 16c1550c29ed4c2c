"""Pods' processes that die at once or stand still, and pods that are taken away."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Final

from e2e.kubectl import Pod, waited
from e2e.node import program, send
from e2e.stage import Stage
from faults.checks import SETTLED_BY, Fault, Measured
from tests.support.postgres import runs

PAUSED_FOR: Final = 10.0
LOOK_EACH: Final = 0.1
ENDS_WITHIN: Final = 60.0
BACK_WITHIN: Final = 90.0
LEADS_WITHIN: Final = 15.0
"""Seconds after which another operator leads when the one that led was killed."""


def executor(stage: Stage) -> Fault:
    """kill -9 of one executor's process; its container starts again."""
    return killed(stage, stage.executors())


def twice(stage: Stage) -> Fault:
    """The same executor once more, as soon as it has shards again. What is counted as the fault is the second kill."""
    first = killed(stage, stage.executors())
    second = killed(stage, stage.executors())
    between = Measured("killed again", second.begun - first.begun, 60.0)
    return Fault(
        begun=second.begun,
        ended=second.ended,
        in_flight=first.in_flight | second.in_flight,
        taken_over=True,
        measured=(between,),
    )


def deleted(stage: Stage) -> Fault:
    """kubectl delete pod --force of one executor: the kubelet ends its process soon after, and another pod is made."""
    pod = stage.executors()[0]
    living, process = stage.ownership.living(pod.name), program(pod)
    begun = time.time()
    stage.kubectl("delete", "pod", pod.name, "--force", "--grace-period=0", "--wait=false")
    waited(lambda: not runs(process), ENDS_WITHIN, LOOK_EACH)
    time.sleep(SETTLED_BY)
    in_flight = stage.ownership.in_flight(living)
    waited(lambda: _all_ready(stage, but=pod), BACK_WITHIN)
    stage.wait_shared()
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)


def leader_and_executor(stage: Stage) -> Fault:
    """kill -9 of the operator that leads and of an executor, together; another leads."""
    leader = stage.leader()
    [operator] = [pod for pod in stage.kubectl.pods("operator") if pod.name in leader]
    victim = stage.executors()[0]
    living = stage.ownership.living(victim.name)
    begun = time.time()
    send(operator, signal.SIGKILL)
    send(victim, signal.SIGKILL)
    time.sleep(SETTLED_BY)
    in_flight = stage.ownership.in_flight(living)
    waited(lambda: stage.leader() not in {"", leader}, 2 * LEADS_WITHIN)
    led = time.time() - begun
    stage.wait_shared()
    measured = (Measured("another operator leads", led, LEADS_WITHIN),)
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True, measured=measured)


def pause(stage: Stage) -> Fault:
    """SIGSTOP of an executor for longer than it takes to be declared dead, and SIGCONT."""
    pod = stage.executors()[0]
    living = stage.ownership.living(pod.name)
    begun = time.time()
    send(pod, signal.SIGSTOP)
    time.sleep(SETTLED_BY)
    in_flight = stage.ownership.in_flight(living)
    time.sleep(max(0.0, begun + PAUSED_FOR - time.time()))
    send(pod, signal.SIGCONT)
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)


def killed(stage: Stage, pods: Sequence[Pod]) -> Fault:
    """kill -9 of the first executor's process; over when all share the shards again. Asks nothing of the API server."""
    victim = pods[0]
    before = stage.ownership.living(victim.name)
    begun = time.time()
    send(victim, signal.SIGKILL)
    time.sleep(SETTLED_BY)
    in_flight = stage.ownership.in_flight(before)
    waited(lambda: stage.ownership.living(victim.name) - before, BACK_WITHIN)
    stage.wait_shared(pods, BACK_WITHIN)
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)


def _all_ready(stage: Stage, but: Pod) -> bool:
    pods = stage.executors()
    return len(pods) == stage.shape.executors and all(one.ready and one.name != but.name for one in pods)
