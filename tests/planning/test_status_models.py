"""The statuses of both kinds as they are written and read."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from durable_timer.models.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    Explained,
    GroupReason,
    GroupSummary,
    TimerGroupStatus,
    TimerReason,
    TimerStatus,
)

NOW = datetime(2026, 11, 21, 19, 0, 7, 250_000, tzinfo=UTC)
READY = Condition(
    type=ConditionType.READY,
    status=ConditionStatus.TRUE,
    reason=GroupReason.READY,
    message="registered",
    observed_generation=3,
    last_transition_time=NOW,
)


def test_a_condition_is_written_as_kubernetes_writes_them() -> None:
    assert READY.to_json() == {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "registered",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-11-21T19:00:07Z",
    }


def test_other_times_have_six_decimals_and_what_is_unknown_is_absent() -> None:
    assert TimerStatus(next_run_time=NOW).to_json() == {
        "nextRunTime": "2026-11-21T19:00:07.250000Z",
        "conditions": [],
    }


def test_a_status_is_read_back_as_it_was_written() -> None:
    status = TimerGroupStatus(
        observed_generation=3,
        group_id="demo",
        conditions=(READY,),
        summary=GroupSummary(
            shards="4/4", shards_assigned=4, shards_total=4, executors=1, due=0, failed=0, observed_time=NOW
        ),
    )
    read = TimerGroupStatus.model_validate(status.to_json())
    assert read.to_json() == status.to_json()
    assert read.summary == status.summary


def test_what_a_later_release_wrote_is_left_out() -> None:
    assert TimerStatus.model_validate({"state": "pending", "new": {"a": 1}}) == TimerStatus(state="pending")


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="must name its zone"):
        TimerStatus.model_validate({"nextRunTime": "2026-11-21T19:00:07"})


@pytest.mark.parametrize("words", [ConditionType, GroupReason, TimerReason])
def test_every_word_has_a_meaning_and_the_form_of_a_reason(words: type[Explained]) -> None:
    for word in words:
        assert word.isalpha()
        assert word[0].isupper()
        assert word.meaning.endswith(".")
