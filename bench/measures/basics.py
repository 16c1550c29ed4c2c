"""The main figures: a burst, a steady load, a crash."""

from __future__ import annotations

import time

from bench import firing, timers
from bench.charts import Lines
from bench.cluster import Cluster, Shape
from bench.firing import Fired
from bench.kills import by_shard, outage
from bench.lab import Kind, Lab, Outcome
from tests.support.waiting import eventually_blocking

KILL_AFTER = 0.4
"""The share of a steady load's time after which an executor is killed."""

CLAIMED_WITHIN = 60.0


def burst(lab: Lab) -> Outcome:
    """Timers due at one instant."""
    cluster = lab.cluster()
    fired = firing.fire(cluster, firing.at_once(lab.sizes.burst), lab.sizes.lead)
    title = f"Burst of {lab.sizes.burst:,} timers due at one instant"
    return Outcome(dict(fired.figures), (firing.rate_chart(cluster, title, fired, 0.1),))


def steady(lab: Lab) -> Outcome:
    """So many timers a second, evenly."""
    cluster, sizes = lab.cluster(), lab.sizes
    fired = firing.fire(cluster, firing.evenly(sizes.rate, sizes.steady_seconds), sizes.lead)
    title = f"{sizes.rate:,} timers a second: lateness"
    over_time = Lines(f"{title} over time", "seconds", "ms", {"p99": firing.lateness_line(cluster, fired)})
    return Outcome(dict(fired.figures), (firing.lateness_chart(title, fired.figures), over_time))


def kill(lab: Lab) -> Outcome:
    """One of two executors killed under a steady load; where only one process can be, that one, and started again."""
    lone = lab.kind is Kind.SQLITE
    cluster, sizes = lab.cluster(Shape(executors=1 if lone else 2), fresh=True), lab.sizes
    victim = cluster.executors[-1]
    eventually_blocking(lambda: victim in cluster.database.owners(timers.GROUP).values(), CLAIMED_WITHIN)
    killed: list[float] = []
    shards: list[int] = []

    def strike(first_due: float) -> None:
        time.sleep(max(0.0, first_due + sizes.steady_seconds * KILL_AFTER - time.time()))
        shards.extend(shard for shard, owner in cluster.database.owners(timers.GROUP).items() if owner == victim)
        killed.append(time.time())
        cluster.kill(victim)
        if lone:
            cluster.services[victim].start()

    fired = firing.fire(cluster, firing.evenly(sizes.rate, sizes.steady_seconds), sizes.lead, meanwhile=strike)
    noticed = _outage(cluster, fired, set(shards), killed[0], fired.begun + sizes.steady_seconds)
    chart = firing.rate_chart(cluster, "Callbacks while an executor is killed", fired, 0.1)
    if not lone:
        cluster.services[victim].start()
    cluster.services[victim].wait_ready()
    return Outcome({**fired.figures, "killed_at_s": round(killed[0] - fired.begun, 2), **noticed}, (chart,))


def _outage(cluster: Cluster, fired: Fired, shards: set[int], killed: float, until: float) -> dict[str, float]:
    """Of the killed executor's shards: how many, the longest time without a callback, and how long until they fired again."""
    longest, again = outage(by_shard(fired.track, cluster.receiver.arrivals(fired.track), shards), killed, until)
    return {
        "shards_lost": len(shards),
        "longest_gap_of_a_shard_s": round(longest, 3),
        "firing_again_after_s": round(again, 3),
    }
