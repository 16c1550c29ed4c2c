"""Timers created over REST, awaited at the receiver, and what was seen of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench import load, timers
from bench.charts import Bars, Lines
from bench.cluster import Cluster, Cost
from bench.tracks import Figures

GIVE_UP = 60.0
"""Seconds without a new callback after which the rest counts as lost."""

POLL = 0.1
COUNTS = ("expected", "lost", "early", "duplicates")
_LEADS = 4


@dataclass(frozen=True, slots=True)
class Fired:
    """What came of a load: figures, and the track that the receiver has of it."""

    track: str
    figures: Figures
    begun: float
    """When the first was due, in seconds since 1970."""

    def p99(self) -> float:
        """Of the lateness, in ms."""
        return float(self.figures.get("late_p99_ms", float("nan")))

    def counts(self) -> Figures:
        """How many were expected, and what went wrong with how many."""
        return {name: self.figures[name] for name in COUNTS if name in self.figures}


def at_once(count: int) -> list[timedelta]:
    """All due at one instant."""
    return [timedelta(0)] * count


def evenly(rate: int, seconds: float) -> list[timedelta]:
    """So many a second."""
    step = timedelta(seconds=1) / rate
    return [number * step for number in range(int(rate * seconds))]


def fire(
    cluster: Cluster,
    after: Sequence[timedelta],
    lead: float,
    *,
    meanwhile: Callable[[float], None] = lambda _: None,
    group: str = timers.GROUP,
) -> Fired:
    """Creates timers that are due `after` an instant at least `lead` seconds away, and waits until all have arrived.

    `meanwhile` is called with that instant (seconds since 1970) once they are created.
    """
    track, first = _created(cluster, after, lead, group)
    cost = Cost(cluster)
    meanwhile(first.timestamp())
    time.sleep(max(0.0, (first + after[-1] - datetime.now(UTC)).total_seconds()))
    wait_for(cluster, track, len(after))
    spent = cost.per_thousand(len(after))
    return Fired(track, {**received(cluster, track, len(after)), **spent}, first.timestamp())


def received(cluster: Cluster, track: str, count: int) -> Figures:
    """What has arrived of so many timers, and how many have not."""
    seen = cluster.receiver.summary(track)
    return {"expected": count, **seen, "lost": count - seen["callbacks"] + seen.get("duplicates", 0)}


def ratio(name: str, of: float, to: float, digits: int = 3) -> dict[str, float]:
    """One figure: so much of so much; none where that is nothing."""
    return {name: round(of / to, digits)} if to > 0 else {}


def send(cluster: Cluster, requests: Sequence[bytes], connections: int) -> None:
    """Sends what must not be refused.

    Raises:
        RuntimeError: some of it was.
    """
    sent = load.send(cluster.bridge, requests, connections)
    if sent.refused:
        raise RuntimeError(f"{sent.refused} of {sent.requests} requests were refused")


def wait_for(cluster: Cluster, track: str, count: int) -> int:
    """Waits until so many have arrived, or none has for a long time, and says how many have."""
    seen, changed = cluster.receiver.count(track), time.monotonic()
    while seen < count and time.monotonic() < changed + GIVE_UP:
        time.sleep(POLL)
        now = cluster.receiver.count(track)
        if now != seen:
            seen, changed = now, time.monotonic()
    return seen


def _created(cluster: Cluster, after: Sequence[timedelta], lead: float, group: str) -> tuple[str, datetime]:
    """Tries again with more time, when creating took longer than the time until the first was due."""
    for doubled in range(_LEADS):
        track = timers.new_track()
        first = datetime.now(UTC) + timedelta(seconds=lead * 2**doubled)
        requests = timers.create_batches(track, [first + late for late in after], cluster.receiver.url, group=group)
        send(cluster, requests, 2)
        if datetime.now(UTC) < first:
            return track, first
        wait_for(cluster, track, len(after))
    raise RuntimeError("creating the timers takes longer than the time until the first is due")


def lateness_chart(title: str, figures: Figures) -> Bars:
    """The percentiles of lateness."""
    names = {"p50": "late_p50_ms", "p90": "late_p90_ms", "p99": "late_p99_ms", "p99.9": "late_p99.9_ms"}
    return Bars(title, "ms late", {label: figures[name] for label, name in names.items() if name in figures})


def rate_chart(cluster: Cluster, title: str, fired: Fired, step: float) -> Lines:
    """Callbacks a second over time."""
    series = cluster.receiver.series(fired.track, step)
    points = [(max(0.0, at - fired.begun), count / step) for at, count, _, _ in series]
    return Lines(title, "seconds after the first was due", "callbacks/s", {"callbacks": points})


def lateness_line(cluster: Cluster, fired: Fired, step: float = 1.0) -> list[tuple[float, float]]:
    """The p99 of lateness over time: seconds after the first was due, ms."""
    return [(max(0.0, at - fired.begun), p99) for at, _, _, p99 in cluster.receiver.series(fired.track, step)]
