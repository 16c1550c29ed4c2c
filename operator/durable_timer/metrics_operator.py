"""What an operator tells about itself; kept like the numbers of `metrics`, which serves them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from durable_timer.metrics_histogram import Histogram

RECONCILE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: from nothing to do, to a store that does not answer."""


class OperatorMetrics:
    """The operator's numbers. Nothing is served before `observe`: other programs have none of these."""

    def __init__(self) -> None:
        self._leading: Callable[[], bool] | None = None
        self._depth: Callable[[], int] = lambda: 0
        self._oldest_age: Callable[[], float] = lambda: 0.0
        self._reconciles: Counter[tuple[str, str]] = Counter()
        self._durations: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(RECONCILE_BUCKETS))
        self._turns: dict[tuple[str, str], float] = {}
        self._assigned: Counter[tuple[str, str]] = Counter()
        self._deaths: Counter[tuple[str, str]] = Counter()
        self._groups: dict[tuple[str, str], tuple[str, str]] = {}

    def observe(self, leading: Callable[[], bool]) -> None:
        """From now on this process is an operator; `leading` says whether it holds the Lease."""
        self._leading = leading

    def observe_queue(self, depth: Callable[[], int], oldest_age: Callable[[], float]) -> None:
        """How many resources wait to be reconciled, and for how many seconds the one that waits longest."""
        self._depth, self._oldest_age = depth, oldest_age

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """One reconcile; `outcome` is done, conflict (somebody else wrote), failed or fault."""
        self._reconciles[kind, outcome] += 1
        self._durations[kind].observe(seconds)

    def planner_turned(self, store: str, pool: str) -> None:
        """The planner of the pool has read members and shards, and written what had to be."""
        self._turns[store, pool] = time.monotonic()
        self._assigned[store, pool] += 0
        self._deaths[store, pool] += 0

    def assigned(self, store: str, pool: str, shards: int) -> None:
        """Assignments written."""
        self._assigned[store, pool] += shards

    def death_declared(self, store: str, pool: str) -> None:
        """A silent member was declared dead by this planner (members declare each other as well)."""
        self._deaths[store, pool] += 1

    def group(self, namespace: str, name: str, ready: tuple[str, str] | None) -> None:
        """A TimerGroup's Ready condition as status and reason; None when it is gone."""
        if ready is None:
            self._groups.pop((namespace, name), None)
        else:
            self._groups[namespace, name] = ready

    def collect(self) -> Iterator[Metric]:
        """The families, with the numbers of now; none when this process is no operator."""
        if self._leading is None:
            return
        yield _gauge("leader", "Whether this operator holds the Lease.", float(self._leading()))
        yield _gauge("queue_depth", "Resources that wait to be reconciled.", self._depth())
        yield _gauge(
            "queue_oldest_age_seconds", "For how long the resource that waits longest has waited.", self._oldest_age()
        )
        yield from self._reconcile_families()
        yield from self._planner_families()
        groups = GaugeMetricFamily(
            "durable_timer_operator_groups", "TimerGroups, by their Ready condition.", labels=["ready", "reason"]
        )
        for labels, count in Counter(self._groups.values()).items():
            groups.add_metric(list(labels), count)
        yield groups

    def _reconcile_families(self) -> Iterator[Metric]:
        reconciles = CounterMetricFamily(
            "durable_timer_operator_reconciles", "Reconciles that ended, by outcome.", labels=["kind", "outcome"]
        )
        for labels, count in self._reconciles.items():
            reconciles.add_metric(list(labels), count)
        durations = HistogramMetricFamily(
            "durable_timer_operator_reconcile_duration_seconds", "How long a reconcile took.", labels=["kind"]
        )
        for kind, histogram in self._durations.items():
            histogram.add_to(durations, [kind])
        yield from (reconciles, durations)

    def _planner_families(self) -> Iterator[Metric]:
        labels = ["store", "pool"]
        age = GaugeMetricFamily(
            "durable_timer_operator_planner_age_seconds", "How long ago the planner's loop turned.", labels=labels
        )
        now = time.monotonic()
        for pool, turned_at in self._turns.items():
            age.add_metric(list(pool), now - turned_at)
        yield age
        for name, documentation, counts in (
            ("assignments_written", "Shards that the planner assigned anew.", self._assigned),
            ("deaths_declared", "Silent executors that the planner declared dead.", self._deaths),
        ):
            family = CounterMetricFamily(f"durable_timer_operator_{name}", documentation, labels=labels)
            for pool, count in counts.items():
                family.add_metric(list(pool), count)
            yield family


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"durable_timer_operator_{name}", documentation, value)
