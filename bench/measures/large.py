"""Ten minutes at a time: what grows, and what a transaction held open elsewhere does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench import firing, timers
from bench.charts import Lines
from bench.cluster import Cluster, Cost, GroupShape, Shape
from bench.database import Fill
from bench.lab import Lab, Outcome
from bench.measures.soak import ALLOWED, ALLOWED_LATENESS
from bench.trends import Allowance, Point, Trend, trend
from bench.vitals import Kind

SHARE = 0.7
"""Of the burst's rate."""

EARLY = 0.2
"""The share of the time after which nothing should grow."""

RETENTION = "1m"
"""So short that purge and vacuum are under way most of the time."""

AHEAD = 15.0
"""How many seconds before they are due timers are created."""

Put = Callable[[str, int, Sequence[datetime]], None]
"""Creates timers of a track, numbered from the second argument on, in the order of when they are due."""

Found = dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one time: seconds since the first was created, memory, what the database tells of its table."""

    at: float
    memory_mib: dict[str, float]
    table: dict[str, int]


@dataclass(frozen=True, slots=True)
class Long:
    """What came of a load that goes on for long."""

    figures: Found
    charts: tuple[Lines, Lines]
    trends: Mapping[str, Trend]
    """Of memory by process, and of lateness, after the first fifth of the time."""

    def p99(self) -> float:
        """Of the lateness, in ms."""
        return float(self.figures.get("late_p99_ms", float("nan")))


def endurance(lab: Lab) -> Outcome:
    """A rate near the burst's, its rows written by the database, with a retention that keeps purge and vacuum busy."""
    cluster, sizes = lab.cluster(Shape(groups=(GroupShape(retention=RETENTION),)), fresh=True), lab.sizes
    burst = firing.fire(cluster, firing.at_once(sizes.burst), sizes.lead)
    per_second = burst.figures.get("per_second", 0.0)
    rate = max(1, int(per_second * SHARE))

    def put(track: str, first: int, dues: Sequence[datetime]) -> None:
        step = timedelta(seconds=1) / rate
        cluster.database.fill(
            Fill(track=track, count=len(dues), first=first, due=dues[0], step=step, url=cluster.receiver.url)
        )

    long = _long(lab, cluster, rate, sizes.long_seconds, put)
    figures: Found = {f"burst/{name}": value for name, value in burst.counts().items()}
    figures |= {"burst_per_second": per_second, "rate": rate}
    figures |= {f"long/{name}": value for name, value in long.figures.items()}
    figures |= {f"growth of {name}": str(found) for name, found in long.trends.items()}
    return Outcome(figures, long.charts, tuple(grown(long.trends)) if sizes.whole else ())


def grown(trends: Mapping[str, Trend]) -> list[str]:
    """What grows by more than is allowed, and what cannot be judged, in words."""
    return [f"growth of {name}: {found}" for name, found in trends.items() if found.grows or found.growth is None]


def held_open(lab: Lab) -> Outcome:
    """A steady load over REST, a tenth of the time alone, then with a transaction that has read and does not end."""
    cluster, sizes = lab.cluster(fresh=True), lab.sizes

    def put(track: str, first: int, dues: Sequence[datetime]) -> None:
        firing.send(cluster, timers.create_batches(track, dues, cluster.receiver.url, first=first), 2)

    lab.say("  alone")
    alone = _long(lab, cluster, sizes.rate, sizes.long_seconds / 10, put)
    lab.say("  with the transaction")
    with cluster.database.hold():
        held = _long(lab, cluster, sizes.rate, sizes.long_seconds, put)
    figures: Found = {f"alone/{name}": value for name, value in alone.figures.items()}
    figures |= {f"held/{name}": value for name, value in held.figures.items()}
    return Outcome({**figures, **firing.ratio("p99_ratio", held.p99(), alone.p99(), 2)}, held.charts)


def _long(lab: Lab, cluster: Cluster, rate: int, seconds: float, put: Put) -> Long:
    track, count = timers.new_track(), int(rate * seconds)
    ahead = min(AHEAD, lab.sizes.lead * 2)
    begin = datetime.now(UTC) + timedelta(seconds=ahead + min(1.0, ahead))
    step = timedelta(seconds=1) / rate

    def put_until(done: int, until: int) -> None:
        put(track, done, [begin + number * step for number in range(done, until)])

    cost = Cost(cluster)
    samples = _roll(lab, cluster, begin.timestamp() - ahead, rate, seconds, put_until)
    firing.wait_for(cluster, track, count)
    figures: Found = {**cost.per_thousand(count)}
    figures |= _seen(cluster, track, count, seconds / 10, rate) | _grown(samples)
    series = cluster.receiver.series(track, max(1.0, seconds / 120))
    late = [(max(0.0, at - begin.timestamp()), p99) for at, _, _, p99 in series]
    p50 = [(max(0.0, at - begin.timestamp()), late_p50) for at, _, late_p50, _ in series]
    memory = {name: [(sample.at, sample.memory_mib[name]) for sample in samples] for name in samples[0].memory_mib}
    title = f"{rate:,} timers a second"
    lines = (
        Lines(f"{title}: lateness p99", "seconds", "ms", {"p99": late}),
        Lines(f"{title}: memory", "seconds", "MiB", memory),
    )
    trends = {
        f"memory of {name}: MiB": judged(points, seconds, ALLOWED[Kind.MEMORY]) for name, points in memory.items()
    }
    for name, points in {"p50": p50, "p99": late}.items():
        trends[f"lateness {name}: ms"] = judged(points[1:-1], seconds, ALLOWED_LATENESS)
    return Long(figures, lines, trends)


def judged(points: Sequence[Point], seconds: float, allowed: Allowance) -> Trend:
    """Judges a series over what follows the first `EARLY` of the time, as `trend` does over the second half of a run."""
    warm_up = seconds * EARLY
    rest = seconds - warm_up
    return trend([[(at - warm_up + rest, value) for at, value in points if at >= warm_up]], 2 * rest, 0.0, allowed)


def _seen(cluster: Cluster, track: str, count: int, part: float, rate: int) -> Found:
    """Figures of all, and the p99 of each part of the time; the last one may be cut short and is left out then."""
    seen = firing.received(cluster, track, count)
    parts = [p99 for _, some, _, p99 in cluster.receiver.series(track, part) if some > rate * part / 2]
    return {**seen, **{f"late_p99_ms.part_{place}": p99 for place, p99 in enumerate(parts, 1)}}


def _grown(samples: Sequence[Sample]) -> Found:
    """Memory and table early and last: where processes are after `EARLY` of the time is where they should stay."""
    found: Found = {}
    for when, sample in (("early", samples[int(len(samples) * EARLY)]), ("last", samples[-1])):
        found |= {f"memory_mib.{name}.{when}": mib for name, mib in sample.memory_mib.items()}
        found |= {f"table.{name}.{when}": value for name, value in sample.table.items()}
    return found


def _roll(
    lab: Lab, cluster: Cluster, begin: float, rate: int, seconds: float, put: Callable[[int, int], None]
) -> list[Sample]:
    """Creates, from `begin` on, each second's timers in that second, and looks at memory and table now and then."""
    samples: list[Sample] = []
    done, total, every = 0, int(rate * seconds), max(1.0, seconds / 60)
    while done < total:
        at = time.time() - begin
        until = min(total, int(at * rate))
        if until > done:
            put(done, until)
            done = until
        if not samples or at >= samples[-1].at + every:
            samples.append(Sample(round(at, 1), cluster.memory_mib(), cluster.database.table()))
            if len(samples) % 6 == 0:
                lab.say(f"  {at:.0f} of {seconds:.0f} s")
        time.sleep(min(1.0, seconds / 10))
    return samples
