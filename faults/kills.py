"""Processes that die at once."""

from __future__ import annotations

import time

from faults.checks import Fault
from faults.rig import Rig

STARTED_AGAIN_AFTER = 5.0
SETTLED_BY = 0.3
"""Seconds after which a settle that a killed process had sent is committed, or never is."""


def one(rig: Rig) -> Fault:
    """kill -9 of an executor; the other takes over, and it comes back later."""
    return _killed(rig, "executor-1")


def _killed(rig: Rig, name: str) -> Fault:
    begun = time.time()
    rig.services[name].kill()
    time.sleep(SETTLED_BY)
    in_flight = rig.in_flight(name)
    time.sleep(STARTED_AGAIN_AFTER)
    rig.services[name].start()
    rig.services[name].wait_ready()
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)
