"""The two calls of a store that belong to a timer's trace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from durable_timer.models.results import CreateResult, IfExists
from durable_timer.models.timer import NewTimer
from durable_timer.stores.base import Store, TakeGroup, Taken

if TYPE_CHECKING:
    from durable_timer.tracing.spans import SpanTracer


class TracedCalls:
    """`create` and `take_due` of a store, each timer with a span of its own."""

    def __init__(self, store: Store, tracer: SpanTracer) -> None:
        self._store = store
        self._tracer = tracer

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> list[CreateResult]:
        """As the store's; what is created carries its span."""
        spans = self._tracer.creating(timers)
        results: list[CreateResult] | None = None
        try:
            results = await self._store.create(timers, if_exists)
        finally:
            self._tracer.created(spans, results)
        return results

    async def take_due(self, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        """As the store's; what is taken carries the take's span."""
        began = time.time_ns()
        taken = await self._store.take_due(groups, me, ahead, run)
        self._tracer.taken(taken.timers, began)
        return taken
