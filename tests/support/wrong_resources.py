"""Resources with one thing wrong each, and the API server's words for it; `VALID` is a Timer's spec that is right."""

from collections.abc import Mapping
from typing import Any

LABEL = "in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"
DURATION = "in body should match '^([0-9]{1,5}(h|m|s|ms)){1,4}$'"
ONE_TIME = 'spec: Invalid value: "object": exactly one of executeAt and schedule must be set'
HOST = 'spec.callbackUrl: Invalid value: "string": must name a host: '
SECRET = {"name": "signing", "key": "secret"}
VALID = {"groupRef": {"name": "orders"}, "executeAt": "2030-01-31T12:00:00Z", "callbackUrl": "https://example.org/hook"}


def resource(kind: str, spec: Any, name: str = "wrong") -> dict[str, Any]:
    """A resource; without a spec, when that is `...`."""
    document = {"apiVersion": "durabletimer.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}
    return document if spec is ... else {**document, "spec": spec}


def group(spec: Mapping[str, Any], name: str = "wrong") -> dict[str, Any]:
    return resource("TimerGroup", spec, name)


def timer(changes: Mapping[str, Any], name: str = "wrong") -> dict[str, Any]:
    """A Timer that is right but for the changes; `...` removes a field."""
    return resource("Timer", {key: value for key, value in {**VALID, **changes}.items() if value is not ...}, name)


def recurring(**schedule: str) -> dict[str, Any]:
    return timer({"executeAt": ..., "schedule": {"cron": "0 9 * * MON-FRI", **schedule}})


def headers(*given: Mapping[str, Any]) -> dict[str, Any]:
    return timer({"headers": given})


WRONG_GROUPS = {
    "no spec": (resource("TimerGroup", ...), "spec: Required value"),
    "spec null": (resource("TimerGroup", None), "spec: Required value"),
    "spec a string": (resource("TimerGroup", "shards"), "spec: Invalid value"),
    "unknown field": (group({"shard": 4}), 'unknown field "spec.shard"'),
    "unknown field inside": (group({"callback": {"retries": 4}}), 'unknown field "spec.callback.retries"'),
    "no shards": (group({"shards": 0}), "spec.shards in body should be greater than or equal to 1"),
    "too many shards": (group({"shards": 4097}), "spec.shards in body should be less than or equal to 4096"),
    "shards as a string": (group({"shards": "16"}), 'spec.shards in body must be of type integer: "string"'),
    "half a shard": (group({"shards": 1.5}), 'spec.shards in body must be of type integer: "number"'),
    "id not a label": (group({"groupId": "Orders"}), f"spec.groupId {LABEL}"),
    "id too long": (group({"groupId": "a" * 64}), "spec.groupId: Too long: may not be more than 63 bytes"),
    "id empty": (group({"groupId": ""}), "spec.groupId in body should be at least 1 chars long"),
    "store not a label": (group({"store": "my_store"}), f"spec.store {LABEL}"),
    "pool not a label": (group({"executorPool": "-pool"}), f"spec.executorPool {LABEL}"),
    "name too long to be an id": (
        group({}, "a" * 64),
        "metadata.name must be a DNS label of at most 63 characters unless spec.groupId is set",
    ),
    "name with a dot as an id": (
        group({}, "orders.v2"),
        "metadata.name must be a DNS label of at most 63 characters unless spec.groupId is set",
    ),
    "paused as a string": (group({"paused": "yes"}), 'spec.paused in body must be of type boolean: "string"'),
    "unknown policy": (group({"deletionPolicy": "Orphan"}), 'supported values: "Retain", "Delete"'),
    "duration with days": (group({"callback": {"timeout": "1d"}}), f"spec.callback.timeout {DURATION}"),
    "duration as a number": (
        group({"callback": {"timeout": 10}}),
        "spec.callback.timeout in body must be of type string",
    ),
    "timeout too short": (
        group({"callback": {"timeout": "999ms"}}),
        'spec.callback.timeout: Invalid value: "string": must be from 1s to 5m',
    ),
    "timeout too long": (
        group({"callback": {"timeout": "4m61s"}}),
        'spec.callback.timeout: Invalid value: "string": must be from 1s to 5m',
    ),
    "unknown method": (group({"callback": {"method": "HEAD"}}), '"POST", "PUT", "PATCH", "GET", "DELETE"'),
    "unknown format": (group({"callback": {"format": "raw"}}), 'supported values: "Standard", "Raw", "CloudEvents"'),
    "too many in flight": (
        group({"callback": {"maxInFlight": 10_001}}),
        "spec.callback.maxInFlight in body should be less than or equal to 10000",
    ),
    "rate without requests": (
        group({"callback": {"rateLimit": {}}}),
        "spec.callback.rateLimit.requests: Required value",
    ),
    "rate over too long a period": (
        group({"callback": {"rateLimit": {"requests": 1, "period": "61m"}}}),
        'spec.callback.rateLimit.period: Invalid value: "string": must be from 1s to 1h',
    ),
    "three secrets": (
        group({"callback": {"signing": {"secretRefs": [{**SECRET, "key": key} for key in "abc"]}}}),
        "spec.callback.signing.secretRefs: Too many: 3: must have at most 2 items",
    ),
    "the same secret twice": (
        group({"callback": {"signing": {"secretRefs": [SECRET, SECRET]}}}),
        "spec.callback.signing.secretRefs[1]: Duplicate value",
    ),
    "secret without key": (
        group({"callback": {"signing": {"secretRefs": [{"name": "signing"}]}}}),
        "spec.callback.signing.secretRefs[0].key: Required value",
    ),
    "no attempts": (
        group({"retryPolicy": {"maxAttempts": 0}}),
        "spec.retryPolicy.maxAttempts in body should be greater",
    ),
    "multiplier as a number": (
        group({"retryPolicy": {"backoffMultiplier": 2.0}}),
        "spec.retryPolicy.backoffMultiplier in body must be of type string",
    ),
    "multiplier too small": (
        group({"retryPolicy": {"backoffMultiplier": "0.5"}}),
        'spec.retryPolicy.backoffMultiplier: Invalid value: "string": must be from "1.0" to "10.0"',
    ),
    "multiplier no number": (
        group({"retryPolicy": {"backoffMultiplier": "twice"}}),
        r"spec.retryPolicy.backoffMultiplier in body should match '^[0-9]{1,2}(\.[0-9]{1,3})?$'",
    ),
    "intervals out of order": (
        group({"retryPolicy": {"initialInterval": "60001ms", "maxInterval": "1m"}}),
        'spec.retryPolicy.maxInterval: Invalid value: "object": must be at least initialInterval',
    ),
    "initial interval above the default longest": (
        group({"retryPolicy": {"initialInterval": "16m"}}),
        'spec.retryPolicy.maxInterval: Invalid value: "object": must be at least initialInterval',
    ),
    "payloads too large": (
        group({"payload": {"maxBytes": 1_048_577}}),
        "spec.payload.maxBytes in body should be less than or equal to 1048576",
    ),
    "schema no object": (
        group({"payload": {"schema": "string"}}),
        "spec.payload.schema in body must be of type object",
    ),
    "failed kept too short": (
        group({"retention": {"failed": "59m"}}),
        'spec.retention.failed: Invalid value: "string": must be from 1h to 8760h',
    ),
    "completed kept too long": (
        group({"retention": {"completed": "8761h"}}),
        'spec.retention.completed: Invalid value: "string": must be from 0s to 8760h',
    ),
    "objective too tight": (
        group({"objectives": {"lateness": "9ms"}}),
        'spec.objectives.lateness: Invalid value: "string": must be from 10ms to 1h',
    ),
}

WRONG_TIMERS = {
    "no spec": (resource("Timer", ...), "spec: Required value"),
    "no group": (timer({"groupRef": ...}), "spec.groupRef: Required value"),
    "group without name": (timer({"groupRef": {}}), "spec.groupRef.name: Required value"),
    "group in another namespace": (
        timer({"groupRef": {"name": "orders", "namespace": "shop"}}),
        'unknown field "spec.groupRef.namespace"',
    ),
    "no url": (timer({"callbackUrl": ...}), "spec.callbackUrl: Required value"),
    "neither time": (timer({"executeAt": ...}), ONE_TIME),
    "both times": (timer({"schedule": {"cron": "* * * * *"}}), ONE_TIME),
    "delay": (timer({"executeAt": ..., "delay": "10s"}), 'unknown field "spec.delay"'),
    "time without zone": (
        timer({"executeAt": "2030-01-31T12:00:00"}),
        "spec.executeAt in body must be of type date-time",
    ),
    "day that does not exist": (
        timer({"executeAt": "2030-02-31T12:00:00Z"}),
        "spec.executeAt in body must be of type date-time",
    ),
    "leap second": (timer({"executeAt": "2030-06-30T23:59:60Z"}), "spec.executeAt"),
    "name too long to be part of an id": (timer({}, "a" * 188), "metadata.name must have at most 187 characters"),
    "schedule without cron": (
        timer({"executeAt": ..., "schedule": {"timeZone": "UTC"}}),
        "spec.schedule.cron: Required value",
    ),
    "cron macro": (recurring(cron="@daily"), "must have five fields: minute, hour, day of month, month, day of week"),
    "cron with seconds": (recurring(cron="0 0 9 * * *"), "must have five fields"),
    "cron too long": (
        recurring(cron="0," * 64 + "0 9 * * *"),
        "spec.schedule.cron: Too long: may not be more than 128",
    ),
    "unknown missed": (recurring(missed="Catchup"), 'supported values: "Run", "Skip"'),
    "time zone with a blank": (recurring(timeZone="Europe Berlin"), "spec.schedule.timeZone in body should match"),
    "schedule ends before it starts": (
        recurring(startAt="2030-01-01T01:00:00+01:00", endAt="2029-12-31T23:59:59Z"),
        'spec.schedule.endAt: Invalid value: "object": must be at least startAt',
    ),
    "deadline too short": (
        timer({"startingDeadline": "0s"}),
        'spec.startingDeadline: Invalid value: "string": must be from 1s to 8760h',
    ),
    "timeout in seconds": (timer({"callbackTimeoutSeconds": 10}), 'unknown field "spec.callbackTimeoutSeconds"'),
    "timeout too long": (timer({"callbackTimeout": "301s"}), "must be from 1s to 5m"),
    "url of another scheme": (timer({"callbackUrl": "ftp://example.org"}), "must be an http or https URL"),
    "url with credentials": (
        timer({"callbackUrl": "https://me:pw@example.org"}),
        "must not carry credentials; use headers",
    ),
    "url without host": (timer({"callbackUrl": "https:///hook"}), f"{HOST}a name, an IPv4"),
    "url of half an address": (timer({"callbackUrl": "http://10.0.0"}), f"{HOST}one that ends in a number"),
    "url with a port too high": (timer({"callbackUrl": "http://a:65536/"}), "must have a port from 1 to 65535"),
    "url with a blank": (timer({"callbackUrl": "http://a/b c"}), "must be of printable ASCII characters"),
    "url too long": (timer({"callbackUrl": "http://a/" + "b" * 2040}), "may not be more than 2048"),
    "unknown method": (timer({"callbackMethod": "post"}), '"POST", "PUT", "PATCH", "GET", "DELETE"'),
    "two payloads": (
        timer({"payload": {"a": 1}, "payloadBase64": "AA=="}),
        '"spec" must not validate the schema (not)',
    ),
    "payload not base64": (timer({"payloadBase64": "A==="}), "spec.payloadBase64 in body should match"),
    "payload too large": (timer({"payloadBase64": "AAAA" * 21_847}), "spec.payloadBase64: Too long"),
    "content type of JSON": (
        timer({"payload": "text", "contentType": "text/plain"}),
        'spec.contentType: Invalid value: "object": must be a JSON type unless payloadBase64 is set',
    ),
    "content type no media type": (
        timer({"payloadBase64": "AA==", "contentType": "plain"}),
        "must be a media type such as text/plain; charset=utf-8",
    ),
    "header without value": (headers({"name": "X-A"}), "exactly one of value and valueFrom must be set"),
    "header with two values": (
        headers({"name": "X-A", "value": "1", "valueFrom": {"secretKeyRef": SECRET}}),
        'spec.headers[0]: Invalid value: "object": exactly one of value and valueFrom must be set',
    ),
    "header twice": (headers(*[{"name": "X-A", "value": "1"}] * 2), 'spec.headers[1]: Duplicate value: {"name":"X-A"}'),
    "header twice in another case": (
        headers({"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}),
        "must not name a header twice; names differ not by case",
    ),
    "content-type as a header": (
        headers({"name": "Content-Type", "value": "text/plain"}),
        'spec.headers[0].name: Invalid value: "string": must not be content-type; use contentType',
    ),
    "header of the service": (
        headers({"name": "Webhook-Id", "value": "1"}),
        "must not be one of the service's own headers, nor one of a connection",
    ),
    "header name with a blank": (headers({"name": "X A", "value": "1"}), "spec.headers[0].name in body should match"),
    "header of two lines": (headers({"name": "X-A", "value": "1\n2"}), "spec.headers[0].value in body should match"),
    "headers too large": (
        headers(*({"name": f"X-{at}", "value": "v" * 4096} for at in range(2))),
        'spec.headers: Invalid value: "array": must have at most 8192 bytes in all',
    ),
    "too many headers": (
        headers(*({"name": f"X-{at}", "value": "v"} for at in range(33))),
        "spec.headers: Too many: 33: must have at most 32 items",
    ),
    "label name": (timer({"labels": {"a b": "c"}}), "must have label names: up to 63"),
    "label value": (timer({"labels": {"a": "-c"}}), "spec.labels.a in body should match"),
    "too many labels": (
        timer({"labels": {f"l{at}": "v" for at in range(17)}}),
        "spec.labels: Too many: 17: must have at most 16 items",
    ),
    "own intervals out of order": (
        timer({"retryPolicy": {"initialInterval": "2s", "maxInterval": "1s"}}),
        'spec.retryPolicy.maxInterval: Invalid value: "object": must be at least initialInterval',
    ),
    "suspend as a string": (timer({"suspend": "true"}), 'spec.suspend in body must be of type boolean: "string"'),
}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    **{f"TimerGroup: {name}": case for name, case in WRONG_GROUPS.items()},
    **{f"Timer: {name}": case for name, case in WRONG_TIMERS.items()},
}
"""All of them, by kind and what is wrong."""
