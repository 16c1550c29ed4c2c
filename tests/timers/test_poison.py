"""Timers that make no sense: each is its own trouble, and nobody else's."""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from durable_timer.errors import UnreadableRow
from durable_timer.models.group import PayloadSpec
from durable_timer.models.status import TimerReason
from durable_timer.models.timer import Timer
from durable_timer.planning.declared import Refused, read_timer
from durable_timer.planning.declared_payload import PayloadRules
from durable_timer.reconcile.base import RegisteredGroup
from tests.timers.cluster import Cluster, key_of
from tests.timers.test_drift import drift, lose
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


def unreadable(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Rows with `bad` in their names cannot be read from now on."""
    get = cluster.store.get

    async def refuse(group_id: str, timer_ids: Sequence[str]) -> Sequence[Timer | None]:
        if any("bad" in timer_id for timer_id in timer_ids):
            raise error
        rows: Sequence[Timer | None] = await get(group_id, timer_ids)
        return rows

    monkeypatch.setattr(cluster.store, "get", refuse, raising=False)


@pytest.mark.parametrize("error", [ValueError("no such format"), UnreadableRow("g", "k8s:shop:bad1", "no such format")])
async def test_a_comparison_goes_on_past_rows_that_cannot_be_read(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A later release wrote them before it was rolled back."""
    for name in ("a", "bad1", "bad2", "c", "z"):
        await cluster.apply(name, one_shot(soon()))
    for name in ("a", "bad1", "z"):
        cluster.api.objects[key_of(name)] = replace(cluster.api.objects[key_of(name)], status={})
    unreadable(cluster, monkeypatch, error)
    passes, found = drift(cluster)
    with capture_logs() as told:
        assert await passes.compare() == 2
    assert found == [key_of("a"), key_of("z")]
    assert [(line["log_level"], line["timers"]) for line in told] == [("error", 2)]


async def test_a_row_that_cannot_be_read_fails_nobody_who_is_read_with_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", "bad", "c", "z"]
    for name in names:
        await cluster.apply(name, one_shot(soon()))
    unreadable(cluster, monkeypatch, UnreadableRow("g", "k8s:shop:bad", "no such format"))
    done = await asyncio.gather(*(cluster.reconcile(name) for name in names), return_exceptions=True)
    assert [type(one) for one in done] == [type(None), UnreadableRow, type(None), type(None)]


async def test_a_comparison_goes_on_past_a_group_that_fails(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    here = cluster.groups.known["orders"]
    cluster.groups.known["others"] = replace(here, group=replace(here.group, group_id="others"), name="others")
    await cluster.apply("a", one_shot(soon(), groupRef={"name": "others"}))
    await cluster.apply("z", one_shot(soon()))
    await lose(cluster, "z")
    now = cluster.timers.now

    async def fail(group: RegisteredGroup) -> datetime:
        if group.name == "others":
            raise RecursionError
        return await now(group)

    monkeypatch.setattr(cluster.timers, "now", fail)
    passes, found = drift(cluster)
    assert await passes.compare() == 1
    assert found == [key_of("z")]


async def test_what_a_schema_refuses_is_told_without_the_payload(cluster: Cluster) -> None:
    rules = PayloadRules(PayloadSpec(json_schema={"properties": {"pin": {"type": "integer"}}}))
    for payload in ({"pin": "hunter2"}, {"pin": {"deep": "hunter2"}}):
        cluster.api.apply("t", one_shot(soon(), payload=payload))
        read = read_timer(cluster.api.objects[key_of("t")], rules)
        assert isinstance(read, Refused)
        assert read.reason is TimerReason.PAYLOAD_REFUSED
        assert "/pin" in read.message
        assert "hunter2" not in read.message
