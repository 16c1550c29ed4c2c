"""A store that measures another: how long each call of the contract took, and what it raised."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from durable_timer.metrics import Metrics
from durable_timer.stores.base import Capabilities, Store, WakeListener
from durable_timer.stores.traced import TracedCalls

if TYPE_CHECKING:
    from durable_timer.tracing.spans import SpanTracer

P = ParamSpec("P")
T = TypeVar("T")


class ObservedStore:
    """`store`, with every call reported to `metrics` under its method's name. Answers and errors pass unchanged.

    With a tracer, creates and takes are recorded as spans, too.
    """

    def __init__(self, store: Store, metrics: Metrics, tracer: SpanTracer | None) -> None:
        self._store = store
        self._metrics = metrics
        traced = store if tracer is None else TracedCalls(store, tracer)
        self.create = self._timed(traced.create)
        self.get = self._timed(store.get)
        self.list = self._timed(store.list)
        self.update = self._timed(store.update)
        self.delete = self._timed(store.delete)
        self.run = self._timed(store.run)
        self.redrive = self._timed(store.redrive)
        self.register_group = self._timed(store.register_group)
        self.groups = self._timed(store.groups)
        self.set_group_state = self._timed(store.set_group_state)
        self.transfer_group = self._timed(store.transfer_group)
        self.purge_group = self._timed(store.purge_group)
        self.finish_purge = self._timed(store.finish_purge)
        self.counts = self._timed(store.counts)
        self.join = self._timed(store.join)
        self.beat = self._timed(store.beat)
        self.declare_dead = self._timed(store.declare_dead)
        self.leave = self._timed(store.leave)
        self.members = self._timed(store.members)
        self.shards = self._timed(store.shards)
        self.claim = self._timed(store.claim)
        self.release = self._timed(store.release)
        self.raise_term = self._timed(store.raise_term)
        self.assign = self._timed(store.assign)
        self.take_due = self._timed(traced.take_due)
        self.settle = self._timed(store.settle)
        self.sweep = self._timed(store.sweep)
        self.purge = self._timed(store.purge)
        self.now = self._timed(store.now)
        self.ping = self._timed(store.ping)
        self.migrate = self._timed(store.migrate)
        self.close = self._timed(store.close)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store underneath."""
        return self._store.capabilities

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        """As the store underneath; not timed, since it does not wait."""
        return self._store.listen(listener)

    def _timed(self, call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        name = call.__name__
        report = self._metrics.store_call

        async def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            began = time.perf_counter()
            try:
                answer = await call(*args, **kwargs)
            except BaseException as error:
                report(name, time.perf_counter() - began, type(error).__name__)
                raise
            report(name, time.perf_counter() - began, None)
            return answer

        return timed


def observed(store: Store, metrics: Metrics, tracer: SpanTracer | None = None) -> Store:
    """The store to use in place of `store`."""
    return ObservedStore(store, metrics, tracer)
