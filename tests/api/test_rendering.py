"""A timer's answer: the short way and the long way are one."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from durable_timer.models.timer import (
    CallbackFormat,
    CallbackMethod,
    Header,
    LastOutcome,
    RetryPolicy,
    Schedule,
    Suspension,
    Timer,
    TimerState,
)
from durable_timer_api.rendering import render_timer, timer_json

NOW = datetime(2026, 1, 1, 0, 0, 0, 7, tzinfo=UTC)
ORDINARY = Timer(
    group_id="demo",
    timer_id="a~b",
    shard=3,
    uid=5,
    version=1,
    state=TimerState.PENDING,
    execute_at=NOW + timedelta(hours=1),
    due_at=NOW + timedelta(hours=2),
    occurrence=1,
    attempt=0,
    callback_url='http://host/?"%b\\',
    fingerprint=b"x",
    created_at=NOW,
    updated_at=NOW + timedelta(hours=3),
)
CHANGES: list[dict[str, Any]] = [
    {},
    {"payload": b'{"%b": [1,  2.0]}'},
    {"callback_method": CallbackMethod.PUT},
    {"callback_format": CallbackFormat.RAW},
    {"content_type": "text/plain", "payload": b"\0"},
    {"content_type": "application/x+json", "payload": b"1"},
    {"headers": (Header("a", "b"),)},
    {"labels": {"a": "b"}},
    {"labels": {}},
    {"retry_policy": RetryPolicy(5)},
    {"callback_timeout": timedelta(seconds=5)},
    {"schedule": Schedule("* * * * *")},
    {"starting_deadline": timedelta(seconds=5)},
    {"suspended": Suspension.SUSPENDED},
    {"suspended": Suspension.RUN_ONCE},
    {"last_error": "x"},
    {"last_status": 500},
    {"last_outcome": LastOutcome.FAILED},
    {"executed_at": NOW},
    {"version": 2},
    {"attempt": 2},
    {"occurrence": 2},
    *({"state": state} for state in TimerState),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("payload", [True, False])
def test_an_answer_is_what_the_rendered_timer_is_as_json(change: dict[str, Any], *, payload: bool) -> None:
    timer = replace(ORDINARY, **change)
    assert timer_json(timer, payload=payload) == orjson.dumps(render_timer(timer, payload=payload))


def test_every_field_of_a_timer_is_looked_at() -> None:
    """A new field of a row is to be added here, and where it makes a timer's answer another."""
    changed = {name for change in CHANGES for name in change}
    unseen = {"shard", "uid", "fingerprint", "run", "taken_epoch", "taken_at", "first_attempt_at"} | {
        "cancel_requested", "managed_by", "traceparent", "last_run_at",
    }  # fmt: skip
    given = {"group_id", "timer_id", "execute_at", "due_at", "callback_url", "created_at", "updated_at"}
    assert changed | unseen | given == {field.name for field in fields(Timer)}
