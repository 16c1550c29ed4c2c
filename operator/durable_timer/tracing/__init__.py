"""Traces: a timer's create, take and callback belong to one, whether spans of them are recorded (`spans`) or not."""

from durable_timer.tracing.context import ContextSpan, ContextTracer, child_traceparent

__all__ = ["ContextSpan", "ContextTracer", "child_traceparent"]
