"""What a process tells about itself to Prometheus.

Numbers are kept in plain Python and turned into Prometheus' families when they are asked for, because a timer that
fires passes here several times. Not thread-safe: call it from the event loop's thread.
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from durable_timer import __version__
from durable_timer.metrics_histogram import Histogram
from durable_timer.metrics_operator import OperatorMetrics

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""The content type of what `Metrics.render` returns."""

LATENESS_BUCKETS: Final = (
    0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 900.0, 3600.0,
)  # fmt: skip
"""Seconds: dense around the promise (p99 ≤ 10 ms), up to the hour that a backlog may take."""

CALLBACK_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""Seconds: up to the longest callback timeout."""

CALL_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: store calls and REST requests."""


OUTCOMES: Final = ("completed", "failed", "retry", "next", "missed")
"""Served from the start, so that the first one of each is seen as an increase."""


class _Group:
    """One group's numbers."""

    __slots__ = (
        "callback", "claims", "created", "deferred", "due", "in_flight", "lateness", "objective", "oldest", "outcomes",
        "paused", "purged", "secrets_missing", "shards", "swept", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.created = 0
        self.taken = 0
        self.swept = 0
        self.purged = 0
        self.outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
        self.deferred: Counter[str] = Counter()
        self.lateness = Histogram(LATENESS_BUCKETS)
        self.callback = Histogram(CALLBACK_BUCKETS)
        self.in_flight: int | None = None
        self.claims: int | None = None
        self.due: int | None = None
        self.oldest: float | None = None
        self.shards: int | None = None
        self.objective: float | None = None
        self.paused: bool | None = None
        self.secrets_missing: bool | None = None


class Metrics(Collector):
    """All metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.operator = OperatorMetrics()
        self._groups: defaultdict[str, _Group] = defaultdict(_Group)
        self._members: dict[str, int] = {}
        self._clock_offset: float | None = None
        self._loop_ages: Callable[[], Mapping[str, float]] = dict
        self._store_calls: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(CALL_BUCKETS))
        self._store_errors: Counter[tuple[str, str]] = Counter()
        self._requests: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(CALL_BUCKETS))
        self._statuses: Counter[tuple[str, int]] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def created(self, group: str, count: int) -> None:
        """Timers that a create wrote (not those that were there already)."""
        self._groups[group].created += count

    def taken(self, group: str, count: int) -> None:
        """Timers that a take returned."""
        self._groups[group].taken += count

    def delivered(self, group: str, outcome: str, lateness: float | None, duration: float) -> None:
        """One attempt that ended; `outcome` is completed, failed, retry, next or stopped.

        `lateness` in seconds is that of a due attempt when it was sent (None where it was held on purpose), `duration`
        that of the request.
        """
        numbers = self._groups[group]
        numbers.outcomes[outcome] += 1
        numbers.callback.observe(duration)
        if lateness is not None:
            numbers.lateness.observe(lateness)

    def too_late(self, group: str, outcome: str) -> None:
        """An occurrence that its starting deadline ended without an attempt: failed, or a schedule's, missed."""
        self._groups[group].outcomes[outcome] += 1

    def deferred(self, group: str, reason: str, count: int) -> None:
        """Timers put off without an attempt; `reason` is one of a few words."""
        self._groups[group].deferred[reason] += count

    def swept(self, group: str, count: int) -> None:
        """Running timers that a sweep made pending again."""
        self._groups[group].swept += count

    def purged(self, group: str, count: int) -> None:
        """Finished timers whose retention was over."""
        self._groups[group].purged += count

    def in_flight(self, group: str, count: int) -> None:
        """Requests of the group under way now."""
        self._groups[group].in_flight = count

    def backlog(self, group: str, due: int, oldest_age: float) -> None:
        """Pending timers that are due now, and for how long the oldest has been, in seconds."""
        numbers = self._groups[group]
        numbers.due = due
        numbers.oldest = oldest_age

    def claims(self, group: str, count: int) -> None:
        """Shards of the group that this member owns."""
        self._groups[group].claims = count

    def declared(self, group: str, *, shards: int, objective: float, paused: bool, secrets_missing: bool) -> None:
        """What the group asks for (`objective` in seconds), and whether this member misses a Secret that signs it."""
        numbers = self._groups[group]
        numbers.shards, numbers.objective = shards, objective
        numbers.paused, numbers.secrets_missing = paused, secrets_missing

    def observe_loops(self, ages: Callable[[], Mapping[str, float]]) -> None:
        """`ages` says, when asked, how many seconds ago each loop of the executor turned."""
        self._loop_ages = ages

    def members(self, pool: str, alive: int) -> None:
        """Members of the pool, as this one sees them, that are neither dead nor leaving."""
        self._members[pool] = alive

    def clock_offset(self, seconds: float) -> None:
        """The store's clock less this machine's."""
        self._clock_offset = seconds

    def store_call(self, method: str, seconds: float, error: str | None) -> None:
        """One call of the store's contract, with the name of what it raised."""
        self._store_calls[method].observe(seconds)
        if error is not None:
            self._store_errors[method, error] += 1

    def request(self, operation: str, status: int, seconds: float) -> None:
        """One REST request; `operation` is the operationId of the contract."""
        self._requests[operation].observe(seconds)
        self._statuses[operation, status] += 1

    def forget_group(self, group: str) -> None:
        """Drops a group's numbers: it was deleted, or is no longer this process's concern."""
        self._groups.pop(group, None)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """The families, with the numbers of now."""
        yield InfoMetricFamily(
            "durable_timer_build", "The release that runs.",
            value={"version": __version__, "python": platform.python_version()},
        )  # fmt: skip
        yield from self._group_counters()
        yield from self._group_gauges()
        yield from self._group_histograms()
        yield from self._process_families()
        yield from self.operator.collect()

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names do not clash, and the registry need not collect to know them."""
        return ()

    def _group_counters(self) -> Iterator[Metric]:
        created = CounterMetricFamily("durable_timer_timers_created", "Timers created.", labels=["group"])
        taken = CounterMetricFamily("durable_timer_timers_taken", "Timers taken from the store.", labels=["group"])
        swept = CounterMetricFamily(
            "durable_timer_timers_swept", "Running timers made pending again after a fault.", labels=["group"]
        )
        purged = CounterMetricFamily(
            "durable_timer_timers_purged", "Finished timers deleted after their retention.", labels=["group"]
        )
        deliveries = CounterMetricFamily(
            "durable_timer_deliveries",
            "Attempts that ended, by outcome, and what ended without one for being too late (failed, missed).",
            labels=["group", "outcome"],
        )
        deferred = CounterMetricFamily(
            "durable_timer_timers_deferred", "Timers put off without an attempt.", labels=["group", "reason"]
        )
        for group, numbers in self._groups.items():
            created.add_metric([group], numbers.created)
            taken.add_metric([group], numbers.taken)
            swept.add_metric([group], numbers.swept)
            purged.add_metric([group], numbers.purged)
            for outcome, count in numbers.outcomes.items():
                deliveries.add_metric([group, outcome], count)
            for reason, count in numbers.deferred.items():
                deferred.add_metric([group, reason], count)
        yield from (created, taken, swept, purged, deliveries, deferred)

    def _group_gauges(self) -> Iterator[Metric]:
        gauges = (
            ("in_flight", "durable_timer_in_flight", "Callbacks under way."),
            ("claims", "durable_timer_claims", "Shards that this member owns."),
            ("due", "durable_timer_due_timers", "Pending timers that are due."),
            ("oldest", "durable_timer_oldest_due_age_seconds", "For how long the oldest due timer has been due."),
            ("shards", "durable_timer_group_shards", "Shards that the group has."),
            ("objective", "durable_timer_lateness_objective_seconds", "The p99 of lateness that the group asks for."),
            ("paused", "durable_timer_group_paused", "Whether the group is paused."),
            (
                "secrets_missing",
                "durable_timer_secrets_missing",
                "Whether a Secret that signs the group was never read.",
            ),
        )
        for attribute, name, documentation in gauges:
            family = GaugeMetricFamily(name, documentation, labels=["group"])
            for group, numbers in self._groups.items():
                value: float | None = getattr(numbers, attribute)
                if value is not None:
                    family.add_metric([group], value)
            yield family

    def _group_histograms(self) -> Iterator[Metric]:
        lateness = HistogramMetricFamily(
            "durable_timer_lateness_seconds", "How late a due attempt was sent, by the store's clock.", labels=["group"]
        )
        callback = HistogramMetricFamily(
            "durable_timer_callback_duration_seconds", "How long a callback took.", labels=["group"]
        )
        for group, numbers in self._groups.items():
            numbers.lateness.add_to(lateness, [group])
            numbers.callback.add_to(callback, [group])
        yield from (lateness, callback)

    def _process_families(self) -> Iterator[Metric]:
        members = GaugeMetricFamily("durable_timer_members", "Living executors of the pool.", labels=["pool"])
        for pool, alive in self._members.items():
            members.add_metric([pool], alive)
        yield members
        ages = GaugeMetricFamily("durable_timer_loop_age_seconds", "How long ago the loop turned.", labels=["loop"])
        for loop, age in self._loop_ages().items():
            ages.add_metric([loop], age)
        yield ages
        if self._clock_offset is not None:
            yield GaugeMetricFamily(
                "durable_timer_clock_offset_seconds", "The store's clock less this machine's.", self._clock_offset
            )
        yield from _timed(
            self._store_calls, "durable_timer_store_call_duration_seconds", "How long a store call took.", "method"
        )
        errors = CounterMetricFamily(
            "durable_timer_store_errors", "Store calls that failed.", labels=["method", "error"]
        )
        for (method, error), count in self._store_errors.items():
            errors.add_metric([method, error], count)
        yield errors
        yield from _timed(
            self._requests, "durable_timer_http_request_duration_seconds", "How long a REST request took.", "operation"
        )
        requests = CounterMetricFamily(
            "durable_timer_http_requests", "REST requests answered.", labels=["operation", "status"]
        )
        for (operation, status), count in self._statuses.items():
            requests.add_metric([operation, str(status)], count)
        yield requests


def _timed(histograms: dict[str, Histogram], name: str, documentation: str, label: str) -> Iterator[Metric]:
    family = HistogramMetricFamily(name, documentation, labels=[label])
    for value, histogram in histograms.items():
        histogram.add_to(family, [value])
    yield family
