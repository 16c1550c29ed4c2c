"""What the figures must keep, measure by measure, and what is said when they do not.

Nothing may be lost, early or twice in any load of any size; all else is asked of full sizes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from bench.lab import Figures, Kind, Outcome
from bench.sizes import Sizes

FAULTLESS: Final = ("lost", "early", "duplicates")
"""What no load without a fault may have."""

FAULTLESS_BUT: Final[Mapping[str, Sequence[str]]] = {"kill": ("lost", "early"), "soak": ()}
"""Of measures that kill: what was under way may arrive twice, which a soak judges itself."""

CLOSE: Final = 1.2
DOUBLED: Final = 2.0
OF_THE_BURST: Final = 0.8
IDLE_CORES: Final = 0.05
ENGINE: Final = "cores.executor_and_database"
SHARDS: Final = 16
FIRING_AGAIN: Final = 3.0
"""Seconds after a kill in which all shards must fire again."""

CANCELS: Final = 10_000
NEARLY: Final = 0.95
"""Of the creates that are asked for each second."""

TENTH: Final = 10
"""Of so many rows of a neighbour one at least must have been touched, or it was no trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What one figure must be: at least, at most, or below so much. An absent figure keeps no bound."""

    least: float = -inf
    most: float = inf
    below: float = inf

    def kept(self, figure: float | str | None) -> bool:
        """Whether the figure is a number within it."""
        return not isinstance(figure, str | None) and self.least <= figure <= self.most and figure < self.below

    def __str__(self) -> str:
        limits = {"at least": self.least, "at most": self.most, "below": self.below}
        return ", ".join(f"{words} {value:,g}" for words, value in limits.items() if abs(value) < inf)


NONE: Final = Bound(most=0)
ANY: Final = Bound(least=1)


def bounds(measure: str, sizes: Sizes, kind: Kind) -> Mapping[str, Bound]:
    """By the figure's name; none for what is held against a yardstick (`bench.yardstick`), or by the measure itself."""
    touched = Bound(least=sizes.many // TENTH)
    beside = {"p99_ratio": Bound(most=DOUBLED)}
    pending = {"cpu_ratio": Bound(most=CLOSE), "late_p99_ratio": Bound(most=CLOSE)}
    idle = {"claimed_shards": Bound(least=sizes.idle_groups * SHARDS), ENGINE: Bound(below=IDLE_CORES)}
    creates_per_second = Bound(least=NEARLY * sizes.create_rate)
    served = kind is Kind.POSTGRESQL
    by_measure = {
        "creates_single": {"request_refused": NONE, "missing": NONE},
        "creates_batch": {"request_refused": NONE, "missing": NONE},
        "cancels": {
            "request_refused": NONE,
            "left": NONE,
            **({"cancels_per_second": Bound(least=CANCELS)} if served else {}),
        },
        "kill": {"shards_lost": ANY, **({"firing_again_after_s": Bound(most=FIRING_AGAIN)} if served else {})},
        "pending": pending,
        "pending_most": pending,
        "backlog": {"drained": Bound(least=sizes.many), "slowest_tenth_of_burst": Bound(least=OF_THE_BURST)},
        "idle": idle,
        "dead_host": {**beside, "tried": ANY, "still_pending": ANY},
        "slow_target": {**beside, "begun": ANY},
        "due_group": {**beside, "others_delivered": touched, "others_still_due": ANY},
        "creating_group": {**beside, "creates_per_second": creates_per_second, "creates_refused": NONE},
        "purging": {**beside, "purged": touched, "left_to_purge": ANY},
        "listing": {**beside, "listed": touched, "redriven": touched},
        "held_open": beside,
    }
    return by_measure.get(measure, {})


def missed(measure: str, figures: Figures, sizes: Sizes, kind: Kind) -> list[str]:
    """What was not kept, in words."""
    found = [*_faults(measure, figures)]
    for name, bound in bounds(measure, sizes, kind).items() if sizes.whole else ():
        figure = figures.get(name)
        if not bound.kept(figure):
            found.append(f"{name}: {'absent' if figure is None else figure}, not {bound}")
    return found


def judged(measure: str, outcome: Outcome, sizes: Sizes, kind: Kind) -> Outcome:
    """The outcome with what was missed, and a figure that says whether bounds were applied."""
    asked = bounds(measure, sizes, kind)
    found = missed(measure, outcome.figures, sizes, kind)
    applied = (
        ", ".join(f"{name} {bound}" for name, bound in asked.items()) if sizes.whole else "not applied at this size"
    )
    figures: Figures = {**outcome.figures, **({"bounds": applied} if asked else {})}
    return replace(outcome, figures=figures, missed=(*found, *outcome.missed))


def _faults(measure: str, figures: Figures) -> Iterator[str]:
    names = FAULTLESS_BUT.get(measure, FAULTLESS)
    return (f"{name}: {value}" for name, value in figures.items() if name.rpartition("/")[2] in names and value != 0)
