"""Processes that die at once, and one that stands still."""

from __future__ import annotations

import signal
import time
from typing import Final

from faults.checks import DECLARED_DEAD_AFTER, SETTLED_BY, Fault
from faults.rig import Rig

STARTED_AGAIN_AFTER: Final = 5.0
BOTH_STARTED_AGAIN_AFTER: Final = 2.0
PAUSED_FOR: Final = 6.0
DRAINS_FOR: Final = 3.0


def one(rig: Rig) -> Fault:
    """An executor; the other takes over, and it comes back later."""
    return _executor(rig, "executor-1")


def the_other(rig: Rig) -> Fault:
    """The other one, when the first has been killed and is back. What is counted as the fault is the second kill."""
    first = _executor(rig, "executor-1")
    rig.ownership.wait_shared("executor-1", "executor-2")
    second = _executor(rig, "executor-2")
    return Fault(begun=second.begun, ended=second.ended, in_flight=first.in_flight | second.in_flight, taken_over=True)


def both(rig: Rig) -> Fault:
    """Both executors; no one takes over until they are started again. Over when they are: their own start counts."""
    names = ("executor-1", "executor-2")
    living = rig.ownership.living(*names)
    begun = time.time()
    for name in names:
        rig.services[name].signal(signal.SIGKILL)
    time.sleep(SETTLED_BY)
    in_flight = rig.ownership.in_flight(living)
    time.sleep(BOTH_STARTED_AGAIN_AFTER)
    for name in names:
        rig.services[name].kill()
        rig.services[name].start()
    ended = time.time()
    rig.services[names[0]].wait_ready()
    return Fault(begun=begun, ended=ended, in_flight=in_flight)


def bridge(rig: Rig) -> Fault:
    """A bridge; what it had acknowledged fires on, without a gap."""
    begun = time.time()
    rig.services["bridge-1"].kill()
    time.sleep(STARTED_AGAIN_AFTER)
    rig.services["bridge-1"].start()
    rig.services["bridge-1"].wait_ready()
    return Fault(begun=begun, ended=begun)


def draining(rig: Rig) -> Fault:
    """An executor that was told to stop and waits for slow targets: what it waited for comes again."""
    living = rig.ownership.living("executor-1")
    begun = time.time()
    rig.services["executor-1"].signal(signal.SIGTERM)
    time.sleep(DRAINS_FOR)
    rig.services["executor-1"].kill()
    killed = time.time()
    time.sleep(SETTLED_BY)
    in_flight = rig.ownership.in_flight(living)
    time.sleep(STARTED_AGAIN_AFTER)
    rig.services["executor-1"].start()
    rig.services["executor-1"].wait_ready()
    return Fault(begun=begun, ended=killed + DECLARED_DEAD_AFTER, in_flight=in_flight)


def pause(rig: Rig) -> Fault:
    """SIGSTOP of an executor, longer than it takes to be declared dead, and SIGCONT."""
    living = rig.ownership.living("executor-1")
    begun = time.time()
    rig.services["executor-1"].signal(signal.SIGSTOP)
    time.sleep(SETTLED_BY)
    in_flight = rig.ownership.in_flight(living)
    time.sleep(max(0.0, begun + PAUSED_FOR - time.time()))
    rig.services["executor-1"].signal(signal.SIGCONT)
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)


def _executor(rig: Rig, name: str) -> Fault:
    living = rig.ownership.living(name)
    begun = time.time()
    rig.services[name].kill()
    time.sleep(SETTLED_BY)
    in_flight = rig.ownership.in_flight(living)
    time.sleep(STARTED_AGAIN_AFTER)
    rig.services[name].start()
    rig.services[name].wait_ready()
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)
