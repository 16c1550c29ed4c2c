"""Spans by OpenTelemetry (the extra `otel`): create → take → callback of a timer, in the trace of the create's request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from durable_timer import __version__
from durable_timer.models.results import CreateResult
from durable_timer.models.timer import NewTimer, TakenTimer

TRACES_PATH: Final = "/v1/traces"
"""Where an OTLP/HTTP collector takes spans, below its endpoint."""

_HEADER: Final = "traceparent"


class CallbackSpan:
    """A callback's span; `traceparent` names it."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Span, traceparent: str) -> None:
        self._span = span
        self.traceparent = traceparent

    def end(self, error: str | None) -> None:
        """The callback is over; `error` says why it did not succeed."""
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class SpanTracer:
    """Records spans and sends them in the background; a collector that is away costs spans, never timers."""

    def __init__(self, service: str, sample_ratio: float, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({"service.name": service, "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("durable_timer", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def creating(self, timers: Sequence[NewTimer]) -> list[Span]:
        """Begins a span for each timer that is to be created, and has the timer carry it."""
        spans = []
        for timer in timers:
            span = self._begin("timer create", SpanKind.PRODUCER, timer.traceparent, timer.group_id, timer.timer_id)
            timer.traceparent = self._carried(span)
            spans.append(span)
        return spans

    def created(self, spans: Sequence[Span], results: Sequence[CreateResult] | None) -> None:
        """Ends the spans of a create; `results` is None for one that failed."""
        for number, span in enumerate(spans):
            if results is None:
                span.set_status(Status(StatusCode.ERROR))
            else:
                span.set_attribute("durable_timer.result", results[number].status.value)
            span.end()

    def taken(self, timers: Sequence[TakenTimer], began: int) -> None:
        """Records the take (begun at `began`, in nanoseconds since 1970) of each timer, which carries it from now on."""
        for timer in timers:
            span = self._begin(
                "timer take", SpanKind.CONSUMER, timer.traceparent, timer.group_id, timer.timer_id, began
            )
            timer.traceparent = self._carried(span)
            span.end()

    def callback(self, traceparent: str | None, group_id: str, timer_id: str) -> CallbackSpan:
        """Begins the span of a callback whose take carried `traceparent`."""
        span = self._begin("timer callback", SpanKind.CLIENT, traceparent, group_id, timer_id)
        return CallbackSpan(span, self._carried(span))

    async def close(self) -> None:
        """Sends what is left, bounded by the exporter's timeout."""
        await asyncio.to_thread(self._provider.shutdown)

    def _begin(
        self, name: str, kind: SpanKind, parent: str | None, group_id: str, timer_id: str, began: int | None = None
    ) -> Span:
        context = self._propagator.extract({_HEADER: parent}) if parent is not None else Context()
        attributes = {"durable_timer.group": group_id, "durable_timer.timer": timer_id}
        return self._tracer.start_span(name, context, kind, attributes, start_time=began)

    def _carried(self, span: Span) -> str:
        it = span.get_span_context()
        return f"00-{it.trace_id:032x}-{it.span_id:016x}-{it.trace_flags:02x}"


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Sends to the OTLP/HTTP collector at that address."""
    url = endpoint if endpoint.endswith(TRACES_PATH) else endpoint.rstrip("/") + TRACES_PATH
    return OTLPSpanExporter(endpoint=url)
