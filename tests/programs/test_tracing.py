"""Trace context is handed on, whether spans are recorded or not."""

import gzip
import random
import re
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from durable_timer.config import load
from durable_timer.errors import ConfigError
from durable_timer.factory import Factory
from durable_timer.models.timer import NewTimer
from durable_timer.tracing import ContextTracer, child_traceparent
from durable_timer.tracing.spans import SpanTracer
from tests.programs.client import Client
from tests.support.process import ServiceProcess
from tests.support.receiver import Receiver
from tests.support.waiting import eventually_blocking

SHAPE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_child_keeps_trace_and_flags_and_has_an_id_of_its_own() -> None:
    child = child_traceparent(PARENT, random.Random(1))
    assert SHAPE.fullmatch(child)
    assert child.split("-")[1] == PARENT.split("-")[1]
    assert child.split("-")[2] != PARENT.split("-")[2]
    assert child.endswith("-01")


@pytest.mark.parametrize(
    "parent",
    [None, "", "nonsense", PARENT.upper(), PARENT + "0", "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
     "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", "ff" + PARENT[2:]],
)  # fmt: skip
def test_without_a_valid_parent_an_unsampled_trace_begins(parent: str | None) -> None:
    child = child_traceparent(parent, random.Random(1))
    assert SHAPE.fullmatch(child)
    assert child.endswith("-00")


def test_the_same_seed_gives_the_same_ids() -> None:
    assert child_traceparent(None, random.Random(7)) == child_traceparent(None, random.Random(7))


def test_a_callback_carries_a_child_of_its_create() -> None:
    span = ContextTracer(random.Random(1)).callback(PARENT, "demo", "t-1")
    assert span.traceparent.split("-")[1] == PARENT.split("-")[1]
    span.end(None)


def spans_at(collector: Receiver) -> list[Span]:
    """What a collector got, as OpenTelemetry's own messages."""
    spans = []
    for arrival in collector.arrivals("/v1/traces"):
        body = gzip.decompress(arrival.body) if arrival.headers.get("content-encoding") == "gzip" else arrival.body
        request = ExportTraceServiceRequest.FromString(body)
        spans += [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
    return spans


def test_create_take_and_callback_are_one_trace(tmp_path: Path) -> None:
    with Receiver() as target, Receiver() as collector:
        service = ServiceProcess(
            "standalone",
            "--store", f"sqlite:///{tmp_path}/timers.sqlite",
            "--groups", "examples/timergroup.yaml",
            "--set", "engine.deny_private_targets=false",
            "--set", f"tracing.endpoint={collector.url}",
            log=tmp_path / "log",
        )  # fmt: skip
        with service:
            service.wait_ready()
            body = {"id": "t", "delay": "100ms", "callbackUrl": target.url}
            answer = Client(service.url).request("POST", "/api/v1/groups/demo/timers", body, {"traceparent": PARENT})
            assert answer.status == 201
            eventually_blocking(target.arrivals)
            assert service.stop() == 0
        spans = {span.name: span for span in spans_at(collector)}
        (arrival,) = target.arrivals()
    create, take, callback = (spans[f"timer {name}"] for name in ("create", "take", "callback"))
    trace, parent = PARENT.split("-")[1:3]
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    assert create.parent_span_id.hex() == parent
    assert take.parent_span_id == create.span_id
    assert callback.parent_span_id == take.span_id
    assert arrival.headers["traceparent"] == f"00-{trace}-{callback.span_id.hex()}-01"
    assert {one.key: one.value.string_value for one in callback.attributes}["durable_timer.timer"] == "t"


async def test_spans_tell_what_became_of_a_create_and_of_a_callback() -> None:
    exporter = InMemorySpanExporter()
    tracer = SpanTracer("test", 1.0, exporter)
    spans = tracer.creating([NewTimer(group_id="g", timer_id="t", shard=0, callback_url="http://a/", fingerprint=b"")])
    tracer.created(spans, None)
    tracer.callback(None, "g", "t").end("answered 500")
    await tracer.close()
    create, callback = exporter.get_finished_spans()
    assert not create.status.is_ok
    assert (callback.status.is_ok, callback.status.description) == (False, "answered 500")


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "durable_timer.tracing.spans", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'durable-timer\[otel\]'"):
        Factory(load(None, {"tracing.endpoint": "http://localhost:4318"}))
