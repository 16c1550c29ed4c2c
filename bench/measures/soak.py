"""A long run under kills: what grows, what is lost, and how long it takes to fire again.

Two bridges and two executors; a client that creates each timer a while before it is due, and asks again until it is
acknowledged; a retention so short that the table turns over many times; a process killed by SIGKILL at fixed times, chosen
by a seed, and started again at once.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from bench import firing, timers
from bench.bounds import FIRING_AGAIN
from bench.charts import Lines
from bench.cluster import Cluster, Cost, GroupShape, Shape
from bench.feed import Feed
from bench.kills import Gap, Kill, gap_after, kill_interval, kill_times, of_gaps
from bench.lab import Figures, Lab, Outcome
from bench.postgresql import Postgresql
from bench.trends import Allowance, Peak, Point, Trend, peak, trend
from bench.vitals import Kind, Lives, Vitals, lines

AHEAD: Final = 15.0
"""How many seconds before they are due timers are created."""

LONGEST_RETENTION: Final = 60
SAMPLE_EVERY: Final = 2.0
TICK: Final = 0.1
MINUTE: Final = 60.0

VACUUMS: Final = 240.0
"""Seconds in which the database looks four times for what to vacuum: tables are not judged by less."""

ALLOWED: Final = {
    Kind.MEMORY: Allowance(0.05, 4.0),
    Kind.CPU: Allowance(0.25, 0.05),
    Kind.DESCRIPTORS: Allowance(0.05, 3.0),
    Kind.THREADS: Allowance(0.0, 1.0),
    Kind.TABLES: Allowance(0.10, 2.0, VACUUMS),
    Kind.ROWS: Allowance(0.10, 5_000.0, VACUUMS),
}
"""What each may grow by over the second half of the run."""

POOLS: Final = {Kind.CALLBACKS: 110.0, Kind.CONNECTIONS: 11.0}
"""What a process may have of each at most: 100 requests under way to one target, and a tenth more for connections that are
opened while another falls free; 10 connections to the database, and one for wake-ups."""

ALLOWED_LATENESS: Final = Allowance(0.25, 1.0)


def soak(lab: Lab) -> Outcome:
    """A steady load, a kill now and then, and a judgement of all that was sampled."""
    sizes = lab.sizes
    retention = max(1, min(LONGEST_RETENTION, round(sizes.soak_seconds / 10)))
    shape = Shape(executors=2, bridges=2, groups=(GroupShape(retention=f"{retention}s"),))
    run = Run(lab, lab.cluster(shape, fresh=True))
    with contextlib.closing(run):
        run.go()
        return run.outcome()


class Run:
    """One soak. `go` blocks until the last timer has arrived or is given up."""

    def __init__(self, lab: Lab, cluster: Cluster) -> None:
        self._lab = lab
        self._cluster = cluster
        self._sizes = lab.sizes
        self._track = timers.new_track()
        self._count = max(1, int(self._sizes.rate * self._sizes.soak_seconds))
        self._feed = Feed(cluster.bridges, cluster.receiver.url, self._track)
        self._ahead = min(AHEAD, self._sizes.lead * 2)
        self._first = datetime.now(UTC) + timedelta(seconds=self._ahead + 1)
        self._begin = self._first.timestamp()
        self._vitals = Vitals(cluster, self._begin)
        self._database = Postgresql(cluster.store)
        self._kills: list[Kill] = []
        self._cost = Cost(cluster)

    def go(self) -> None:
        chosen = iter(kill_times(self._sizes))
        victims = random.Random(self._sizes.seed)
        names = list(self._cluster.services)
        following, sampled = next(chosen, None), -self._ahead
        while (at := time.time() - self._begin) < self._sizes.soak_seconds:
            self._create(at)
            if at >= sampled + SAMPLE_EVERY:
                sampled = at
                self._vitals.sample()
            if following is not None and at >= following:
                self._strike(victims.choice(names))
                following = next(chosen, None)
            time.sleep(TICK)
        self._create(self._sizes.soak_seconds)
        firing.wait_for(self._cluster, self._track, self._count)
        for service in self._cluster.services.values():
            service.wait_ready()

    def outcome(self) -> Outcome:
        """Figures, charts, and what was missed."""
        seen = self._cluster.receiver.summary(self._track)
        lost = self._feed.acknowledged - seen["callbacks"] + seen.get("duplicates", 0)
        repeats = [number for _, number in self._cluster.receiver.repeats(self._track)]
        under_way = {number for kill in self._kills for number in kill.under_way}
        ends = [*(kill.at for kill in self._kills), self._begin + self._sizes.soak_seconds][1:]
        gaps = [
            gap_after(self._cluster, self._track, kill, set(repeats), end)
            for kill, end in zip(self._kills, ends, strict=True)
        ]
        trends = self._trends()
        figures: Figures = {
            "expected": self._feed.acknowledged,
            **seen,
            "lost": lost,
            "under_way_at_kills": len(under_way),
            "duplicates_unexplained": sum(number not in under_way for number in repeats),
            "creates_repeated": self._feed.repeated,
            "create_slowest_s": round(self._feed.slowest, 3),
            "vacuums": self._vitals.vacuums,
            **self._cost.per_thousand(self._feed.acknowledged),
            **of_gaps(gaps),
            **{f"kill_{place:02}": gap.told(self._begin) for place, gap in enumerate(gaps, 1)},
            **_of_trends(trends),
        }
        return Outcome(figures, self._charts(gaps), tuple(missed(figures, gaps, trends)))

    def close(self) -> None:
        self._feed.close()
        self._vitals.close()
        self._database.close()

    def _create(self, at: float) -> None:
        """Creates what is due up to `ahead` seconds from then."""
        done = self._feed.acknowledged
        until = min(self._count, int((at + self._ahead) * self._sizes.rate))
        step = timedelta(seconds=1) / self._sizes.rate
        if until > done:
            self._feed.put(done, [self._first + number * step for number in range(done, until)])

    def _strike(self, name: str) -> None:
        owners = self._database.owners(timers.GROUP)
        shards = {shard for shard, owner in owners.items() if owner == name}
        at = time.time()
        self._cluster.kill(name)
        under_way = {int(timer_id.rpartition("-")[2]) for timer_id in self._database.running(name)}
        self._cluster.services[name].start()
        self._kills.append(Kill(at, name, frozenset(shards), frozenset(under_way)))
        self._lab.say(
            f"  {at - self._begin:6.0f} s: killed {name}, which had {len(shards)} shards and {len(under_way)} timers under way"
        )

    def _trends(self) -> dict[str, Trend | Peak]:
        found: dict[str, Trend | Peak] = {}
        for kind, series in self._vitals.series.items():
            for name, lives in series.items():
                pool = POOLS.get(kind)
                words = f"{name}: {kind.value}"
                found[words] = self._trend(lives, ALLOWED[kind]) if pool is None else peak(lives, pool)
        p50 = [[(at, late) for at, _, late, _ in self._seconds()]]
        return {**found, "lateness p50: ms": self._trend(p50, ALLOWED_LATENESS)}

    def _trend(self, lives: Lives, allowed: Allowance) -> Trend:
        """Judged until the last timers are created: bridges rest from then on."""
        return trend(lives, self._sizes.soak_seconds - self._ahead, kill_interval(self._sizes), allowed)

    def _seconds(self) -> list[tuple[float, int, float, float]]:
        """By the second: seconds since the first was due, callbacks, p50 and p99 of their lateness in ms."""
        series = self._cluster.receiver.series(self._track, 1.0)[1:-1]
        return [(at - self._begin, count, p50, p99) for at, count, p50, p99 in series]

    def _charts(self, gaps: Sequence[Gap]) -> tuple[Lines, ...]:
        seconds = self._seconds()
        rates = [(at / MINUTE, float(count)) for at, count, _, _ in seconds]
        p99 = [(at / MINUTE, late) for at, _, _, late in seconds]
        p50 = [(at / MINUTE, late) for at, _, late, _ in seconds]
        after: dict[str, list[Point]] = {"executor": [], "bridge": []}
        for gap in gaps:
            after[gap.kill.what].append(((gap.kill.at - self._begin) / MINUTE, gap.longest))
        title = f"{self._sizes.rate:,} timers a second"
        charts = [
            Lines(f"{title}: callbacks", "minutes", "a second", {"callbacks": rates}),
            Lines(f"{title}: lateness by the second", "minutes", "ms", {"p99": p99, "p50": p50}, logarithmic=True),
            Lines(
                "Longest gap of a shard after each kill",
                "minutes",
                "seconds",
                after,
                dots=True,
            ),
        ]
        for kind, words in WORDS.items():
            series = lines(self._vitals.series[kind], 1 / MINUTE)
            database = {"database": series.pop("database")} if kind is Kind.MEMORY and "database" in series else {}
            charts.append(Lines(words, "minutes", kind.value, series))
            charts.append(Lines(f"{words} of the database", "minutes", kind.value, database))
        marks = tuple((kill.at - self._begin) / MINUTE for kill in self._kills)
        span = (-self._ahead / MINUTE, self._sizes.soak_seconds / MINUTE)
        return tuple(replace(chart, mark="kill -9", marks=marks, span=span) for chart in charts if chart.lines)


WORDS: Final = {
    Kind.MEMORY: "Memory",
    Kind.CPU: "CPU",
    Kind.DESCRIPTORS: "Open file descriptors, connections to the target not counted",
    Kind.CALLBACKS: "Connections to the target",
    Kind.THREADS: "Threads",
    Kind.CONNECTIONS: "Database connections",
    Kind.TABLES: "Tables and indexes",
    Kind.ROWS: "Rows of the table of timers",
}


def _of_trends(trends: Mapping[str, Trend | Peak]) -> Figures:
    figures: Figures = {"not_judged": sum(isinstance(one, Trend) and one.growth is None for one in trends.values())}
    return figures | {f"growth of {name}": str(one) for name, one in trends.items()}


def missed(figures: Figures, gaps: Sequence[Gap], trends: Mapping[str, Trend | Peak]) -> list[str]:
    """What must not be: something lost, early, or twice though nobody died over it; a long outage; growth."""
    found = [f"{name}: {figures[name]}" for name in ("lost", "early", "duplicates_unexplained") if figures.get(name)]
    slow = [gap for gap in gaps if gap.again > FIRING_AGAIN]
    found += [f"{gap.kill.name} killed: firing again after {gap.again:.2f} s" for gap in slow]
    blind = [gap.kill for gap in gaps if gap.kill.what == "executor" and not gap.kill.shards]
    found += [f"{kill.name} killed: it owned no shard, so nothing was seen" for kill in blind]
    return found + [f"growth of {name}: {one}" for name, one in trends.items() if one.grows]
