"""What Schemathesis cannot know from api.yaml: how valid crons, zones, URLs look, and rules between fields.

Only cases that are meant to be valid are put right, so that "valid data is accepted" can be checked without exception.
"""

from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, HookContext

TIMES = ["2030-01-01T00:00:00Z", "2029-06-30T23:59:59.123456+05:30", "1970-01-01T00:00:00Z", "2100-02-28t12:00:00.5z"]
URLS = ["http://receiver:8080/hook?a=b", "https://[::1]:8443/", "http://10.0.0.1", "https://shop.example/a/b#c"]

schemathesis.openapi.format("date-time", st.sampled_from(TIMES))
schemathesis.openapi.format("callback-url", st.sampled_from(URLS))
schemathesis.openapi.format("cron", st.sampled_from(["0 9 * * 1-5", "*/5 * * * *", "30 2 29 2 *", "0 0 L * *"]))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
schemathesis.openapi.format("media-type", st.sampled_from(["application/json", "application/vnd.acme+json; v=1"]))
schemathesis.openapi.format("header-value", st.sampled_from(["", "x", "Bearer abc def"]))


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    del context, kwargs
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.headers and "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    if isinstance(case.query, dict):
        _put_query_right(case.query)
    if isinstance(case.body, dict):
        body = case.body = _with_64_bits(case.body)
        for timer in body.get("timers", [body]):
            _put_timer_right(timer, case.path_parameters)
        _put_selection_right(body)


def _put_query_right(query: dict[str, Any]) -> None:
    query.pop("pageToken", None)
    if query.get("state", ["pending"]) not in ("pending", ["pending"]):
        query.pop("dueFrom", None)
        query.pop("dueBefore", None)


def _put_selection_right(body: dict[str, Any]) -> None:
    body.pop("pageToken", None)
    where = body.get("filter")
    if isinstance(where, dict):
        _name_right(where, "labels")
        if where.get("state", ["pending"]) not in (["pending"], [], None):
            where.pop("dueFrom", None)
            where.pop("dueBefore", None)


def _put_timer_right(timer: dict[str, Any], path: dict[str, Any]) -> None:
    _name_right(timer, "labels")
    _name_right(timer, "headers")
    if timer.get("groupId") is not None:
        timer["groupId"] = path["groupId"]
    if "timerId" in path:
        timer.pop("id", None)
    _put_payload_right(timer)
    if isinstance(timer.get("schedule"), dict):
        timer["schedule"].pop("endAt", None)
    for holder, field, length in (
        (timer, "delay", "5s"),
        (timer, "startingDeadline", "1h30m"),
        *((timer.get("retryPolicy"), name, "1m") for name in ("maxAttemptsDuration", "initialInterval", "maxInterval")),
    ):
        if isinstance(holder, dict) and holder.get(field) is not None:
            holder[field] = length


def _put_payload_right(timer: dict[str, Any]) -> None:
    if "payload" not in timer and timer.get("payloadBase64") is None:
        timer.pop("contentType", None)
    if str(timer.get("contentType")).startswith("application/octet"):
        timer.pop("payload", None)
        timer.setdefault("payloadBase64", "AAEC")
    elif timer.get("contentType") is not None:
        timer.pop("payloadBase64", None)
        timer["payload"] = {"x": [1, 2.5, None, "y"]}


def _with_64_bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_64_bits(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_64_bits(item) for item in value]
    return max(min(value, 2**64 - 1), -(2**63)) if type(value) is int else value


def _name_right(holder: dict[str, Any], field: str) -> None:
    if isinstance(holder.get(field), dict):
        holder[field] = {f"x{index}": value for index, value in enumerate(holder[field].values())}
