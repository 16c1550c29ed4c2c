"""One Timer resource and its row, on which decisions are carried out by the pure transitions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.resource import Resource, ResourceKind
from durable_timer.models.results import Target
from durable_timer.models.status import TimerStatus
from durable_timer.models.timer import Timer, TimerState
from durable_timer.planning import transitions
from durable_timer.planning.declaration import (
    Change,
    Create,
    Outdated,
    Ready,
    Redrive,
    Run,
    Situation,
    Stalled,
    Step,
    Verdict,
    Waiting,
    decide,
)
from durable_timer.planning.declared import read_timer
from durable_timer.planning.declared_payload import PayloadRules
from durable_timer.planning.timer_status import timer_status

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)

HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
PENDING, RUNNING, COMPLETED, FAILED = TimerState
GROUP = Group("orders", "default/shop/orders", 4, "default", TimerGroupSpec(), 1, GroupState.ACTIVE, NOW, None, 1)


def at(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def one_shot(when: datetime, **fields: Any) -> dict[str, Any]:
    return {"groupRef": {"name": "orders"}, "callbackUrl": "http://target/", "executeAt": at(when)} | fields


def schedule(cron: str = "0 * * * *", **fields: Any) -> dict[str, Any]:
    return {"groupRef": {"name": "orders"}, "callbackUrl": "http://target/", "schedule": {"cron": cron} | fields}


@dataclass
class Desk:
    """One resource, its row and its status, and a clock; `settle` takes steps until there is a verdict."""

    spec: dict[str, Any]
    now: datetime = NOW
    uid: str = "uid-1"
    generation: int = 1
    annotations: dict[str, str] = field(default_factory=dict)
    status: TimerStatus = field(default_factory=TimerStatus)
    group: Group | None = GROUP
    row: Timer | None = None
    steps: list[Step] = field(default_factory=list)

    def situation(self) -> Situation:
        resource = Resource(
            ResourceKind.TIMER, "shop", "reminder", self.uid, self.generation, "1", {}, self.annotations, (), False, NOW,
            self.spec, {},
        )  # fmt: skip
        declared = None if self.group is None else read_timer(resource, PayloadRules(self.group.spec.payload))
        return Situation(
            resource=resource,
            status=self.status,
            group=self.group,
            declared=declared,
            row=self.row,
            now=self.now,
            precision=MICROSECOND,
        )

    def settle(self) -> Verdict:
        for _ in range(8):
            step = decide(self.situation())
            if isinstance(step, Ready | Waiting | Stalled):
                self.status = timer_status(self.situation(), step, self.now)
                return step
            if isinstance(step, Outdated):
                return step
            self.steps.append(step)
            self.take(step)
        pytest.fail(f"no end: {self.steps}")

    def take(self, step: Step) -> None:
        match step:
            case Create(new):
                assert self.row is None
                self.row = transitions.created(new, uid=7, now=self.now)
            case Change(change, version):
                after = transitions.changed(self.row, Target("t", version), change, self.now, managed=True)
                assert isinstance(after, Timer)
                self.row = after
            case Run(request):
                after = transitions.run_now(self.row, Target("t", request=request), self.now)
                assert isinstance(after, Timer)
                self.row = after
            case Redrive(request):
                after = transitions.redriven(self.row, Target("t", request=request), self.now)
                assert isinstance(after, Timer)
                self.row = after

    def apply(self, spec: dict[str, Any]) -> Verdict:
        """A new generation."""
        self.generation += spec != self.spec
        self.spec = spec
        return self.settle()

    def take_row(self) -> None:
        assert self.row is not None
        self.row = transitions.taken(self.row, run=1, epoch=1, now=self.now)

    def finish(self, kind: OutcomeKind = OutcomeKind.COMPLETED, **fields: Any) -> None:
        """The row is due, taken and settled."""
        assert self.row is not None
        self.now = max(self.now, self.row.due_at)
        self.take_row()
        outcome = Outcome(group_id="orders", timer_id="t", run=1, kind=kind, attempt=1, **fields)
        after = transitions.settled(self.row, outcome, self.now)
        assert isinstance(after, Timer)
        self.row = after

    def elsewhere(self) -> None:
        """The cluster is built anew: another object, no status, on the same store."""
        self.uid, self.generation, self.status = self.uid + "'", 1, TimerStatus()

    @property
    def kept(self) -> Timer:
        assert self.row is not None
        return self.row


def declared_desk(spec: Mapping[str, Any]) -> Desk:
    desk = Desk(dict(spec))
    assert isinstance(desk.settle(), Ready)
    return desk
