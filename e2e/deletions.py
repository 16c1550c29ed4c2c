"""Groups that are deleted and come again, and an installation that goes with all that is declared."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from durable_timer.models.group import GroupState
from durable_timer.models.resource import GROUP as RESOURCES
from durable_timer.models.resource import VERSION, ResourceKind
from durable_timer.stores.sql.rows import GROUP_STATE_CODES
from e2e.kubectl import waited
from e2e.stage import RELEASE, Stage, resource
from faults.checks import PLANNED_WITHIN, Fault, Measured
from faults.load import GROUP

OTHER: Final = "other"
ROWS: Final = 100_000
BATCH: Final = 1000
SOON: Final = 500
"""Timers of the other group that fall due while it is deleted."""

SOON_IN: Final = timedelta(seconds=40)
REFUSED_WITHIN: Final = 30.0
"""Seconds until a group without finalizer counts as deleted: it is looked for twice, 10 s apart."""

LATE: Final = 3.0
"""Seconds past its time after which a timer that has not fired is held to be kept back."""

OVERDUE_WITHIN: Final = 5.0
FAR: Final = timedelta(days=30)
GONE_WITHIN: Final = 60.0
EMPTY_FOR: Final = 60.0
"""Seconds that a group must have been empty for before it may come again with another number of shards."""

AGAIN_WITHIN: Final = 120.0
TIMERS: Final = 20
TIMERS_KIND: Final = f"{ResourceKind.TIMER.plural}.{RESOURCES}"
ENDS_WITHIN: Final = 60.0

DECLARED: Final = 400
"""Timers of the other group that are deleted, half of each policy; half of each fall due soon."""

DECLARED_DUE_IN: Final = timedelta(seconds=150)
DECLARED_WITHIN: Final = 60.0
"""Seconds until they are Ready, and until they are gone."""

_COUNT: Final = "SELECT count(*) FROM timers WHERE group_id = $1 AND timer_id LIKE $2"
_STATE: Final = "SELECT state FROM timer_groups WHERE group_id = $1"


def purged(stage: Stage) -> Fault:
    """deletionPolicy Delete: the rows go, and a group of that name with another shard count waits until it may come."""
    _other(stage, deletionPolicy="Delete")
    begun = time.time()
    stage.kubectl("delete", "timergroup", OTHER, "--wait=false")
    gone = waited(lambda: not stage.kubectl("get", "timergroup", OTHER, "--ignore-not-found"), GONE_WITHIN)
    if left := _rows(stage):
        raise RuntimeError(f"{left} rows are left of a group that was deleted with them")
    stage.kubectl.apply(resource("TimerGroup", OTHER, shards=8))
    stage.wait_ready("timergroup", OTHER, AGAIN_WITHIN)
    again = time.time() - begun
    measured = (
        Measured("the group gone with 100,000 rows", gone, GONE_WITHIN),
        Measured("another of that name Ready", again, EMPTY_FOR + GONE_WITHIN),
    )
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN, measured=measured)


def purged_again(stage: Stage) -> Fault:
    """deletionPolicy Delete: the resource goes without its purge, and one of that name waits until that has ended."""
    _other(stage, deletionPolicy="Delete")
    begun = time.time()
    stage.kubectl("delete", "timergroup", OTHER, "--wait=false")
    waited(lambda: _purging(stage), GONE_WITHIN)
    stage.kubectl("patch", "timergroup", OTHER, "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    waited(lambda: not stage.kubectl("get", "timergroup", OTHER, "--ignore-not-found"), GONE_WITHIN)
    stage.kubectl.apply(resource("TimerGroup", OTHER, deletionPolicy="Delete"))
    waits = waited(lambda: _reason(stage) == "Purging", REFUSED_WITHIN)
    if not _rows(stage):
        raise RuntimeError("the purge had ended before the group was applied again")
    stage.wait_ready("timergroup", OTHER, GONE_WITHIN)
    again = time.time() - begun
    if left := _rows(stage):
        raise RuntimeError(f"{left} rows of the deleted group are left in the one of its name")
    _create(stage, "soon", SOON, timedelta(seconds=1))
    fired = waited(lambda: _fired(stage) == SOON, GONE_WITHIN)
    measured = (
        Measured("the one applied again says that it waits for the purge", waits, REFUSED_WITHIN),
        Measured("it is Ready, after 100,000 rows went,", again, GONE_WITHIN),
        Measured("its first 500 timers fired", fired, OVERDUE_WITHIN),
    )
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN, measured=measured)


def declared(stage: Stage) -> Fault:
    """Timers of both policies beside 100,000 rows of their group: rows go with Delete, and fire on with Retain."""
    _other(stage)
    due = datetime.now(UTC) + DECLARED_DUE_IN
    at = (due, due, due + FAR, due + FAR)
    stage.kubectl.apply(*(_timer(stage, OTHER, number, at[number % 4]) for number in range(DECLARED)))
    ready = waited(lambda: _ready_timers(stage) == DECLARED, DECLARED_WITHIN)
    before = _rows(stage)
    begun = time.time()
    stage.kubectl("delete", f"--raw=/apis/{RESOURCES}/{VERSION}/namespaces/{stage.kubectl.namespace}/timers")
    gone = waited(lambda: not stage.kubectl("get", TIMERS_KIND, "--output=name"), DECLARED_WITHIN)
    left = [_rows(stage, f"%:timer-{policy}-%") for policy in ("delete", "retain")]
    if left != [0, DECLARED // 2] or _rows(stage) != before - DECLARED // 2:
        raise RuntimeError(f"rows with Delete and with Retain: {left}; in all {_rows(stage)}, before {before}")
    if time.time() > due.timestamp():
        raise RuntimeError("the deletion took until the timers fell due: nothing is shown")
    time.sleep(max(0.0, due.timestamp() - time.time()))
    fired = waited(lambda: len(_fired_of(stage, ":timer-retain-")) == DECLARED // 4, GONE_WITHIN)
    time.sleep(LATE)
    if wrongly := _fired_of(stage, ":timer-delete-"):
        raise RuntimeError(f"fired though deleted: {sorted(wrongly)[:5]}")
    measured = (
        Measured(f"{DECLARED} Timers Ready", ready, DECLARED_WITHIN),
        Measured("gone", gone, DECLARED_WITHIN),
        Measured(f"the {DECLARED // 4} retained ones that fell due fired", fired, OVERDUE_WITHIN),
    )
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN, measured=measured)


def kept(stage: Stage) -> Fault:
    """deletionPolicy Retain: nothing of it fires until it is applied again; then what fell due meanwhile does."""
    due = _other(stage)
    before = _rows(stage)
    begun = time.time()
    stage.kubectl("delete", "timergroup", OTHER)
    refused = waited(lambda: _refused(stage), GONE_WITHIN)
    time.sleep(max(0.0, due + LATE - time.time()))
    if _fired(stage) or _rows(stage) < before:
        raise RuntimeError(f"{_fired(stage)} timers of a deleted group fired, {_rows(stage)} of {before} are left")
    stage.kubectl.apply(resource("TimerGroup", OTHER))
    stage.wait_ready("timergroup", OTHER)
    fired = waited(lambda: _fired(stage) == SOON, GONE_WITHIN)
    measured = (
        Measured("requests to it refused", refused, REFUSED_WITHIN),
        Measured("what was overdue fired, once it was Ready again,", fired, OVERDUE_WITHIN),
    )
    return Fault(begun=begun, ended=begun, within=PLANNED_WITHIN, measured=measured)


def uninstalled(stage: Stage) -> Fault:
    """helm uninstall and kubectl delete namespace with live groups and Timers; then all is installed again."""
    _timers(stage)
    begun = time.time()
    stage.kubectl.helm("uninstall", RELEASE, "--wait", f"--timeout={2 * ENDS_WITHIN:g}s")
    stage.kubectl("delete", "namespace", stage.kubectl.namespace, within=2 * ENDS_WITHIN)
    ended = time.time() - begun
    stage.install()
    measured = (Measured("release and namespace gone", ended, ENDS_WITHIN),)
    return Fault(begun=begun, ended=time.time(), measured=measured)


def _timers(stage: Stage) -> None:
    """Timers of both policies, declared and Ready."""
    far = datetime.now(UTC) + FAR
    stage.kubectl.apply(*(_timer(stage, GROUP, number, far) for number in range(TIMERS)))
    stage.kubectl("wait", TIMERS_KIND, "--all", "--for=condition=Ready", "--timeout=60s")


def _timer(stage: Stage, group: str, number: int, at: datetime) -> dict[str, Any]:
    """A Timer, by its number of either policy."""
    policy = ("Delete", "Retain")[number % 2]
    return resource(
        "Timer",
        f"timer-{policy.lower()}-{number}",
        groupRef={"name": group},
        executeAt=at.isoformat(timespec="seconds"),
        callbackUrl=f"{stage.receiver.targets.quick}/",
        deletionPolicy=policy,
    )


def _other(stage: Stage, **spec: object) -> float:
    """Another group, with many timers far away and, where it is kept, some that are due soon; answers when."""
    stage.kubectl.apply(resource("TimerGroup", OTHER, **spec))
    stage.wait_ready("timergroup", OTHER)
    for first in range(0, ROWS, BATCH):
        _create(stage, f"far{first}", BATCH, FAR)
    due = time.time() + SOON_IN.total_seconds()
    if not spec:
        _create(stage, "soon", SOON, SOON_IN)
    return due


def _create(stage: Stage, prefix: str, count: int, ahead: timedelta) -> None:
    """Raises RuntimeError when the bridge does not take them all."""
    due = (datetime.now(UTC) + ahead).isoformat()
    url = f"{stage.receiver.targets.quick}/"
    timers = [{"id": f"{prefix}-{n}", "executeAt": due, "callbackUrl": url} for n in range(count)]
    status, answer = _ask(stage, "POST", "timers:batch", {"timers": timers})
    if status != http.client.OK or any(one["status"] != http.client.CREATED for one in answer["results"]):
        raise RuntimeError(f"a batch of group {OTHER} was answered {status}: {str(answer)[:300]}")


def _refused(stage: Stage) -> bool:
    """Whether the bridge says that the group is deleted, both times of two that it is asked."""
    body = {"id": "refused-1", "delay": "24h", "callbackUrl": f"{stage.receiver.targets.quick}/"}
    return all(_ask(stage, "POST", "timers", body)[0] == http.client.CONFLICT for _ in range(2))


def _ask(stage: Stage, method: str, path: str, body: object) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(stage.bridge_here, timeout=30)
    with contextlib.closing(connection):
        json = {"content-type": "application/json"}
        connection.request(method, f"/api/v1/groups/{OTHER}/{path}", orjson.dumps(body), json)
        answer = connection.getresponse()
        return answer.status, orjson.loads(answer.read())


def _rows(stage: Stage, like: str = "%") -> int:
    """The other group's rows with such an id."""
    [row] = stage.ownership.fetch(_COUNT, OTHER, like)
    return int(row["count"])


def _purging(stage: Stage) -> bool:
    """Whether the store says so of the other group."""
    [row] = stage.ownership.fetch(_STATE, OTHER)
    return bool(row["state"] == GROUP_STATE_CODES[GroupState.PURGING])


def _reason(stage: Stage) -> str:
    """Why the other group is not Ready, as its condition says; empty before it has one."""
    ready = _ready(stage.kubectl.get("timergroup", OTHER))
    return ready["reason"] if ready and ready["status"] != "True" else ""


def _ready_timers(stage: Stage) -> int:
    """How many Timers are Ready. (`kubectl wait` asks for one after the other, five a second.)"""
    found = map(_ready, stage.kubectl.get(TIMERS_KIND)["items"])
    return sum(ready.get("status") == "True" for ready in found)


def _ready(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The condition Ready of an object; empty before it has one."""
    conditions = body.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Ready"), {})


def _fired_of(stage: Stage, part: str) -> set[str]:
    """The ids with that part that were delivered."""
    return {one.id for one in stage.receiver.callbacks() if part in one.id}


def _fired(stage: Stage) -> int:
    return sum(one.id.startswith("soon-") for one in stage.receiver.callbacks())
