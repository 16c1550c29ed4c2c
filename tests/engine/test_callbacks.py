"""What a callback looks like, read by independent implementations."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from cloudevents.core.bindings.http import from_binary
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook, WebhookVerificationError

from durable_timer.engine.callbacks import callback_request
from durable_timer.engine.delivery import CallbackRequest
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.signing import signing_key
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.timer import CallbackFormat, CallbackMethod, TakenTimer
from durable_timer.tracing import ContextTracer

NOW = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def runtime(**callback: object) -> GroupRuntime:
    spec = TimerGroupSpec.model_validate({"callback": callback})
    return GroupRuntime(Group("orders", "file:orders", 16, "default", spec, 1, GroupState.ACTIVE, NOW, None, 1))


def taken(**more: object) -> TakenTimer:
    fields: dict[str, object] = {
        "group_id": "orders", "timer_id": "o-1:pay@x~y", "shard": 3, "run": 1, "uid": -2, "occurrence": 4, "attempt": 1,
        "execute_at": NOW, "due_at": NOW, "remaining": 0.0, "callback_url": "http://target/x",
        "payload": b'{"a": 1.10, "b": 12345678901234567890}',
    }  # fmt: skip
    return TakenTimer(**(fields | more))  # type: ignore[arg-type]


def built(timer: TakenTimer, group: GroupRuntime | None = None) -> CallbackRequest:
    return callback_request(timer, group or runtime(), (), TRACE, NOW)


def test_standard_carries_ids_time_attempt_labels_and_the_payload_as_it_came() -> None:
    request = built(taken(labels={"tier": "gold"}))
    assert request.method == "POST"
    assert json.loads(request.body) == {
        "groupId": "orders", "timerId": "o-1:pay@x~y", "executeAt": "2026-11-21T12:00:00.250000Z", "attempt": 2,
        "payload": {"a": 1.1, "b": 12345678901234567890}, "labels": {"tier": "gold"},
    }  # fmt: skip
    assert b'{"a": 1.10, "b": 12345678901234567890}' in request.body
    headers = dict(request.headers)
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "fffffffffffffffe.4"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert headers["traceparent"] == TRACE
    assert "webhook-signature" not in headers


def test_standard_carries_bytes_in_base64() -> None:
    body = json.loads(built(taken(payload=b"\x00\xff", content_type="application/x-thing")).body)
    assert body["payloadBase64"] == "AP8="
    assert "payload" not in body


def test_raw_is_the_payload_alone_with_its_type() -> None:
    request = built(taken(payload=b"\x00\xff", content_type="image/x", callback_format=CallbackFormat.RAW))
    headers = dict(request.headers)
    assert request.body == b"\x00\xff"
    assert headers["content-type"] == "image/x"
    assert headers["durable-timer-group-id"] == "orders"
    assert headers["durable-timer-timer-id"] == "o-1:pay@x~y"
    assert headers["durable-timer-execute-at"] == "2026-11-21T12:00:00.250000Z"
    assert headers["durable-timer-attempt"] == "2"


@pytest.mark.parametrize("method", [CallbackMethod.GET, CallbackMethod.DELETE])
@pytest.mark.parametrize("kind", list(CallbackFormat))
def test_get_and_delete_have_no_body(method: CallbackMethod, kind: CallbackFormat) -> None:
    request = built(taken(callback_method=method, callback_format=kind))
    assert (request.method, request.body) == (method, b"")
    assert "content-type" not in dict(request.headers)


def test_cloud_events_are_read_by_the_sdk() -> None:
    request = built(taken(callback_format=CallbackFormat.CLOUD_EVENTS))
    from cloudevents.core.bindings.http import HTTPMessage

    event = from_binary(HTTPMessage(headers=dict(request.headers), body=request.body), JSONFormat())
    assert event.get_id() == "fffffffffffffffe.4"
    assert event.get_source() == "/groups/orders"
    assert event.get_type() == "dev.durabletimer.timer.due"
    assert event.get_subject() == "o-1:pay@x~y"
    assert event.get_time() == NOW
    assert event.get_data() == {"a": 1.1, "b": 12345678901234567890}


@pytest.mark.parametrize("kind", list(CallbackFormat))
def test_signatures_verify_by_the_reference_implementation(kind: CallbackFormat) -> None:
    group = runtime(signing={"secretRefs": [{"name": "s", "key": "new"}, {"name": "s", "key": "old"}]})
    secrets = [b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n"]
    group.keys = tuple(signing_key(secret) for secret in secrets)
    request = callback_request(taken(callback_format=kind), group, (), TRACE, datetime.now(UTC))
    for secret in secrets:
        Webhook(secret.decode().strip()).verify(request.body, dict(request.headers), json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[0].decode()).verify(request.body + b" ", dict(request.headers), json_parse=False)


def test_the_timers_own_method_format_timeout_and_headers_win() -> None:
    group = runtime(method="PUT", format="Raw", timeout="7s")
    request = built(taken(), group)
    assert (request.method, request.timeout) == ("PUT", 7.0)
    own = callback_request(
        taken(callback_method=CallbackMethod.PATCH, callback_timeout=timedelta(seconds=2)),
        group, [("x-own", "1")], TRACE, NOW,
    )  # fmt: skip
    assert (own.method, own.timeout) == ("PATCH", 2.0)
    assert ("x-own", "1") in own.headers


def test_the_trace_goes_on_or_begins() -> None:
    tracer = ContextTracer(random.Random(1))
    assert tracer.callback(TRACE, "g", "t").traceparent.split("-")[1] == TRACE.split("-")[1]
    assert tracer.callback(None, "g", "t").traceparent != tracer.callback(None, "g", "t").traceparent
