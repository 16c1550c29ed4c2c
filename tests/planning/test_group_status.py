"""The status of a TimerGroup: what its conditions say, and when its figures are worth a write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.group import TimerGroupSpec
from durable_timer.models.ownership import Member, MemberReport, Shard
from durable_timer.models.page import Counts
from durable_timer.models.status import Condition, ConditionStatus, GroupReason, TimerGroupStatus
from durable_timer.planning.group_status import Blocked, GroupFacts, Lateness, Pausing, group_status
from durable_timer.planning.serving import Serving, ranges, serving

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPEC = TimerGroupSpec()
SIGNED = TimerGroupSpec.model_validate({"callback": {"signing": {"secretRefs": [{"name": "s", "key": "k"}]}}})
SERVED = Serving(claimed=4, total=4, assigned=True, living=2)
FACTS = GroupFacts(
    generation=3,
    group_id="g",
    spec=SPEC,
    now=NOW,
    serving=SERVED,
    unassigned=False,
    counts=Counts(0, 0, 0, 0, 0, None),
)


def of(facts: GroupFacts, before: TimerGroupStatus | None = None) -> dict[str, Condition]:
    status = group_status(before or TimerGroupStatus(), facts)
    return {condition.type: condition for condition in status.conditions}


def due(count: int) -> Counts:
    return Counts(count, 0, 0, 0, count, NOW if count else None)


def test_a_served_group_is_ready_and_neither_stalled_nor_reconciling() -> None:
    found = of(FACTS)
    assert found["Ready"].status is ConditionStatus.TRUE
    assert {"Stalled", "Reconciling"}.isdisjoint(found)
    assert {condition.observed_generation for condition in found.values()} == {3}


@pytest.mark.parametrize(
    ("facts", "reason", "stalled"),
    [
        (replace(FACTS, blocked=Blocked(GroupReason.GROUP_ID_CONFLICT, "x", stalled=True)), "GroupIdConflict", True),
        (replace(FACTS, blocked=Blocked(GroupReason.PURGING, "x")), "Purging", False),
        (replace(FACTS, away="gone"), "StoreUnreachable", False),
        (replace(FACTS, unassigned=True, serving=replace(SERVED, living=0)), "NoExecutors", False),
        (replace(FACTS, unassigned=True, serving=replace(SERVED, claimed=1)), "ShardsUnassigned", False),
        (replace(FACTS, unassigned=True, new=True), "Progressing", False),
        (replace(FACTS, serving=None), "Progressing", False),
        (replace(FACTS, spec=SIGNED, serving=replace(SERVED, unreadable=("e",))), "SecretMissing", False),
        (replace(FACTS, spec=SIGNED, secrets_told=False), "Progressing", False),
        (
            replace(FACTS, spec=SIGNED, secrets_told=False, unassigned=True, serving=replace(SERVED, living=0)),
            "NoExecutors",
            False,
        ),
        (
            replace(FACTS, spec=SIGNED, unassigned=True, serving=replace(SERVED, claimed=1, unreadable=("e",))),
            "SecretMissing",
            False,
        ),
    ],
)
def test_what_keeps_a_group_from_ready_is_its_reason(facts: GroupFacts, reason: str, stalled: bool) -> None:
    found = of(facts)
    assert (found["Ready"].status, found["Ready"].reason) == (ConditionStatus.FALSE, reason)
    assert found["Stalled" if stalled else "Reconciling"].reason == reason
    assert ("Stalled" in found) != ("Reconciling" in found)


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, lateness=Lateness(GroupReason.LATENESS_ABOVE_OBJECTIVE, 7.5)),
        replace(FACTS, paused=Pausing(asked=True, in_effect=True)),
        replace(FACTS, counts=due(500)),
    ],
)
def test_lateness_pause_and_backlog_never_change_ready(facts: GroupFacts) -> None:
    assert of(facts)["Ready"].status is ConditionStatus.TRUE


def test_a_store_that_is_away_leaves_what_was_seen_last() -> None:
    before = group_status(TimerGroupStatus(), replace(FACTS, paused=Pausing(asked=True, in_effect=True)))
    after = group_status(before, GroupFacts(generation=3, group_id="g", spec=SPEC, now=NOW, away="gone"))
    found = {condition.type: condition.status for condition in after.conditions}
    assert found["ShardsAssigned"] is found["Paused"] is ConditionStatus.TRUE
    assert after.summary == before.summary


def test_the_figures_are_written_when_one_left_its_decade_and_a_minute_has_passed() -> None:
    first = group_status(TimerGroupStatus(), FACTS)
    soon = replace(FACTS, now=NOW + MINUTE / 2, counts=due(20))
    assert group_status(first, soon) == first
    later = replace(soon, now=NOW + MINUTE)
    second = group_status(first, later)
    assert second.summary is not None
    assert second.summary.due == 20
    same_decade = replace(later, now=NOW + 3 * MINUTE, counts=due(99))
    assert group_status(second, same_decade) == second
    paused = replace(same_decade, paused=Pausing(asked=True, in_effect=True))
    third = group_status(second, paused).summary
    assert third is not None
    assert third.due == 99


@given(st.sets(st.integers(0, 40)))
def test_ranges_name_each_number_once(numbers: set[int]) -> None:
    named: list[int] = []
    for part in ranges(numbers).split(",") if numbers else []:
        first, _, last = part.partition("-")
        named.extend(range(int(first), int(last or first) + 1))
    assert named == sorted(numbers)


def test_serving_names_who_claims_what_and_counts_no_dead() -> None:
    members = [
        Member("a1", "a", "p", None, 1, False, False, MemberReport("", ("g",), {"g": 0.5}, 7)),
        Member("b1", "b", "p", None, 1, True, False, MemberReport("", (), {"g": 2.0}, 9)),
        Member("c1", "c", "p", None, 1, False, True, MemberReport()),
    ]
    shards = [
        Shard("g", 0, 1, "a1", "a1", 1),
        Shard("g", 1, 1, "b1", "a1", 1),
        Shard("g", 2, 1, "c1", "a1", 1),
        Shard("g", 3, 1, None, None, 1),
        Shard("h", 0, 1, "a1", "a1", 1),
    ]
    found = serving(members, shards)
    assert [(e.name, e.state.value, e.shards) for e in found["g"].executors] == [
        ("a", "Active", "0"),
        ("b", "Draining", "1"),
    ]
    assert (found["g"].claimed, found["g"].total, found["g"].living, found["g"].assigned) == (2, 4, 1, False)
    assert (found["g"].unreadable, found["g"].lateness, found["g"].read_to) == (("a",), 2.0, 7)
    assert found["h"].assigned
