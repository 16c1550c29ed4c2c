"""Processes killed now and then: when, and what it did to the shards that they had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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

SILENT: Final = 1.0
"""Seconds without a callback that are an outage of a shard; a hand-over takes less."""


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


def gap_after(cluster: Cluster, track: str, kill: Kill, repeated: AbstractSet[int], until: float) -> Gap:
    """Of the killed executor's shards, or of all when it had none, up to `WINDOW` seconds after the kill, or to `until`
    (seconds since 1970) where that is sooner: callbacks were due all the time until then.

    `repeated` are the numbers of the timers that arrived more than once.
    """
    end = min(kill.at + WINDOW, until)
    arrived = cluster.receiver.arrivals(track, kill.at, end)
    longest, again = outage(by_shard(track, arrived, kill.shards or range(SHARDS)), kill.at, end)
    return Gap(kill, longest, again if kill.shards else longest, len(kill.under_way & repeated))


def by_shard(track: str, arrivals: Iterable[tuple[float, int]], shards: Iterable[int]) -> dict[int, list[float]]:
    """When callbacks of each of the shards arrived, none of others."""
    found: dict[int, list[float]] = {shard: [] for shard in shards}
    for at, number in arrivals:
        shard = shard_of(f"{track}-{number}", SHARDS)
        if shard in found:
            found[shard].append(at)
    return found


def outage(arrived: Mapping[int, Sequence[float]], begin: float, end: float) -> tuple[float, float]:
    """The longest time from `begin` on in which one of the shards had no callback, though some were due until `end`; and
    how long after `begin` the last such time of more than `SILENT` seconds ended (the longest itself, where it is shorter).

    Raises:
        ValueError: there is no shard, so nothing can be seen.
    """
    if not arrived:
        raise ValueError("the killed process owned no shard, so nothing is seen of its outage")
    gaps: list[tuple[float, float]] = []
    for times in arrived.values():
        later = [begin, *(at for at in times if at > begin)]
        gaps += pairwise(later if later[-1] >= end else [*later, end])
    longest = max(map(_length, gaps))
    return longest, max((gap[1] - begin for gap in gaps if _length(gap) > SILENT), default=longest)


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
