"""All measures, with the words that `python -m bench --list` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.lab import Kind, Lab, Outcome
from bench.measures import basics, costs, creating, growth, large, neighbours, soak

BOTH: Final = (Kind.POSTGRESQL, Kind.SQLITE)
SERVER: Final = (Kind.POSTGRESQL,)


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to measure: in which suite, on which stores."""

    name: str
    suite: str
    about: str
    run: Callable[[Lab], Outcome]
    kinds: tuple[Kind, ...] = BOTH


MEASURES: Final = (
    Measure("creates_single", "bench", "single creates over REST, 48 in flight", creating.singles),
    Measure("creates_batch", "bench", "creates by :batch, 500 each", creating.batches),
    Measure("cancels", "bench", "cancels by :cancel, 1,000 each", creating.cancels),
    Measure("burst", "bench", "20,000 timers due at one instant", basics.burst),
    Measure("steady", "bench", "1,000 timers a second for 20 s", basics.steady),
    Measure("kill", "bench", "kill -9 of one of two executors at 1,000 timers a second", basics.kill),
    Measure("costs", "bench", "metrics, logs, signing and tracing, each on against off", costs.costs),
    Measure("pending", "growth", "1,000/s beside 10 thousand and 1 million pending rows", growth.pending),
    Measure("backlog", "growth", "1 million due timers drained, against the burst", growth.backlog),
    Measure("executors", "growth", "one, two and four executors on one database", growth.executors, SERVER),
    Measure("idle", "growth", "200 groups of 16 idle shards: cores in use", growth.idle),
    Measure("dead_host", "neighbours", "100,000 due timers for a dead host in the group's own shards", neighbours.dead_host),
    Measure("slow_target", "neighbours", "10,000 due timers for a target that answers in 30 s", neighbours.slow_target),
    Measure("due_group", "neighbours", "another group with a million due timers", neighbours.due_group),
    Measure("creating_group", "neighbours", "5,000 single creates a second into another group", neighbours.creating_group),
    Measure("purging", "neighbours", "a million rows of another group purged", neighbours.purging),
    Measure("listing", "neighbours", "lists and redrives by filter over a million rows of another group", neighbours.listing),
    Measure("pending_most", "large", "1,000/s beside 10 thousand and 10 million pending rows", growth.pending_most),
    Measure("held_open", "large", "ten minutes at 1,000/s with a transaction held open elsewhere", large.held_open),
    Measure("endurance", "large", "ten minutes at 0.7 of the burst's rate", large.endurance),
    Measure("soak", "soak", "half an hour at 1,000/s, a process killed each minute: what grows", soak.soak, SERVER),
)  # fmt: skip

SUITES: Final = tuple(dict.fromkeys(measure.suite for measure in MEASURES))
