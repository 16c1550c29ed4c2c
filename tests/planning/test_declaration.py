"""What is decided about a Timer resource, step by step, on rows as the stores keep them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_timer.models.group import GroupState, TimerGroupSpec
from durable_timer.models.manifest import DeletionPolicy
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.resource import REDRIVE_REQUESTED, RUN_REQUESTED
from durable_timer.models.results import IfExists, Target, WhenRunning
from durable_timer.models.status import TimerReason
from durable_timer.models.timer import LastOutcome, ManagedBy, SecretRef, Suspension, TimerState
from durable_timer.planning import transitions
from durable_timer.planning.declaration import (
    Change,
    Create,
    Drop,
    Outdated,
    Ready,
    Release,
    Stalled,
    Waiting,
    decide,
    decide_deletion,
)
from durable_timer.planning.declared import DeclaredTimer
from durable_timer.planning.timer_status import look_again
from tests.planning.desk import COMPLETED, FAILED, GROUP, HOUR, NOW, PENDING, Desk, declared_desk, one_shot, schedule


class TestFirstDeclaration:
    def test_a_one_shot_is_created_with_its_time(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR, payload={"a": 1}, labels={"k": "v"}, suspend=False))
        row = desk.kept
        assert (row.timer_id, row.execute_at, row.payload, row.labels) == (
            "k8s:shop:reminder", NOW + HOUR, b'{"a":1}', {"k": "v"},
        )  # fmt: skip
        assert row.managed_by == ManagedBy("uid-1", 1, execute_at=NOW + HOUR)
        assert row.suspended is Suspension.NONE

    def test_a_schedule_begins_with_its_first_occurrence_after_now(self) -> None:
        assert declared_desk(schedule()).kept.execute_at == NOW + HOUR

    def test_a_past_time_is_due_at_once(self) -> None:
        assert declared_desk(one_shot(NOW - HOUR)).kept.due_at == NOW

    def test_a_suspended_one_waits_outside_the_queue(self) -> None:
        assert declared_desk(one_shot(NOW, suspend=True)).kept.suspended is Suspension.SUSPENDED

    def test_a_schedule_that_never_fires_stalls(self) -> None:
        verdict = Desk(schedule(endAt="2026-01-01T00:00:00Z")).settle()
        assert isinstance(verdict, Stalled)
        assert verdict.reason is TimerReason.NEVER_FIRES

    @pytest.mark.parametrize(
        "spec", [one_shot(datetime(2199, 1, 1, tzinfo=UTC)), schedule(startAt="2199-01-01T00:00:00Z")]
    )
    def test_too_far_ahead_stalls(self, spec: dict[str, Any]) -> None:
        verdict = Desk(spec).settle()
        assert isinstance(verdict, Stalled)
        assert "100 years" in verdict.message

    def test_nothing_is_declared_without_a_group(self) -> None:
        desk = Desk(one_shot(NOW), group=None)
        verdict = desk.settle()
        assert isinstance(verdict, Waiting)
        assert (verdict.reason, desk.row) == (TimerReason.GROUP_NOT_FOUND, None)
        desk.group = GROUP
        assert isinstance(desk.settle(), Ready)

    @pytest.mark.parametrize("state", [GroupState.DELETED, GroupState.PURGING])
    def test_nothing_is_declared_in_a_group_that_is_going(self, state: GroupState) -> None:
        desk = Desk(one_shot(NOW), group=replace(GROUP, state=state))
        verdict = desk.settle()
        assert isinstance(verdict, Waiting)
        assert (verdict.reason, desk.steps) == (TimerReason.GROUP_NOT_READY, [])

    def test_a_header_from_a_secret_is_kept_as_a_reference_in_its_own_namespace(self) -> None:
        source = {"secretKeyRef": {"name": "token", "key": "value"}}
        row = declared_desk(one_shot(NOW, headers=[{"name": "authorization", "valueFrom": source}])).kept
        assert [header.value for header in row.headers] == [SecretRef("token", "value", "shop")]


class TestRefusals:
    @pytest.mark.parametrize(
        ("payload_spec", "fields", "reason"),
        [
            ({"maxBytes": 1024}, {"payload": "x" * 1100}, TimerReason.PAYLOAD_TOO_LARGE),
            ({"maxBytes": 1048576}, {"payload": "x" * 65600}, TimerReason.PAYLOAD_TOO_LARGE),
            ({"schema": {"type": "object"}}, {"payload": [1]}, TimerReason.PAYLOAD_REFUSED),
            ({"schema": {"type": "object"}}, {"payloadBase64": "W10=", "contentType": "application/json"},
             TimerReason.PAYLOAD_REFUSED),
            ({}, {"payloadBase64": "e30x", "contentType": "application/json"}, TimerReason.INVALID_SPEC),
            ({}, {"payload": {"a": 2**70}}, TimerReason.INVALID_SPEC),
            ({}, {"callbackUrl": "http://[::zz]/"}, TimerReason.INVALID_SPEC),
            ({}, {"headers": [{"name": "x-a", "value": "secret\n"}]}, TimerReason.INVALID_SPEC),
        ],
    )  # fmt: skip
    def test_what_breaks_a_rule_stalls_and_is_not_declared(
        self, payload_spec: dict[str, Any], fields: dict[str, Any], reason: TimerReason
    ) -> None:
        group = replace(GROUP, spec=TimerGroupSpec.model_validate({"payload": payload_spec}))
        desk = Desk(one_shot(NOW, **fields), group=group)
        verdict = desk.settle()
        assert isinstance(verdict, Stalled)
        assert (verdict.reason, desk.steps) == (reason, [])
        assert "secret" not in verdict.message

    def test_deep_nesting_is_refused(self) -> None:
        payload: Any = 1
        for _ in range(65):
            payload = [payload]
        assert isinstance(Desk(one_shot(NOW, payload=payload)).settle(), Stalled)
        assert isinstance(Desk(one_shot(NOW, payload=payload[0])).settle(), Ready)

    def test_a_wrong_generation_leaves_the_last_right_one(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        before = desk.kept
        assert isinstance(desk.apply(one_shot(NOW + HOUR, payload="x" * 70000)), Stalled)
        assert (desk.kept, desk.status.declared_generation) == (before, 1)

    def test_a_rule_that_its_group_gets_later_does_not_touch_what_is_declared(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR, payload=[1]))
        desk.group = replace(GROUP, spec=TimerGroupSpec.model_validate({"payload": {"schema": {"type": "object"}}}))
        desk.steps.clear()
        assert isinstance(desk.settle(), Ready)
        assert desk.steps == []

    def test_numbers_that_an_api_server_writes_as_it_likes_are_the_same_timer(self) -> None:
        one, other = Desk(one_shot(NOW, payload={"a": 2})), Desk(one_shot(NOW, payload={"a": 2.0}))
        first, second = one.situation().declared, other.situation().declared
        assert isinstance(first, DeclaredTimer)
        assert isinstance(second, DeclaredTimer)
        assert first.fingerprint == second.fingerprint


class TestGenerations:
    def test_nothing_is_done_twice(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        desk.steps.clear()
        assert isinstance(desk.settle(), Ready)
        assert desk.steps == []

    def test_a_pending_one_moves_to_its_new_time(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        desk.apply(one_shot(NOW + 2 * HOUR))
        assert (desk.kept.execute_at, desk.kept.occurrence) == (NOW + 2 * HOUR, 2)
        assert desk.status.declared_generation == 2

    def test_a_finished_one_with_other_fields_does_not_fire_again(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish()
        desk.apply(one_shot(NOW, labels={"a": "b"}))
        assert (desk.kept.state, desk.kept.occurrence, desk.kept.labels) == (COMPLETED, 1, {"a": "b"})

    def test_a_finished_one_with_another_time_fires_again(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish()
        desk.apply(one_shot(NOW + HOUR))
        assert (desk.kept.state, desk.kept.occurrence) == (PENDING, 2)

    def test_one_whose_callback_named_a_later_time_is_not_taken_back(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish(OutcomeKind.NEXT, at=NOW + 5 * HOUR)
        desk.apply(one_shot(NOW, labels={"a": "b"}))
        assert (desk.kept.execute_at, desk.kept.occurrence) == (NOW + 5 * HOUR, 2)

    def test_one_that_was_redriven_does_not_fire_for_a_label(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish(OutcomeKind.FAILED)
        desk.now += HOUR
        desk.annotations[REDRIVE_REQUESTED] = "now"
        desk.settle()
        desk.finish()
        desk.apply(one_shot(NOW, labels={"a": "b"}))
        assert (desk.kept.state, desk.kept.occurrence) == (COMPLETED, 2)

    def test_a_running_one_is_written_after_its_settle(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.take_row()
        verdict = desk.apply(one_shot(NOW + HOUR))
        assert isinstance(verdict, Waiting)
        assert verdict.reason is TimerReason.RUNNING
        assert look_again(desk.situation(), verdict) == timedelta(seconds=1)
        desk.row = transitions.settled(
            desk.row, Outcome(group_id="g", timer_id="t", run=1, kind=OutcomeKind.COMPLETED, attempt=1), desk.now
        )  # type: ignore[assignment]
        assert isinstance(desk.settle(), Ready)
        assert (desk.kept.state, desk.kept.execute_at) == (PENDING, NOW + HOUR)

    def test_a_schedule_that_is_over_completes(self) -> None:
        desk = declared_desk(schedule())
        assert isinstance(desk.apply(schedule(endAt="2026-06-01T12:00:00Z")), Ready)
        assert desk.kept.state is COMPLETED

    def test_the_same_schedule_keeps_its_occurrence(self) -> None:
        desk = declared_desk(schedule())
        desk.apply(schedule() | {"labels": {"a": "b"}})
        assert (desk.kept.occurrence, desk.kept.labels) == (1, {"a": "b"})

    @pytest.mark.parametrize(("first", "then"), [(one_shot(NOW + HOUR), schedule("0 0 * * *")),
                                                 (schedule("0 0 * * *"), one_shot(NOW + HOUR))])  # fmt: skip
    def test_one_kind_becomes_the_other(self, first: dict[str, Any], then: dict[str, Any]) -> None:
        desk = declared_desk(first)
        desk.apply(then)
        assert desk.kept.execute_at == declared_desk(then).kept.execute_at
        assert (desk.kept.schedule is None) == ("executeAt" in then)

    def test_suspend_and_its_end(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        desk.apply(one_shot(NOW + HOUR, suspend=True))
        assert desk.kept.suspended is Suspension.SUSPENDED
        assert [known.type for known in desk.status.conditions] == ["Ready", "Suspended"]
        assert desk.status.next_run_time is None
        desk.now += 2 * HOUR
        desk.apply(one_shot(NOW + HOUR))
        assert (desk.kept.suspended, desk.kept.due_at) == (Suspension.NONE, desk.now)
        assert [known.type for known in desk.status.conditions] == ["Ready"]

    def test_an_outdated_generation_changes_nothing(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        desk.apply(one_shot(NOW + 2 * HOUR))
        desk.generation = 1
        assert isinstance(desk.settle(), Outdated)


class TestAnotherCluster:
    @pytest.mark.parametrize("spec", [one_shot(NOW), schedule()])
    def test_the_same_resource_adopts_its_row_and_fires_nothing(self, spec: dict[str, Any]) -> None:
        desk = declared_desk(spec)
        desk.finish()
        before = desk.kept
        desk.elsewhere()
        assert isinstance(desk.settle(), Ready)
        manager = replace(before.managed_by or ManagedBy("", 0), uid="uid-1'")
        assert desk.kept == replace(before, managed_by=manager, version=before.version + 1, updated_at=desk.now)

    def test_requests_acted_on_in_the_other_cluster_are_not_acted_on_again(self) -> None:
        desk = declared_desk(schedule())
        desk.annotations[RUN_REQUESTED] = "once"
        desk.settle()
        occurrence = desk.kept.occurrence
        desk.elsewhere()
        desk.settle()
        assert (desk.kept.occurrence, desk.status.last_run_request) == (occurrence, "once")

    def test_other_fields_are_written_and_fire_nothing(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish()
        desk.elsewhere()
        desk.apply(one_shot(NOW, callbackUrl="http://other/"))
        assert (desk.kept.state, desk.kept.callback_url) == (COMPLETED, "http://other/")

    def test_another_time_fires(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish()
        desk.elsewhere()
        desk.apply(one_shot(NOW + HOUR))
        assert desk.kept.state is PENDING

    def test_a_released_row_is_taken_up_again_and_fires_nothing(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish()
        desk.row = replace(desk.kept, managed_by=None)
        desk.elsewhere()
        desk.apply(one_shot(NOW, labels={"a": "b"}))
        assert (desk.kept.state, desk.kept.managed_by) == (COMPLETED, ManagedBy("uid-1'", 2, execute_at=NOW))


class TestLostRows:
    def test_a_one_shot_that_has_had_its_time_is_not_declared_again(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish()
        desk.settle()
        desk.row = None
        verdict = desk.settle()
        assert isinstance(verdict, Ready)
        assert (desk.row, desk.status.state, desk.status.last_outcome) == (None, "completed", "completed")
        assert isinstance(desk.apply(one_shot(NOW, labels={"a": "b"})), Ready)
        assert desk.row is None

    def test_one_that_was_run_before_its_time_is_not_declared_again(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        desk.annotations[RUN_REQUESTED] = "early"
        desk.settle()
        desk.finish()
        desk.settle()
        desk.row = None
        desk.settle()
        assert desk.row is None

    def test_one_that_is_still_to_come_is_made_again(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        desk.row = None
        desk.settle()
        assert desk.kept.execute_at == NOW + HOUR

    def test_a_new_time_declares_it_anew(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish()
        desk.settle()
        desk.row = None
        desk.apply(one_shot(NOW + HOUR))
        assert desk.kept.execute_at == NOW + HOUR

    def test_a_schedule_goes_on_with_its_next_occurrence_and_no_request_again(self) -> None:
        desk = declared_desk(schedule())
        desk.annotations[RUN_REQUESTED] = "once"
        desk.settle()
        desk.row = None
        desk.settle()
        assert (desk.kept.execute_at, desk.kept.occurrence) == (NOW + HOUR, 1)


class TestChangedByHand:
    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"callback_url": "http://elsewhere/"}, "callbackUrl"),
            ({"payload": b"null"}, "payload"),
            ({"headers": ()}, "headers"),
            ({"suspended": Suspension.SUSPENDED}, "suspend"),
            ({"fingerprint": b"?"}, "fingerprint"),
            ({"execute_at": NOW + 3 * HOUR, "due_at": NOW + 3 * HOUR}, "executeAt"),
            ({"starting_deadline": HOUR}, "startingDeadline"),
        ],
    )
    def test_what_differs_is_repaired_and_named_without_its_value(self, change: dict[str, Any], name: str) -> None:
        headers = [{"name": "x-key", "value": "hush"}]
        desk = declared_desk(one_shot(NOW + HOUR, headers=headers, payload={"a": 1}))
        right = desk.kept
        desk.row = replace(right, **change)
        desk.steps.clear()
        assert isinstance(desk.settle(), Ready)
        [step] = desk.steps
        assert isinstance(step, Change)
        assert step.why is not None
        assert name in step.why.message
        assert "hush" not in step.why.message
        assert desk.kept == replace(right, version=desk.kept.version, occurrence=desk.kept.occurrence)

    def test_a_manager_that_somebody_took_off_comes_back(self) -> None:
        desk = declared_desk(one_shot(NOW + HOUR))
        right = desk.kept
        desk.row = replace(right, managed_by=None)
        desk.settle()
        assert desk.kept == replace(right, version=desk.kept.version)


class TestRequests:
    def test_a_run_acts_once_for_each_value(self) -> None:
        desk = declared_desk(schedule())
        for number, value in enumerate(["a", "a", "b"]):
            desk.annotations[RUN_REQUESTED] = value
            desk.settle()
            assert (desk.kept.occurrence, desk.status.last_run_request) == ([2, 2, 3][number], value)

    def test_one_that_is_there_from_the_beginning_acts(self) -> None:
        desk = Desk(one_shot(NOW + HOUR), annotations={RUN_REQUESTED: "now"})
        desk.settle()
        assert desk.kept.due_at == NOW

    def test_a_redrive_acts_on_a_failed_one(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.finish(OutcomeKind.FAILED)
        desk.annotations[REDRIVE_REQUESTED] = "again"
        desk.settle()
        assert (desk.kept.state, desk.kept.occurrence, desk.status.last_redrive_request) == (PENDING, 2, "again")

    @pytest.mark.parametrize(("name", "state"), [(RUN_REQUESTED, COMPLETED), (RUN_REQUESTED, FAILED),
                                                 (REDRIVE_REQUESTED, PENDING), (REDRIVE_REQUESTED, COMPLETED)])  # fmt: skip
    def test_one_that_the_state_refuses_never_acts_later(self, name: str, state: TimerState) -> None:
        desk = declared_desk(one_shot(NOW))
        if state is not PENDING:
            desk.finish(OutcomeKind.COMPLETED if state is COMPLETED else OutcomeKind.FAILED)
        desk.annotations[name] = "v"
        desk.steps.clear()
        desk.settle()
        [step] = desk.steps
        assert isinstance(step, Change)
        assert step.why is not None
        assert step.why.warning
        occurrence = desk.kept.occurrence
        assert (desk.kept.state, occurrence) == (state, 1)
        if state is PENDING:
            desk.finish(OutcomeKind.FAILED)
        else:
            desk.apply(one_shot(desk.now + HOUR))
        before = desk.kept
        desk.settle()
        assert desk.kept == before

    def test_one_that_comes_while_it_runs_waits_for_the_end(self) -> None:
        desk = declared_desk(schedule())
        desk.take_row()
        desk.annotations[RUN_REQUESTED] = "v"
        verdict = desk.settle()
        assert isinstance(verdict, Ready)
        assert verdict.busy
        assert desk.status.last_run_request is None
        assert look_again(desk.situation(), verdict) == timedelta(seconds=1)

    def test_a_suspended_one_runs_once_and_stays_suspended(self) -> None:
        desk = declared_desk(schedule() | {"suspend": True})
        desk.annotations[RUN_REQUESTED] = "v"
        desk.settle()
        assert desk.kept.suspended is Suspension.RUN_ONCE
        desk.finish(OutcomeKind.NEXT, at=NOW + HOUR, last_outcome=LastOutcome.COMPLETED)
        desk.steps.clear()
        desk.settle()
        assert (desk.kept.suspended, desk.steps) == (Suspension.SUSPENDED, [])


class TestDeletion:
    def test_each_policy(self) -> None:
        row = declared_desk(one_shot(NOW)).kept
        assert isinstance(decide_deletion("uid-1", DeletionPolicy.DELETE, row), Drop)
        step = decide_deletion("uid-1", DeletionPolicy.RETAIN, row)
        assert isinstance(step, Release)
        after = transitions.changed(row, Target("t", step.version), step.change, NOW, managed=True)
        assert after == replace(row, managed_by=None, version=2)

    @pytest.mark.parametrize("policy", DeletionPolicy)
    def test_what_is_nobodys_or_somebody_elses_stays(self, policy: DeletionPolicy) -> None:
        row = declared_desk(one_shot(NOW)).kept
        assert decide_deletion("uid-1", policy, None) is None
        assert decide_deletion("uid-1", policy, replace(row, managed_by=None)) is None
        assert decide_deletion("uid-1", policy, replace(row, managed_by=ManagedBy("uid-2", 1))) is None

    def test_one_that_goes_with_its_settle_is_waited_for_no_longer(self) -> None:
        desk = declared_desk(one_shot(NOW))
        desk.take_row()
        assert transitions.deleted(desk.row, Target("t"), WhenRunning.STOP, managed=True) is not None
        assert decide_deletion("uid-1", DeletionPolicy.DELETE, transitions.stopping(desk.kept, NOW)) is None


def test_a_create_that_was_applied_and_not_answered_is_found() -> None:
    desk = Desk(one_shot(NOW))
    step = decide(desk.situation())
    assert isinstance(step, Create)
    row = transitions.created(step.timer, uid=1, now=NOW)
    status, after = transitions.create_over(row, step.timer, IfExists.FAIL, NOW)
    desk.row = after
    assert (status.value, isinstance(desk.settle(), Ready), desk.steps) == ("identical", True, [])
