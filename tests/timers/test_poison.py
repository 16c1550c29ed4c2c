"""Timers that make no sense: each is its own trouble, and nobody else's."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from durable_timer.models.group import PayloadSpec
from durable_timer.models.status import TimerReason
from durable_timer.planning.declared import Refused, read_timer
from durable_timer.planning.declared_payload import PayloadRules
from tests.timers.cluster import Cluster, key_of
from tests.timers.test_drift import drift
from tests.timers.test_reconcile import one_shot, soon

SCHEMAS = [None, {"type": "array", "items": {"type": "array"}}]


def in_base64(content: bytes) -> dict[str, Any]:
    return {"payloadBase64": b64encode(content).decode(), "contentType": "application/json"}


@pytest.mark.parametrize("schema", SCHEMAS, ids=["any", "schema"])
@pytest.mark.parametrize(
    "content", [rb'"\ud800"', rb'{"\udfff": 1}', b"[" * 30_000 + b"]" * 30_000, b"1" * 5000, b"\xff"]
)
async def test_json_that_cannot_be_kept_is_refused(
    cluster: Cluster, schema: dict[str, Any] | None, content: bytes
) -> None:
    await cluster.apply("t", one_shot(soon(), **in_base64(content)))
    assert cluster.condition("t", "Stalled") == ("True", "InvalidSpec")
    read = read_timer(cluster.api.objects[key_of("t")], PayloadRules(PayloadSpec(json_schema=schema)))
    assert isinstance(read, Refused)


async def test_a_comparison_goes_on_past_one_that_cannot_be_judged(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "bad", "z"):
        await cluster.apply(name, one_shot(soon()))
    cluster.api.objects[key_of("z")] = replace(cluster.api.objects[key_of("z")], status={})
    judge = cluster.timers.is_at_rest

    def is_at_rest(resource: Any, *others: Any) -> bool:
        if resource.name == "bad":
            raise RecursionError
        return judge(resource, *others)

    monkeypatch.setattr(cluster.timers, "is_at_rest", is_at_rest)
    passes, found = drift(cluster)
    assert await passes.compare() == 2
    assert found == [key_of("bad"), key_of("z")]


async def test_what_a_schema_refuses_is_told_without_the_payload(cluster: Cluster) -> None:
    rules = PayloadRules(PayloadSpec(json_schema={"properties": {"pin": {"type": "integer"}}}))
    for payload in ({"pin": "hunter2"}, {"pin": {"deep": "hunter2"}}):
        cluster.api.apply("t", one_shot(soon(), payload=payload))
        read = read_timer(cluster.api.objects[key_of("t")], rules)
        assert isinstance(read, Refused)
        assert read.reason is TimerReason.PAYLOAD_REFUSED
        assert "/pin" in read.message
        assert "hunter2" not in read.message
