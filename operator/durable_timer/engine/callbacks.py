"""The request of a callback, in each of the three formats."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never
from urllib.parse import quote

import orjson

from durable_timer.engine.delivery import CallbackRequest
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.signing import signature
from durable_timer.models.checks import is_json_media_type
from durable_timer.models.instants import format_instant
from durable_timer.models.timer import CallbackFormat, CallbackMethod, TakenTimer, webhook_id

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"

EVENT_TYPE: Final = "dev.durabletimer.timer.due"
"""`ce-type` of a CloudEvents callback."""

_BODILESS: Final = frozenset({CallbackMethod.GET, CallbackMethod.DELETE})
"""Methods whose requests carry no body: what it would say is in `durable-timer-*` headers."""


def callback_request(
    timer: TakenTimer,
    group: GroupRuntime,
    own_headers: Sequence[tuple[str, str]],
    traceparent: str,
    now: datetime,
) -> CallbackRequest:
    """Builds the request of the attempt after `timer.attempt`. `now` is the sending time, for `webhook-timestamp`."""
    callback = group.spec.callback
    method = timer.callback_method or callback.method
    kind = timer.callback_format or callback.format
    message_id = webhook_id(timer.uid, timer.occurrence)
    headers = list(own_headers)
    if kind is CallbackFormat.STANDARD and method not in _BODILESS:
        headers.append(("content-type", JSON))
        body = _standard_body(timer)
    else:
        body = b"" if method in _BODILESS else timer.payload or b""
        if timer.payload is not None and method not in _BODILESS:
            headers.append(("content-type", timer.content_type or JSON))
        headers += _described(timer, kind, message_id)
    timestamp = int(now.timestamp())
    headers += (("webhook-id", message_id), ("webhook-timestamp", str(timestamp)))
    if group.keys:
        headers.append(("webhook-signature", signature(group.keys, message_id, timestamp, body)))
    headers.append(("traceparent", traceparent))
    return CallbackRequest(method, timer.callback_url, headers, body, group.timeout_of(timer))


def _standard_body(timer: TakenTimer) -> bytes:
    content: dict[str, object]
    if timer.payload is None:
        content = {"payload": None}
    elif timer.content_type is None or is_json_media_type(timer.content_type):
        content = {"payload": orjson.Fragment(timer.payload)}
    else:
        content = {"payloadBase64": b64encode(timer.payload).decode(), "contentType": timer.content_type}
    return orjson.dumps(
        {
            "groupId": timer.group_id,
            "timerId": timer.timer_id,
            "executeAt": format_instant(timer.execute_at),
            "attempt": timer.attempt + 1,
            **content,
            "labels": timer.labels or {},
        }
    )


def _described(timer: TakenTimer, kind: CallbackFormat, message_id: str) -> list[tuple[str, str]]:
    execute_at = format_instant(timer.execute_at)
    match kind:
        case CallbackFormat.CLOUD_EVENTS:
            return [
                ("ce-specversion", "1.0"),
                ("ce-id", message_id),
                ("ce-source", f"/groups/{timer.group_id}"),
                ("ce-type", EVENT_TYPE),
                ("ce-subject", quote(timer.timer_id, safe="~:@-._")),
                ("ce-time", execute_at),
                ("ce-attempt", str(timer.attempt + 1)),
            ]
        case CallbackFormat.STANDARD | CallbackFormat.RAW:
            described = [
                ("durable-timer-group-id", timer.group_id),
                ("durable-timer-timer-id", timer.timer_id),
                ("durable-timer-execute-at", execute_at),
                ("durable-timer-attempt", str(timer.attempt + 1)),
            ]
            if timer.labels:
                described.append(("durable-timer-labels", ",".join(f"{k}={v}" for k, v in timer.labels.items())))
            return described
        case _:
            assert_never(kind)
