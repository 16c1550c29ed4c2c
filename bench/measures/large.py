"""Ten minutes at a time: what grows, and what a transaction held open elsewhere does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench import firing, load, timers
from bench.charts import Lines
from bench.cluster import Cluster, Cost, GroupShape, Shape
from bench.database import Fill
from bench.lab import Lab, Outcome

SHARE = 0.7
"""Of the burst's rate."""

RETENTION = "1m"
"""So short that purge and vacuum are under way most of the time."""

AHEAD = 15.0
"""How many seconds before they are due timers are created."""

Put = Callable[[str, int, int], None]
"""Creates timers of a track: from this number, so many."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one time: seconds since the first was due, memory, what the database tells of its table."""

    at: float
    memory_mib: dict[str, float]
    table: dict[str, int]


def endurance(lab: Lab) -> Outcome:
    """A rate near the burst's, its rows written by the database, with a retention that keeps purge and vacuum busy."""
    cluster, sizes = lab.cluster(Shape(groups=(GroupShape(retention=RETENTION),)), fresh=True), lab.sizes
    burst = firing.fire(cluster, firing.at_once(sizes.burst), sizes.lead)
    rate = max(1, int(float(burst.figures.get("per_second", 0.0)) * SHARE))
    begin = datetime.now(UTC) + timedelta(seconds=_ahead(lab) + 1)
    step = timedelta(seconds=1) / rate

    def put(track: str, first: int, count: int) -> None:
        due = begin + first * step
        cluster.database.fill(
            Fill(track=track, count=count, first=first, due=due, step=step, url=cluster.receiver.url), lambda _: None
        )

    figures, chart, memory = _long(lab, cluster, begin, rate, put)
    return Outcome({"burst_per_second": burst.figures.get("per_second", 0.0), "rate": rate, **figures}, (chart, memory))


def held_open(lab: Lab) -> Outcome:
    """A steady load over REST, a tenth of the time alone, then with a transaction that has read and does not end."""
    cluster, sizes = lab.cluster(fresh=True), lab.sizes
    alone = firing.fire(cluster, firing.evenly(sizes.rate, sizes.long_seconds / 10), sizes.lead)
    begin = datetime.now(UTC) + timedelta(seconds=_ahead(lab) + 1)
    step = timedelta(seconds=1) / sizes.rate

    def put(track: str, first: int, count: int) -> None:
        dues = [begin + number * step for number in range(first, first + count)]
        load.send(cluster.bridge, timers.create_batches(track, dues, cluster.receiver.url, first=first), 2)

    with cluster.database.hold():
        figures, chart, memory = _long(lab, cluster, begin, sizes.rate, put)
    ratio = float(figures.get("late_p99_ms", 0.0)) / alone.p99() if alone.p99() else 0.0
    alone_figures = {f"alone.{name}": value for name, value in alone.figures.items()}
    return Outcome({**alone_figures, **figures, "p99_ratio": round(ratio, 2)}, (chart, memory))


def _long(
    lab: Lab, cluster: Cluster, begin: datetime, rate: int, put: Put
) -> tuple[dict[str, float | int | str], Lines, Lines]:
    track, count = timers.new_track(), int(rate * lab.sizes.long_seconds)
    cost = Cost(cluster)
    samples = _roll(lab, cluster, begin.timestamp(), rate, lambda first, some: put(track, first, some))
    firing.wait_for(cluster, track, count)
    spent = cost.per_thousand(count)
    seen = cluster.receiver.summary(track)
    lost = count - seen["callbacks"] + seen.get("duplicates", 0)
    length = lab.sizes.long_seconds / 10
    tenths = [p99 for _, some, _, p99 in cluster.receiver.series(track, length) if some > rate * length / 2]
    figures: dict[str, float | int | str] = {"expected": count, **seen, "lost": lost, **spent}
    figures |= {f"late_p99_ms.part_{place}": p99 for place, p99 in enumerate(tenths, 1)}
    for name in samples[0].memory_mib:
        figures |= {f"memory_mib.{name}.{when}": sample.memory_mib[name] for when, sample in _ends(samples)}
    for name in samples[0].table:
        figures |= {f"table.{name}.{when}": sample.table[name] for when, sample in _ends(samples)}
    series = cluster.receiver.series(track, max(1.0, lab.sizes.long_seconds / 120))
    late = [(at - begin.timestamp(), p99) for at, _, _, p99 in series]
    memory = {name: [(sample.at, sample.memory_mib[name]) for sample in samples] for name in samples[0].memory_mib}
    title = f"{rate:,} timers a second"
    return (
        figures,
        Lines(f"{title}: lateness p99", "seconds", "ms", {"p99": late}),
        Lines(f"{title}: memory", "seconds", "MiB", memory),
    )


def _ends(samples: list[Sample]) -> list[tuple[str, Sample]]:
    """The first sample is of a process that has just begun; what it has after a fifth of the time is where it should stay."""
    return [("early", samples[len(samples) // 5]), ("last", samples[-1])]


def _roll(lab: Lab, cluster: Cluster, begin: float, rate: int, put: Callable[[int, int], None]) -> list[Sample]:
    """Creates each second's timers some seconds before they are due, and looks at memory and table now and then."""
    ahead, seconds = _ahead(lab), lab.sizes.long_seconds
    samples: list[Sample] = []
    done, total = 0, int(rate * seconds)
    every = max(1.0, seconds / 60)
    while done < total:
        until = min(total, int((time.time() - begin + ahead) * rate))
        if until > done:
            put(done, until - done)
            done = until
        at = time.time() - begin
        if not samples or at >= samples[-1].at + every:
            samples.append(Sample(round(at, 1), cluster.memory_mib(), cluster.database.table()))
            if len(samples) % 6 == 0:
                lab.say(f"  {max(0.0, at):.0f} of {seconds:.0f} s")
        time.sleep(min(1.0, seconds / 10))
    return samples


def _ahead(lab: Lab) -> float:
    return min(AHEAD, lab.sizes.lead * 2)
