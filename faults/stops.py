"""Stops that are planned: no duplicate, and hardly a gap."""

from __future__ import annotations

import time

from durable_timer.stores.sql.migrate import VERSION_TABLE
from faults.checks import PLANNED_WITHIN, Fault
from faults.next_release import NEXT
from faults.rig import Rig


def executor(rig: Rig) -> Fault:
    """SIGTERM of an executor whose callbacks are answered slowly: its shards go over at once, it ends later."""
    begun = time.time()
    _restart(rig, "executor-1")
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN)


def everything(rig: Rig) -> Fault:
    """All bridges and executors in turn, each ready again before the next."""
    begun = time.time()
    for name in list(rig.services):
        _restart(rig, name)
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN)


def release(rig: Rig) -> Fault:
    """An executor of the next release migrates under load; those of this one go on beside it, and start anew.

    Raises:
        RuntimeError: the schema was not made the next one, and still the next one after all that.
    """
    begun = time.time()
    rig.add("executor-3", rig.service("executor-3", next_release=True))
    rig.services["executor-3"].start()
    rig.services["executor-3"].wait_ready()
    _require_schema(rig, NEXT)
    rig.ownership.wait_shared("executor-1", "executor-2", "executor-3")
    _restart(rig, "executor-1")
    _restart(rig, "bridge-1")
    _require_schema(rig, NEXT)
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN)


def _require_schema(rig: Rig, version: int) -> None:
    found = [row["version_num"] for row in rig.ownership.fetch(f"SELECT version_num FROM {VERSION_TABLE}")]
    if found != [f"{version:04}"]:
        raise RuntimeError(f"the store's schema is {found}, not {version:04}")


def _restart(rig: Rig, name: str) -> None:
    """Raises RuntimeError when the process did not end well."""
    if code := rig.services[name].stop():
        raise RuntimeError(f"{name} ended with {code}")
    rig.services[name].start()
    rig.services[name].wait_ready()
