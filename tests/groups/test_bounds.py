"""Each default and bound of a TimerGroup, from both sides, as a document states it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from durable_timer.models.group import TimerGroupManifest, TimerGroupSpec, spec_from_json, spec_to_json

LABEL_63 = "a" * 63
LABEL_64 = "a" * 64
KEPT = 65_536 - len('{"$comment":""}')


def spec(path: str, value: JsonValue) -> JsonValue:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def read(document: JsonValue) -> TimerGroupSpec:
    return TimerGroupSpec.model_validate_json(orjson.dumps(document))


def refusal(document: JsonValue) -> tuple[str, str]:
    """Field and rule of the one error."""
    with pytest.raises(ValidationError) as caught:
        read(document)
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def test_the_defaults() -> None:
    assert orjson.loads(spec_to_json(read({}))) == {
        "groupId": None,
        "shards": 16,
        "store": "default",
        "executorPool": "default",
        "paused": False,
        "deletionPolicy": "Retain",
        "callback": {
            "timeout": "10s",
            "method": "POST",
            "format": "Standard",
            "maxInFlight": 1000,
            "rateLimit": None,
            "signing": None,
        },
        "retryPolicy": {
            "maxAttempts": 200,
            "maxAttemptsDuration": "24h",
            "initialInterval": "1s",
            "backoffMultiplier": "2.0",
            "maxInterval": "15m",
        },
        "payload": {"maxBytes": 102_400, "schema": None},
        "retention": {"completed": "1h", "failed": "168h"},
        "objectives": {"lateness": "1s"},
    }


BOUNDS: list[tuple[str, list[JsonValue], list[JsonValue]]] = [
    ("groupId", ["a", "0", "a-1", LABEL_63], ["", LABEL_64, "A", "-a", "a-", "a.b", "a_b", "ä", "a\n"]),
    ("shards", [1, 4096], [0, 4097, -1]),
    ("store", ["a", LABEL_63], ["", LABEL_64, "A"]),
    ("executorPool", ["a", LABEL_63], ["", LABEL_64, "a/b"]),
    ("paused", [True, False], ["true", 1, 0]),
    ("deletionPolicy", ["Retain", "Delete"], ["retain", ""]),
    ("callback.timeout", ["1s", "1000ms", "5m", "300s"], ["999ms", "301s", "5m1ms", "0s", 10, "10"]),
    ("callback.method", ["POST", "PUT", "PATCH", "GET", "DELETE"], ["HEAD", "post"]),
    ("callback.format", ["Standard", "Raw", "CloudEvents"], ["raw", ""]),
    ("callback.maxInFlight", [1, 10_000], [0, 10_001]),
    ("callback.rateLimit", [{"requests": 1}, {"requests": 100_000}], [{"requests": 0}, {"requests": 100_001}, {}]),
    (
        "callback.rateLimit",
        [{"requests": 5, "period": "1s"}, {"requests": 5, "period": "1h"}],
        [{"requests": 5, "period": "999ms"}, {"requests": 5, "period": "1h1ms"}],
    ),
    (
        "callback.signing.secretRefs",
        [[], [{"name": "a", "key": "k"}], [{"name": "a", "key": "k"}, {"name": "a", "key": "l"}]],
        [[{"name": "a", "key": str(key)} for key in range(3)], [{"name": "A", "key": "k"}], [{"name": "a", "key": ""}]],
    ),
    ("retryPolicy.maxAttempts", [1, 1000], [0, 1001]),
    ("retryPolicy.maxAttemptsDuration", ["1s", "720h"], ["999ms", "720h1ms"]),
    ("retryPolicy.initialInterval", ["100ms", "15m"], ["99ms", "1h1ms"]),
    (
        "retryPolicy.backoffMultiplier",
        ["1", "1.0", "2.125", "10.0"],
        ["0.9", "10.001", "2.0001", "", "x", "1e1", "-2", 2, 2.0],
    ),
    ("retryPolicy.maxInterval", ["1s", "24h"], ["99ms", "24h1ms"]),
    ("payload.maxBytes", [1024, 1_048_576], [1023, 1_048_577]),
    (
        "payload.schema",
        [{}, {"type": "object", "const": None}, {"$comment": "x" * KEPT}],
        [
            {"$comment": "x" * (KEPT + 1)},
            {"type": "nonsense"},
            {"pattern": "("},
            {"$ref": "http://example.com/s"},
            [],
            "x",
        ],
    ),
    ("retention.completed", ["0s", "8760h"], ["8760h1ms"]),
    ("retention.failed", ["1h", "8760h"], ["59m59s999ms", "8760h1ms"]),
    ("objectives.lateness", ["10ms", "1h"], ["9ms", "1h1ms"]),
]

RIGHT = [(path, value) for path, values, _ in BOUNDS for value in values]
WRONG = [(path, value) for path, _, values in BOUNDS for value in values]


@pytest.mark.parametrize(("path", "value"), RIGHT, ids=lambda part: repr(part)[:40])
def test_what_is_within_its_bounds_is_taken(path: str, value: JsonValue) -> None:
    taken = read(spec(path, value))
    assert spec_from_json(spec_to_json(taken)) == taken


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda part: repr(part)[:40])
def test_what_is_outside_is_refused_by_its_field(path: str, value: JsonValue) -> None:
    field, _ = refusal(spec(path, value))
    assert field.startswith(path)


@pytest.mark.parametrize("path", ["groupID", "callback.url", "callback.signing.secret", "retryPolicy.jitter", "status"])
def test_unknown_fields_are_refused(path: str) -> None:
    assert refusal(spec(path, 1))[0] == path


@pytest.mark.parametrize(
    ("policy", "taken"),
    [
        ({"initialInterval": "15m"}, True),
        ({"initialInterval": "15m1ms"}, False),
        ({"maxInterval": "999ms"}, False),
        ({"initialInterval": "1h", "maxInterval": "1h"}, True),
        ({"initialInterval": "1h", "maxInterval": "59m"}, False),
    ],
)
def test_the_longest_interval_is_not_shorter_than_the_first(policy: JsonValue, taken: bool) -> None:
    if taken:
        read({"retryPolicy": policy})
    else:
        field, message = refusal({"retryPolicy": policy})
        assert field == "retryPolicy"
        assert "must be at least initialInterval" in message


def test_a_secrets_key_signs_once() -> None:
    twice: JsonValue = [{"name": "a", "key": "k"}, {"name": "a", "key": "k"}]
    assert "twice" in refusal(spec("callback.signing.secretRefs", twice))[1]


@pytest.mark.parametrize("part", ["callback", "retryPolicy", "payload", "retention", "objectives", "shards", "groupId"])
def test_null_is_the_default_as_in_kubernetes(part: str) -> None:
    assert read({part: None}) == read({})


def manifest(name: str, group_id: str | None = None) -> TimerGroupManifest:
    return TimerGroupManifest.model_validate(
        {
            "apiVersion": "durabletimer.dev/v1alpha1",
            "kind": "TimerGroup",
            "metadata": {"name": name, "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"groupId": group_id},
            "status": {"anything": ["goes"]},
        }
    )


def test_a_groups_id_is_its_name_unless_it_says() -> None:
    assert manifest("demo").group_id == "demo"
    assert manifest("demo", "other").group_id == "other"
    assert manifest("demo.example", "other").group_id == "other"
    assert manifest("a" * 253, "other").group_id == "other"


@pytest.mark.parametrize("name", ["demo.example", LABEL_64])
def test_a_name_that_is_no_dns_label_needs_a_group_id(name: str) -> None:
    with pytest.raises(ValidationError, match=r"DNS label of at most 63 characters unless spec.groupId is set"):
        manifest(name)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a..b", "a" * 254])
def test_a_name_is_a_kubernetes_name(name: str) -> None:
    with pytest.raises(ValidationError, match=r"metadata\.name"):
        manifest(name, "other")


def test_a_stored_spec_of_a_later_release_is_read_without_what_is_new() -> None:
    text = '{"shards": 3, "egress": {"allow": []}, "callback": {"timeout": "7s", "proxy": "x", "rateLimit": {"requests": 1, "burst": 2}}}'
    assert spec_from_json(text) == read({"shards": 3, "callback": {"timeout": "7s", "rateLimit": {"requests": 1}}})


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(), st.lists, max_leaves=5))
def test_nonsense_is_refused_not_misread(value: JsonValue) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return
    for part in ("callback", "retryPolicy", "payload"):
        if value is not None:
            assert refusal({part: value})[0] == part


def test_each_field_says_what_it_is() -> None:
    schema = TimerGroupManifest.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    fields = {(part["title"], name): field for part in parts for name, field in part.get("properties", {}).items()}
    assert fields
    assert [name for name, field in fields.items() if not field.get("description")] == []
