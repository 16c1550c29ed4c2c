"""Processes killed now and then: when, and what it did to the shards that they had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from bench.cluster import Cluster
from bench.lab import Figures
from bench.sizes import Sizes
from durable_timer.planning.sharding import shard_of

SHARDS: Final = 16
WINDOW: Final = 15.0
"""Seconds after a kill in which gaps are looked for."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A process killed: when (seconds since 1970), the shards that it owned, the timers that it had under way."""

    at: float
    name: str
    shards: frozenset[int]
    under_way: frozenset[int]

    @property
    def what(self) -> str:
        """Which program."""
        return self.name.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Gap:
    """After a kill: the longest time in which one of the shards had no callback, and when all fired again, in seconds; and
    how many of what was under way arrived twice."""

    kill: Kill
    longest: float
    again: float
    twice: int

    def told(self, begin: float) -> str:
        """In words, with the time since `begin`."""
        kill = self.kill
        words = f"{kill.at - begin:.0f} s: {kill.name}, longest gap of a shard {self.longest:.2f} s"
        if kill.what == "bridge":
            return words
        return f"{words}, firing again after {self.again:.2f} s, {len(kill.under_way)} under way, {self.twice} twice"


def kill_interval(sizes: Sizes) -> float:
    """Seconds between kills, which is also what a process has to warm up: a short run has two kills at least."""
    return min(sizes.kill_every, sizes.soak_seconds / 2.5)


def kill_times(sizes: Sizes) -> list[float]:
    """Seconds after the first timer is due."""
    every = kill_interval(sizes)
    return [
        number * every
        for number in range(1, int(sizes.soak_seconds / every) + 1)
        if number * every < sizes.soak_seconds
    ]


def gap_after(cluster: Cluster, track: str, kill: Kill, repeated: AbstractSet[int]) -> Gap:
    """Of the killed executor's shards, or of all when it had none; the whole window where none fired in it.

    `repeated` are the numbers of the timers that arrived more than once.
    """
    by_shard: dict[int, list[float]] = {shard: [] for shard in (kill.shards or range(SHARDS))}
    for at, number in cluster.receiver.arrivals(track, kill.at - 1.0, kill.at + WINDOW):
        shard = shard_of(f"{track}-{number}", SHARDS)
        if shard in by_shard:
            by_shard[shard].append(at)
    silent = [(kill.at, kill.at + WINDOW)]
    gaps = [max(pairwise(arrived), key=_length) if len(arrived) > 1 else silent[0] for arrived in by_shard.values()]
    longest = max(map(_length, gaps))
    again = max(end - kill.at for _, end in gaps) if kill.shards else longest
    return Gap(kill, longest, again, len(kill.under_way & repeated))


def _length(gap: tuple[float, float]) -> float:
    return gap[1] - gap[0]


def of_gaps(gaps: Sequence[Gap]) -> Figures:
    """How many kills of which process, and how long it took."""
    by_name = Counter(gap.kill.name for gap in gaps)
    figures: Figures = {f"kills.{name}": count for name, count in sorted(by_name.items())}
    executors = [gap for gap in gaps if gap.kill.what == "executor"]
    bridges = [gap for gap in gaps if gap.kill.what == "bridge"]
    if executors:
        figures["firing_again_median_s"] = round(median(gap.again for gap in executors), 3)
        figures["firing_again_max_s"] = round(max(gap.again for gap in executors), 3)
        figures["longest_gap_of_a_shard_s"] = round(max(gap.longest for gap in executors), 3)
    if bridges:
        figures["longest_gap_of_a_shard_by_a_bridge_s"] = round(max(gap.longest for gap in bridges), 3)
    return figures
