"""Creates and cancels over REST."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice

from bench import firing, load, timers, tools
from bench.cluster import Cluster, Cost
from bench.database import State
from bench.lab import Lab, Outcome
from bench.load import Load

BATCH_CONNECTIONS = 4


def singles(lab: Lab) -> Outcome:
    """Single creates by wrk or oha, or by the own generator where neither is installed."""
    cluster = lab.cluster()
    tool, sizes = tools.installed(), lab.sizes
    there = cluster.database.count(timers.GROUP, State.PENDING)
    cost = Cost(cluster)
    if tool is None:
        requests = list(islice(timers.creates(timers.new_track(), cluster.receiver.url), sizes.singles))
        cost = Cost(cluster)
        done = load.send(cluster.bridge, requests, sizes.connections)
    else:
        done = tools.creates(
            tool, cluster.bridge, cluster.receiver.url, timers.GROUP,
            connections=sizes.connections, seconds=sizes.wrk_seconds,
        )  # fmt: skip
    spent = cost.per_thousand(done.requests)
    accepted = done.requests - done.refused
    missing = max(0, accepted - (cluster.database.count(timers.GROUP, State.PENDING) - there))
    figures = _figures("creates", done, accepted - missing)
    return Outcome({"generator": tool or "own", **figures, "missing": missing, **spent})


def batches(lab: Lab) -> Outcome:
    """Creates by `:batch`."""
    cluster, sizes = lab.cluster(), lab.sizes
    track = timers.new_track()
    requests = timers.create_batches(track, [timers.FAR] * sizes.batched, cluster.receiver.url)
    cost = Cost(cluster)
    done = load.send(cluster.bridge, requests, BATCH_CONNECTIONS)
    spent = cost.per_thousand(sizes.batched)
    made = cluster.database.count(timers.GROUP, State.PENDING, track)
    figures = _figures("creates", done, made)
    return Outcome({"batch": timers.BATCH, **figures, "missing": sizes.batched - made, **spent})


def cancels(lab: Lab) -> Outcome:
    """Cancels by `:cancel` of timers created just before."""
    cluster, sizes = lab.cluster(), lab.sizes
    track = _prepared(cluster, sizes.cancelled)
    requests = timers.cancels(track, sizes.cancelled)
    there = cluster.database.count(timers.GROUP, State.PENDING, track)
    cost = Cost(cluster)
    done = load.send(cluster.bridge, requests, BATCH_CONNECTIONS)
    spent = cost.per_thousand(sizes.cancelled)
    gone = there - cluster.database.count(timers.GROUP, State.PENDING, track)
    return Outcome({**_figures("cancels", done, gone), "left": sizes.cancelled - gone, **spent})


def _prepared(cluster: Cluster, count: int) -> str:
    track = timers.new_track()
    firing.send(cluster, timers.create_batches(track, [timers.FAR] * count, cluster.receiver.url), BATCH_CONNECTIONS)
    return track


def _figures(what: str, done: Load, rows: int) -> dict[str, float | int | str]:
    """`per_second` of a load counts requests, whatever was answered; here it is rows that were created or cancelled."""
    requests = {f"request_{name}": value for name, value in asdict(done).items() if name != "per_second"}
    return {f"{what}_per_second": round(done.per_second * rows / max(1, done.requests)), **requests}
