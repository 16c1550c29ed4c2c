"""Whether something grows: the rule by which a long run is judged.

A series is split into the lives of the process that it is about. Of each life the warm-up is left out, and of the run its
first half. What is left of a life is cut into parts of equal length, of each of which the median counts. The slope is the
weighted median of the slopes between two such medians of one life that lie at least half of it apart (Theil and Sen's
estimator; the distance is the weight). So neither an outlier nor a restart decides it, while growth in steps still does.
That slope over the second half of the run is the growth. It must not exceed the allowance, or half of what the series
swings by about its slope, from its lowest tenth to its highest: less cannot be told from where a sawtooth begins and ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import Final

Point = tuple[float, float]
"""Seconds, and a value."""

LEAST_POINTS: Final = 8
"""Fewer points of a life, beyond its warm-up, say nothing."""

SWING: Final = 0.5
"""The share of a series' swing that is no growth."""

PARTS: Final = 12
"""Of a life."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a series may grow by: a share of its level, but always `least`, in the series' unit.

    A life that is seen for less than so many `seconds`, its warm-up not counted, is not judged.
    """

    share: float
    least: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Trend:
    """Level and growth over the second half of the run, in the series' unit; `growth` is None where too little was seen."""

    level: float
    growth: float | None
    allowed: float

    @property
    def grows(self) -> bool:
        """Whether it grows by more than is allowed."""
        return self.growth is not None and self.growth > self.allowed

    def __str__(self) -> str:
        if self.growth is None:
            return "not judged"
        return f"{self.growth:+,.2f} of {self.level:,.2f}, allowed {self.allowed:,.2f}"


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that a series came to, where a pool bounds it: a pool that fills is no growth, one that overflows is."""

    most: float
    allowed: float

    @property
    def grows(self) -> bool:
        """Whether it came to more than is allowed."""
        return self.most > self.allowed

    def __str__(self) -> str:
        return f"{self.most:,.0f} at most, allowed {self.allowed:,.0f}"


def peak(lives: Sequence[Sequence[Point]], allowed: float) -> Peak:
    """Over all lives but the first sample of each: what the process before it held may not be gone yet."""
    return Peak(max((value for life in lives for _, value in life[1:]), default=0.0), allowed)


def trend(lives: Sequence[Sequence[Point]], seconds: float, warm_up: float, allowance: Allowance) -> Trend:
    """Judges a series, whose times count from the begin of a run of so many seconds, one sequence of points a life."""
    half = seconds / 2
    first = [life[0][0] if life else 0.0 for life in lives]
    judged = [
        [(at, value) for at, value in life if half <= at <= seconds and at >= begin + warm_up]
        for life, begin in zip(lives, first, strict=True)
    ]
    judged = [life for life in judged if len(life) >= LEAST_POINTS and life[-1][0] - life[0][0] > allowance.seconds]
    level = median(value for life in judged for _, value in life) if judged else 0.0
    slopes = [slope for life in judged for slope in _slopes(_medians(life))]
    if not slopes:
        return Trend(level, None, 0.0)
    slope = _weighted_median(slopes)
    allowed = max(allowance.least, abs(level) * allowance.share, _swing(judged, slope) * SWING)
    return Trend(level, slope * half, allowed)


def _swing(lives: Sequence[Sequence[Point]], slope: float) -> float:
    """From the lowest to the highest tenth of what is left without the slope, and without each life's own level."""
    rests = [[value - slope * at for at, value in life] for life in lives]
    ranked = sorted(value - median(rest) for rest in rests for value in rest)
    return ranked[len(ranked) * 9 // 10] - ranked[len(ranked) // 10]


def _slopes(life: Sequence[Point]) -> Iterator[tuple[float, float]]:
    """The slopes of all pairs that are far enough apart, each with its weight."""
    far = (life[-1][0] - life[0][0]) / 2
    for place, (begin, low) in enumerate(life):
        for end, high in life[place + 1 :]:
            if end - begin >= far:
                yield (high - low) / (end - begin), end - begin


def _medians(life: Sequence[Point]) -> list[Point]:
    """Of each part that holds a point: the middle of its points in time and in value."""
    begin, length = life[0][0], life[-1][0] - life[0][0]
    parts: dict[int, list[Point]] = {}
    for at, value in life:
        parts.setdefault(min(PARTS - 1, int((at - begin) / length * PARTS)), []).append((at, value))
    return [(median(at for at, _ in part), median(value for _, value in part)) for part in parts.values()]


def _weighted_median(weighted: Sequence[tuple[float, float]]) -> float:
    ranked = sorted(weighted)
    sums = list(accumulate(weight for _, weight in ranked))
    return next(value for (value, _), so_far in zip(ranked, sums, strict=True) if so_far >= sums[-1] / 2)
