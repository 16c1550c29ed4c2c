"""A histogram in plain Python, turned into Prometheus' family when it is asked for."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client.metrics_core import HistogramMetricFamily


class Histogram:
    """Counts by bucket; the last one is for what is above all bounds."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Writes one labelled sample; Prometheus' buckets are cumulative."""
        running = 0
        buckets = []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            running += count
            buckets.append((_bound_text(bound), float(running)))
        family.add_metric(labels, buckets, self._total)


def _bound_text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)
