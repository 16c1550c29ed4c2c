"""Cost and lateness beside much: pending rows, a backlog, idle shards, more executors."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Self

from bench import firing, timers
from bench.bounds import ENGINE, SHARDS
from bench.charts import Bars, Lines
from bench.cluster import Cluster, Cost, GroupShape, Shape
from bench.database import Fill
from bench.lab import Kind, Lab, Outcome
from bench.postgresql import Postgresql
from bench.tracks import Figures
from tests.support.waiting import eventually_blocking

SETTLE_SECONDS = 70.0
"""Until sweeps are rare (decision 0084)."""

CLAIMED_WITHIN = 60.0
SAMPLE_EVERY = 0.02


def pending(lab: Lab) -> Outcome:
    """A steady load beside few and many pending timers of the far future."""
    return _beside_pending(lab, (lab.sizes.few, lab.sizes.many))


def pending_most(lab: Lab) -> Outcome:
    """The same with the most."""
    return _beside_pending(lab, (lab.sizes.few, lab.sizes.most))


def _beside_pending(lab: Lab, counts: tuple[int, ...]) -> Outcome:
    cluster, sizes = lab.cluster(fresh=True), lab.sizes
    firing.fire(cluster, firing.evenly(sizes.rate, sizes.steady_seconds / 4), sizes.lead)
    figures: dict[str, float | int | str] = {}
    track, there = timers.new_track(), 0
    lates, costs = {}, {}
    for count in counts:
        _fill_far(lab, cluster, track, there, count)
        there = count
        fired = firing.fire(cluster, firing.evenly(sizes.rate, sizes.steady_seconds), sizes.lead)
        figures |= {f"{count}/{name}": value for name, value in fired.figures.items()}
        figures[f"{count}/table_bytes"] = cluster.database.table()["bytes"]
        lates[f"{count:,}"] = fired.p99()
        costs[f"{count:,}"] = _cpu(fired.figures)
    few, many = costs.values()
    first, *_, last = lates.values()
    figures |= firing.ratio("cpu_ratio", many, few) | firing.ratio("late_p99_ratio", last, first)
    title = f"{sizes.rate:,} timers a second by pending rows"
    return Outcome(
        figures,
        (
            Bars(f"{title}: p99 of lateness", "ms", lates, "pending rows"),
            Bars(f"{title}: CPU of service and database", "seconds for 1,000 timers", costs, "pending rows"),
        ),
    )


def backlog(lab: Lab) -> Outcome:
    """A burst, then many due timers that wait when the executor starts: the rate over time, against the burst's."""
    cluster, sizes = lab.cluster(fresh=True), lab.sizes
    burst = firing.fire(cluster, firing.at_once(sizes.burst), sizes.lead)
    cluster.stop_executors()
    track = timers.new_track()
    begin = datetime.now(UTC) - timedelta(hours=1)
    fill(
        lab,
        cluster,
        Fill(track=track, count=sizes.many, due=begin, step=timedelta(microseconds=1), url=cluster.receiver.url),
    )
    cost = Cost(cluster)
    cluster.start_executors()
    firing.wait_for(cluster, track, sizes.many)
    spent = cost.per_thousand(sizes.many)
    arrived = [at for at, _ in cluster.receiver.arrivals(track)]
    rates = _rates_by_tenth(arrived)
    seen = firing.received(cluster, track, sizes.many)
    figures: dict[str, float | int | str] = {
        **{f"burst/{name}": value for name, value in burst.counts().items()},
        **{f"backlog/{name}": seen[name] for name in firing.COUNTS if name in seen},
        "burst_per_second": burst.figures.get("per_second", 0.0),
        "drained": seen["callbacks"] - seen.get("duplicates", 0),
        "drained_per_second": round(len(arrived) / max(1e-9, arrived[-1] - arrived[0])) if arrived else 0,
        "first_tenth_per_second": rates[0],
        "last_tenth_per_second": rates[-1],
        "slowest_tenth_per_second": min(rates),
        **spent,
    }
    burst_rate = float(figures["burst_per_second"])
    figures |= firing.ratio("slowest_tenth_of_burst", min(rates), burst_rate)
    series = cluster.receiver.series(track, 1.0)
    points = [(at - series[0][0], float(count)) for at, count, _, _ in series]
    lines = {"backlog": points, "burst": [(0.0, burst_rate), (points[-1][0], burst_rate)]} if points else {}
    return Outcome(figures, (Lines(f"{sizes.many:,} due timers drained", "seconds", "callbacks/s", lines),))


def idle(lab: Lab) -> Outcome:
    """Claimed shards without a timer: cores in use."""
    groups = tuple(GroupShape(f"idle-{number}") for number in range(lab.sizes.idle_groups))
    cluster = lab.cluster(Shape(groups=groups), fresh=True)
    eventually_blocking(lambda: _claimed(cluster) == len(groups) * SHARDS, CLAIMED_WITHIN)
    time.sleep(SETTLE_SECONDS if lab.sizes.whole else lab.sizes.idle_seconds)
    cost = Cost(cluster)
    time.sleep(lab.sizes.idle_seconds)
    cores = cost.cores()
    figures: Figures = {"claimed_shards": _claimed(cluster), **cores}
    servers = ["database"] if lab.kind is Kind.POSTGRESQL else []
    parts = [f"cores.{name}" for name in (*cluster.executors, *servers)]
    if all(part in cores for part in parts):
        figures[ENGINE] = round(sum(cores[part] for part in parts), 4)
    return Outcome(dict(figures))


def _claimed(cluster: Cluster) -> int:
    return sum(len(cluster.database.owners(group.name)) for group in cluster.shape.groups)


def executors(lab: Lab) -> Outcome:
    """A burst and a steady load by one, two and four executors, and what the database's connections wait for meanwhile."""
    figures: dict[str, float | int | str] = {}
    rates, lates = {}, {}
    for count in (1, 2, 4):
        lab.say(f"  {count} executors")
        cluster, sizes = lab.cluster(Shape(executors=count), fresh=True), lab.sizes
        with Sampling(cluster) as sampling:
            burst = firing.fire(cluster, firing.at_once(sizes.burst), sizes.lead)
        steady = firing.fire(cluster, firing.evenly(sizes.rate, sizes.steady_seconds / 2), sizes.lead)
        figures |= {f"{count}_burst/{name}": value for name, value in burst.figures.items()}
        figures |= {f"{count}_burst/database {name}": value for name, value in sampling.shares().items()}
        figures |= {f"{count}_steady/{name}": value for name, value in steady.figures.items()}
        rates[str(count)] = float(burst.figures.get("per_second", 0.0))
        lates[str(count)] = steady.p99()
    return Outcome(
        figures,
        (
            Bars("Burst by executors", "callbacks/s", rates, "executors"),
            Bars("Lateness p99 at a steady load by executors", "ms", lates, "executors"),
        ),
    )


class Sampling:
    """While entered, looks now and then at what the database's busy connections wait for."""

    def __init__(self, cluster: Cluster) -> None:
        self._url = cluster.store
        self._seen: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def shares(self) -> dict[str, float]:
        """By what is waited for: its share of all that was seen."""
        total = self._seen.total()
        return {name: round(count / total, 3) for name, count in self._seen.most_common(8)}

    def _watch(self) -> None:
        database = Postgresql(self._url)
        while not self._over.wait(SAMPLE_EVERY):
            self._seen.update(database.activity())
        database.close()


def fill(lab: Lab, cluster: Cluster, rows: Fill) -> None:
    """Writes rows by the database, says how it goes, and renews its statistics."""
    begun = time.monotonic()
    said = begun

    def wrote(count: int) -> None:
        nonlocal said
        if time.monotonic() > said + 10:
            said = time.monotonic()
            lab.say(f"  {count:,} of {rows.count:,} rows")

    cluster.database.fill(rows, wrote)
    cluster.database.analyze()
    lab.say(f"  {rows.count:,} rows written in {time.monotonic() - begun:.1f} s")


def _fill_far(lab: Lab, cluster: Cluster, track: str, there: int, count: int) -> None:
    step = timedelta(milliseconds=1)
    rows = Fill(
        track=track,
        count=count - there,
        first=there,
        due=timers.FAR + there * step,
        step=step,
        url=cluster.receiver.url,
    )
    fill(lab, cluster, rows)


def _cpu(figures: Figures) -> float:
    """CPU seconds for 1,000 timers of the service and its database."""
    measured = {name: value for name, value in figures.items() if name.startswith("cpu_s_per_1000.")}
    return sum(value for name, value in measured.items() if not name.endswith((".receiver", ".load")))


def _rates_by_tenth(arrived: list[float]) -> list[int]:
    """Callbacks a second of the first to the last tenth."""
    size = max(1, len(arrived) // 10)
    tenths = [arrived[begin : begin + size + 1] for begin in range(0, max(1, len(arrived) - size), size)]
    return [round((len(tenth) - 1) / max(1e-9, tenth[-1] - tenth[0])) for tenth in tenths if len(tenth) > 1] or [0]
