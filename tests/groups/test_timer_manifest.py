"""Timers as manifests, and what the models of both kinds refuse without an API server."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from durable_timer.models.group import TimerGroupManifest
from durable_timer.models.timer import CallbackFormat, CallbackMethod, Missed
from durable_timer.models.timer_manifest import TimerManifest, TimerSpec
from tests.support.wrong_resources import VALID, WRONG

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMERS = [EXAMPLES / "timer.yaml", *sorted((EXAMPLES / "timers").iterdir())]


def read(document: Any) -> TimerManifest:
    return TimerManifest.model_validate_json(json.dumps(document))


def spec(**changes: Any) -> TimerSpec:
    return TimerSpec.model_validate_json(json.dumps({**VALID, **changes}))


@pytest.mark.parametrize("path", TIMERS, ids=lambda path: path.stem)
def test_an_example_is_read(path: Path) -> None:
    assert read(yaml.safe_load(path.read_text())).spec.group_ref.name == "demo"


def test_the_long_example_says_what_it_means() -> None:
    found = read(yaml.safe_load((EXAMPLES / "timer.yaml").read_text())).spec
    assert found.schedule
    assert (found.schedule.time_zone, found.schedule.missed) == ("Europe/Berlin", Missed.SKIP)
    assert found.starting_deadline == timedelta(minutes=10)
    assert found.callback_method is CallbackMethod.POST
    assert found.callback_format is CallbackFormat.STANDARD
    assert found.payload == {"report": "sales", "recipients": ["board@example.org"]}
    tenant, authorization = found.headers
    assert (tenant.value, authorization.value) == ("acme", None)
    assert authorization.value_from
    assert authorization.value_from.secret_key_ref.key == "authorization"
    assert found.retry_policy
    assert (found.retry_policy.backoff_multiplier, found.retry_policy.max_interval) == (1.5, None)


@pytest.mark.parametrize("document", [case[0] for case in WRONG.values()], ids=WRONG)
def test_what_the_api_server_refuses_the_model_refuses(document: dict[str, Any]) -> None:
    model = TimerGroupManifest if document["kind"] == "TimerGroup" else TimerManifest
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps(document))


def test_a_time_is_rounded_up_to_a_microsecond() -> None:
    found = spec(executeAt="2030-01-31T12:00:00.0000001+01:00")
    assert found.execute_at == datetime(2030, 1, 31, 11, 0, 0, 1, tzinfo=UTC)


def test_what_a_timer_does_not_say_is_none() -> None:
    assert spec().model_dump(exclude_none=True).keys() == {
        "group_ref", "execute_at", "callback_url", "headers", "suspend", "deletion_policy",
    }  # fmt: skip


def test_null_is_nothing() -> None:
    assert spec(schedule=None, payload=None, payloadBase64="AA==", headers=None).payload_base64 == "AA=="


def test_a_payload_of_false_is_one() -> None:
    with pytest.raises(ValidationError, match="only one of payload and payloadBase64"):
        spec(payload=False, payloadBase64="AA==")


def test_a_field_of_a_later_release_is_left_out_when_asked() -> None:
    found = TimerSpec.model_validate({**VALID, "new": 1, "groupRef": {"name": "a", "new": 1}}, extra="ignore")
    assert found.group_ref.name == "a"
