"""The 99th percentile of lateness over the last 30 s, in bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

WINDOW: Final = 30.0
"""Seconds that a percentile looks back."""

SLICES: Final = 6
"""Parts of the window; the oldest is dropped as a new one begins."""

_BOUNDS: Final = tuple(0.001 * 1.25**step for step in range(68))
"""Upper bounds of the buckets in seconds, 1 ms to about an hour, each 25 % above the one before."""


class LatenessWindow:
    """Counts by logarithmic buckets in slices of the window."""

    def __init__(self) -> None:
        self._slices: list[tuple[int, list[int]]] = []

    def add(self, now: float, lateness: float) -> None:
        slot = int(now / (WINDOW / SLICES))
        if not self._slices or self._slices[-1][0] != slot:
            self._slices = [*self._slices[-SLICES:], (slot, [0] * (len(_BOUNDS) + 1))]
        self._slices[-1][1][bisect_left(_BOUNDS, lateness)] += 1

    def p99(self, now: float) -> float | None:
        """Seconds (a bucket's upper bound, so up to 25 % too high); None without a delivery in the window."""
        oldest = int(now / (WINDOW / SLICES)) - SLICES
        counts = [sum(column) for column in zip(*(c for slot, c in self._slices if slot > oldest), strict=True)]
        total = sum(counts)
        if not total:
            return None
        seen = 0
        for bound, count in zip((*_BOUNDS, _BOUNDS[-1]), counts, strict=True):
            seen += count
            if seen * 100 >= total * 99:
                return bound
        return _BOUNDS[-1]
