"""Conditions keep their time, and only transitions are news."""

from datetime import UTC, datetime, timedelta

from durable_timer.models.status import ConditionType, GroupReason
from durable_timer.planning.conditions import MESSAGE_MAX, conditions, false, news, true

THEN = datetime(2030, 1, 1, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)
READY = ConditionType.READY
PAUSED = ConditionType.PAUSED


def test_a_condition_keeps_the_time_of_its_transition_while_its_status_stays() -> None:
    before = conditions((), [false(READY, "A", "a"), true(PAUSED, "P", "p")], 1, THEN)
    after = conditions(before, [false(READY, "B", "b"), false(PAUSED, "N", "n")], 2, NOW)
    assert [(c.type, c.reason, c.last_transition_time, c.observed_generation) for c in after] == [
        ("Ready", "B", THEN, 2),
        ("Paused", "N", NOW, 2),
    ]


def test_what_is_not_found_goes_and_a_long_message_is_cut() -> None:
    before = conditions((), [true(READY, "A", "x" * (MESSAGE_MAX + 1)), true(ConditionType.STALLED, "A", "")], 1, THEN)
    assert len(before[0].message) == MESSAGE_MAX
    assert [c.type for c in conditions(before, [true(READY, "A", "")], 1, NOW)] == ["Ready"]


def test_only_transitions_of_what_is_told_are_news() -> None:
    first = conditions((), [false(READY, GroupReason.PROGRESSING, ""), false(PAUSED, "NotPaused", "")], 1, THEN)
    assert news((), first, [READY], [GroupReason.PROGRESSING]) == []
    second = conditions(first, [false(READY, "NoExecutors", "none"), true(PAUSED, "Paused", "")], 1, NOW)
    assert news(first, second, [READY], []) == [("Warning", "NoExecutors", "none")]
    assert news(second, second, [READY, PAUSED], []) == []
    third = conditions(second, [true(READY, "Ready", "fine"), true(PAUSED, "Other", "")], 1, NOW)
    assert news(second, third, [READY, PAUSED], []) == [("Normal", "Ready", "fine")]
