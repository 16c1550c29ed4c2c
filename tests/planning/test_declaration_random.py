"""Whatever happens to a Timer resource, its row and its status, in any order."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.resource import REDRIVE_REQUESTED, RUN_REQUESTED
from durable_timer.models.status import TimerStatus
from durable_timer.models.timer import Suspension, Timer
from durable_timer.planning import transitions
from durable_timer.planning.declaration import (
    Ready,
    Redrive,
    Run,
    Stalled,
    Step,
    Verdict,
)
from durable_timer.planning.declared import DeclaredTimer, Refused
from tests.planning.desk import HOUR, NOW, PENDING, RUNNING, Desk, at, one_shot, schedule

TIMES = [NOW - HOUR, NOW + HOUR, NOW + 30 * HOUR]
SPECS = [one_shot(time, **fields) for time in TIMES for fields in ({}, {"labels": {"a": "b"}}, {"suspend": True})]
SPECS += [schedule(), schedule("0 0 * * *"), schedule() | {"suspend": True}, one_shot(NOW, payload="x" * 70000)]
EVENTS = st.one_of(
    st.sampled_from(SPECS),
    st.sampled_from(["succeed", "fail", "next", "take", "elsewhere", "lose", "forget", "hand", "later"]),
    st.tuples(st.sampled_from([RUN_REQUESTED, REDRIVE_REQUESTED])),
)


@given(st.lists(EVENTS, max_size=25))
def test_whatever_happens_it_settles_and_fires_only_what_was_asked_for(events: list[Any]) -> None:
    """A finished one-shot starts anew only for another executeAt or a new redrive request, and each request acts once."""
    desk = Desk(SPECS[0])
    acted: list[Step] = []
    for event in events:
        known = None if desk.row is None else desk.row.managed_by
        happen(desk, event)
        moved = desk.row
        desk.steps.clear()
        verdict = desk.settle()
        acted += [step for step in desk.steps if isinstance(step, Run | Redrive)]
        if (
            moved is not None
            and moved.state in transitions.FINISHED
            and moved.schedule is None
            and desk.row is not None
        ):
            anew = desk.row.occurrence > moved.occurrence
            declared = None if known is None or known.execute_at is None else at(known.execute_at)
            changed = desk.spec.get("executeAt") != declared
            assert not anew or changed or any(isinstance(step, Redrive) for step in desk.steps), (known, event)
        check_settled(desk, verdict)
    assert len(acted) == len(set(acted)) or any(event in ("forget", "lose") for event in events)


def happen(desk: Desk, event: Any) -> None:
    if isinstance(event, dict):
        desk.generation += event != desk.spec
        desk.spec = event
    elif isinstance(event, tuple):
        desk.annotations[event[0]] = str(int(desk.annotations.get(event[0], 0)) + 1)
    elif event == "elsewhere":
        desk.elsewhere()
    elif event == "lose":
        desk.row = None
    elif event == "forget":
        desk.status = TimerStatus()
    elif event == "later":
        desk.now += 7 * HOUR
    elif desk.row is not None:
        happen_to(desk, desk.row, event)


def happen_to(desk: Desk, row: Timer, event: str) -> None:
    if event == "hand":
        desk.row = replace(row, callback_url="http://by-hand/")
    elif row.state is PENDING and row.suspended is not Suspension.SUSPENDED:
        if event == "take":
            desk.take_row()
        elif event == "next":
            desk.finish(OutcomeKind.NEXT, at=desk.now + 3 * HOUR)
        else:
            desk.finish(OutcomeKind.COMPLETED if event == "succeed" else OutcomeKind.FAILED)
    elif row.state is RUNNING:
        outcome = Outcome(group_id="orders", timer_id="t", run=1, kind=OutcomeKind.FAILED, attempt=1)
        settled = transitions.settled(row, outcome, desk.now)
        assert isinstance(settled, Timer)
        desk.row = settled


def check_settled(desk: Desk, verdict: Verdict) -> None:
    situation = desk.situation()
    if isinstance(verdict, Ready) and desk.row is not None:
        assert isinstance(situation.declared, DeclaredTimer)
        managed = desk.row.managed_by
        assert managed is not None
        assert (managed.uid, managed.generation) == (desk.uid, desk.generation)
        assert desk.status.declared_generation == desk.generation
        if desk.row.state is not RUNNING:
            assert managed.run_request == desk.annotations.get(RUN_REQUESTED) or RUN_REQUESTED not in desk.annotations
            assert desk.row.fingerprint == situation.declared.fingerprint
    if isinstance(verdict, Stalled):
        assert isinstance(situation.declared, Refused)
