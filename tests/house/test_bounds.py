"""What the order bounds can be missed: planted figures are told, measure by measure, and so is what is absent."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench import bounds
from bench.bounds import Bound
from bench.kills import by_shard, outage
from bench.lab import Figures, Kind, Outcome
from bench.measures.large import grown, judged
from bench.registry import MEASURES
from bench.sizes import Sizes
from bench.trends import Allowance, Trend
from durable_timer.planning.sharding import shard_of

ALONE_AND_BESIDE: Figures = {
    f"{case}/{name}": 0 for case in ("alone", "beside") for name in ("lost", "early", "duplicates")
}
NEIGHBOUR: Figures = {**ALONE_AND_BESIDE, "p99_ratio": 2.0}
PENDING: Figures = {**ALONE_AND_BESIDE, "cpu_ratio": 1.2, "late_p99_ratio": 1.2}

GOOD: Mapping[str, Figures] = {
    "creates_single": {"request_refused": 0, "missing": 0},
    "creates_batch": {"request_refused": 0, "missing": 0},
    "cancels": {"request_refused": 0, "left": 0, "cancels_per_second": 10_000},
    "kill": {"lost": 0, "early": 0, "duplicates": 7, "shards_lost": 8, "firing_again_after_s": 3.0},
    "pending": PENDING,
    "pending_most": PENDING,
    "backlog": {"backlog/lost": 0, "drained": 1_000_000, "slowest_tenth_of_burst": 0.8},
    "idle": {"claimed_shards": 3200, "cores.executor_and_database": 0.049},
    "dead_host": {**NEIGHBOUR, "tried": 300, "still_pending": 99_000},
    "slow_target": {**NEIGHBOUR, "begun": 100},
    "due_group": {**NEIGHBOUR, "others_delivered": 200_000, "others_still_due": 800_000},
    "creating_group": {**NEIGHBOUR, "creates_per_second": 4_990.0, "creates_refused": 0},
    "purging": {**NEIGHBOUR, "purged": 500_000, "left_to_purge": 400_000},
    "listing": {**NEIGHBOUR, "listed": 200_000, "redriven": 200_000},
    "held_open": {"alone/lost": 0, "held/lost": 0, "p99_ratio": 2.0},
}
"""Just good enough."""

BAD: list[tuple[str, str, float | str]] = [
    ("creates_single", "missing", 1),
    ("creates_single", "request_refused", 1),
    ("creates_batch", "missing", 1),
    ("creates_batch", "request_refused", 1),
    ("cancels", "left", 1),
    ("cancels", "request_refused", 1),
    ("cancels", "cancels_per_second", 9_999),
    ("kill", "firing_again_after_s", 3.01),
    ("kill", "shards_lost", 0),
    ("kill", "lost", 1),
    ("pending", "cpu_ratio", 1.21),
    ("pending", "late_p99_ratio", 1.21),
    ("pending", "alone/lost", 1),
    ("pending_most", "late_p99_ratio", 50.0),
    ("backlog", "drained", 500_000),
    ("backlog", "slowest_tenth_of_burst", 0.79),
    ("backlog", "backlog/lost", 1),
    ("idle", "cores.executor_and_database", 0.05),
    ("idle", "claimed_shards", 3199),
    ("dead_host", "p99_ratio", 2.01),
    ("dead_host", "tried", 0),
    ("slow_target", "begun", 0),
    ("due_group", "others_still_due", 0),
    ("due_group", "others_delivered", 0),
    ("creating_group", "creates_per_second", 4_000.0),
    ("creating_group", "creates_refused", 1),
    ("purging", "purged", 0),
    ("purging", "left_to_purge", 0),
    ("listing", "redriven", 0),
    ("listing", "beside/duplicates", 1),
    ("listing", "p99_ratio", math.nan),
    ("held_open", "p99_ratio", 2.01),
    ("held_open", "p99_ratio", "no number"),
]


def told(measure: str, figures: Figures, sizes: Sizes | None = None, kind: Kind = Kind.POSTGRESQL) -> list[str]:
    return [words.split(":")[0] for words in bounds.missed(measure, figures, sizes or Sizes(), kind)]


@pytest.mark.parametrize("measure", GOOD)
def test_what_is_just_good_enough_misses_nothing(measure: str) -> None:
    assert told(measure, GOOD[measure]) == []
    assert measure in {found.name for found in MEASURES}


@pytest.mark.parametrize(("measure", "name", "figure"), BAD, ids=str)
def test_what_is_not_good_enough_is_missed(measure: str, name: str, figure: float | str) -> None:
    assert told(measure, {**GOOD[measure], name: figure}) == [name]


@pytest.mark.parametrize("measure", GOOD)
def test_an_absent_figure_is_missed(measure: str) -> None:
    assert told(measure, {}) == list(bounds.bounds(measure, Sizes(), Kind.POSTGRESQL)) != []


def test_only_the_order_s_sizes_are_bounded_and_faults_always() -> None:
    small = Sizes().scaled(0.5)
    for sizes in (small, replace(Sizes(), rate=999)):
        assert told("backlog", {"backlog/lost": 1, "slowest_tenth_of_burst": 0.1}, sizes) == ["backlog/lost"]
    assert told("steady", {"early": 1, "lost": 0, "duplicates": 2}, small) == ["early", "duplicates"]
    outcome = bounds.judged("held_open", Outcome({"p99_ratio": 9.0}), small, Kind.POSTGRESQL)
    assert (outcome.figures["bounds"], outcome.missed) == ("not applied at this size", ())
    whole = bounds.judged("held_open", Outcome({"p99_ratio": 9.0}, missed=("own",)), Sizes(), Kind.POSTGRESQL)
    assert whole.figures["bounds"] == "p99_ratio at most 2"
    assert whole.missed == ("p99_ratio: 9.0, not at most 2", "own")
    assert bounds.judged("costs", Outcome({"one": 1}), small, Kind.SQLITE).figures == {"one": 1}


def test_what_is_asked_of_two_processes_is_not_asked_of_one() -> None:
    slow: Figures = {"request_refused": 0, "left": 0, "cancels_per_second": 1}
    assert told("cancels", slow, kind=Kind.SQLITE) == []
    assert told("cancels", slow) == ["cancels_per_second"]


def test_a_bound_says_what_it_asks() -> None:
    assert [str(bound) for bound in (Bound(least=0.8), Bound(most=0), Bound(below=0.05))] == [
        "at least 0.8",
        "at most 0",
        "below 0.05",
    ]


def test_ten_minutes_are_judged_from_a_fifth_on() -> None:
    allowed = Allowance(0.05, 4.0)

    def series(first: float, then: float) -> Trend:
        return judged([(float(at), 100 + first * min(at, 120) + then * at) for at in range(0, 600, 10)], 600, allowed)

    assert not series(1.0, 0.0).grows
    leaks = series(0.0, 0.05)
    assert leaks.growth == pytest.approx(0.05 * 480)
    assert leaks.grows
    unseen = judged([(0.0, 1.0)], 600, allowed)
    assert [words.split(":")[0] for words in grown({"a": leaks, "b": series(1.0, 0.0), "c": unseen})] == [
        "growth of a",
        "growth of c",
    ]


KILLED = 100.0


def often(begin: float, end: float) -> list[float]:
    return [begin + step / 50 for step in range(int((end - begin) * 50))]


def test_a_shard_that_is_silent_until_the_end_is_an_outage() -> None:
    longest, again = outage({1: often(KILLED - 1, KILLED), 2: often(KILLED - 1, KILLED + 15)}, KILLED, KILLED + 15)
    assert (longest, again) == (15, 15)


def test_firing_again_is_when_the_last_silence_of_any_shard_ended() -> None:
    twice = [*often(KILLED - 1, KILLED), KILLED + 2.5, *often(KILLED + 4.2, KILLED + 15)]
    longest, again = outage({1: twice, 2: often(KILLED - 1, KILLED + 15)}, KILLED, KILLED + 15)
    assert longest == pytest.approx(2.5)
    assert again == pytest.approx(4.2)


def test_a_shard_that_went_on_has_no_outage_and_one_that_is_late_at_the_end_has() -> None:
    longest, again = outage({1: often(KILLED - 1, KILLED + 15)}, KILLED, KILLED + 15)
    assert longest == again == pytest.approx(0.02)
    assert outage({1: [KILLED + 2]}, KILLED, KILLED + 1) == (2, 2)


def test_without_a_shard_nothing_is_seen() -> None:
    with pytest.raises(ValueError, match="no shard"):
        outage({}, KILLED, KILLED + 15)


def test_callbacks_are_told_apart_by_shard() -> None:
    mine = shard_of("t-1", bounds.SHARDS)
    found = by_shard("t", [(1.0, 1), (2.0, 2), (3.0, 1)], [mine])
    assert set(found) == {mine}
    assert {1.0, 3.0} <= set(found[mine])
