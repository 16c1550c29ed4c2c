"""Holds results against a yardstick's: the same statements, client and sockets on this machine with no service around them.

The yardstick's output is what it prints of bulk inserts, of a burst and a steady load (in this order), and of wrk.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

from bench.bounds import CANCELS, FAULTLESS, FIRING_AGAIN, Bound
from bench.lab import Kind
from bench.sizes import Sizes

LEAST_PAIRS: Final = 3
"""Of which a median says something."""

RULE: Final = f"""
Each pair is one run of the yardstick and one of `make bench` (PostgreSQL, full size) in the same quiet minutes, on the same
server. Each figure is held against the yardstick of its own pair. A burst differs by a tenth from run to run: given
several pairs, {LEAST_PAIRS} at least, the median of their ratios counts. The first pair must have all measures, the others a
burst at least (--only burst); of what several have, the median counts too, but of what must not be at all (lost, early,
twice, refused, missing), and of the time after a kill, the worst. An absent figure is MISSED. Ends with 1 when anything
is, with 2 when a result is of SQLite, not of full size, or given twice, or when there are two pairs.
"""

_FIRED = re.compile(r"([\d.]+)/s since the first was due, late ms p50 ([\d.]+) p99 ([\d.]+)")


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What the machine can do: a second, and ms late."""

    burst: float
    steady_p99_ms: float
    creates: float
    inserts: float

    def __str__(self) -> str:
        fired = f"burst {self.burst:,.0f}/s, steady p99 {self.steady_p99_ms:g} ms"
        return f"{fired}, creates {self.creates:,.0f}/s, inserts {self.inserts:,.0f}/s"


Measures = Mapping[str, Mapping[str, float | str]]
"""Figures by measure and name."""

Pair = tuple[Yardstick, Measures]
Reading = Callable[[float, Yardstick], float]


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure of a measure, as it is read beside the yardstick, and its bound; of several the median counts, or the worst."""

    name: str
    measure: str
    key: str
    bound: Bound
    reading: Reading = lambda figure, _: figure
    counts: Callable[[Sequence[float]], float] = median


@dataclass(frozen=True, slots=True)
class Line:
    """An aim, what was read of each pair, and what counts of it; None where a figure is absent."""

    aim: Aim
    read: tuple[float, ...]
    figure: float | None

    @property
    def kept(self) -> bool:
        """Whether the aim is reached."""
        return self.aim.bound.kept(self.figure)

    def __str__(self) -> str:
        figure = (
            "absent" if self.figure is None else f"{self.figure:,.4g}" if self.figure < 1e4 else f"{self.figure:,.0f}"
        )
        of = f"  ({', '.join(f'{one:,.3g}' for one in self.read)})" if len(self.read) > 1 else ""
        return f"{self.aim.name:<38} {figure:>9} {self.aim.bound!s:>16}  {'kept' if self.kept else 'MISSED'}{of}"


def _aims() -> Iterator[Aim]:
    sizes, most = Sizes(), partial(Aim, counts=max)
    yield Aim("burst, of the yardstick's", "burst", "per_second", Bound(least=0.75), lambda it, y: it / y.burst)
    yield Aim(
        "single creates, of the yardstick's", "creates_single", "creates_per_second", Bound(least=0.7),
        lambda it, y: it / y.creates,
    )  # fmt: skip
    yield Aim(
        "creates by :batch, of its inserts", "creates_batch", "creates_per_second", Bound(least=0.4),
        lambda it, y: it / y.inserts,
    )  # fmt: skip
    yield Aim(
        "1,000/s, p99 beyond the yardstick's, ms", "steady", "late_p99_ms", Bound(most=6),
        lambda it, y: it - y.steady_p99_ms,
    )  # fmt: skip
    yield Aim("cancels/s by :cancel", "cancels", "cancels_per_second", Bound(least=CANCELS))
    yield most("firing again after kill -9, s", "kill", "firing_again_after_s", Bound(most=FIRING_AGAIN))
    for measure, expected in {"burst": sizes.burst, "steady": int(sizes.rate * sizes.steady_seconds)}.items():
        yield Aim(f"timers in the {measure} load", measure, "expected", Bound(least=expected), counts=min)
        for name in FAULTLESS:
            yield most(f"{name} in the {measure} load", measure, name, Bound(most=0))
    for name in ("lost", "early"):
        yield most(f"{name} by kill -9", "kill", name, Bound(most=0))
    for measure, key in {"creates_single": "missing", "creates_batch": "missing", "cancels": "left"}.items():
        yield most(f"{key} in {measure}", measure, key, Bound(most=0))
        yield most(f"refused in {measure}", measure, "request_refused", Bound(most=0))


AIMS: Final = tuple(_aims())


def read_yardstick(output: str) -> Yardstick:
    """Raises: ValueError, when a figure is missing."""
    fired = _FIRED.findall(output)
    inserts = re.findall(r"bulk inserts (\d+)/s", output)
    creates = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if len(fired) != 2 or not inserts or creates is None:
        raise ValueError("the yardstick's output lacks a figure")
    return Yardstick(float(fired[0][0]), float(fired[1][2]), float(creates[1]), max(map(float, inserts)))


def held_against(pairs: Sequence[Pair]) -> Iterator[Line]:
    """A line for each aim."""
    for aim in AIMS:
        having = [pair for place, pair in enumerate(pairs) if _asked(aim.measure, place, pair)]
        figures = [(measures.get(aim.measure, {}).get(aim.key), yardstick) for yardstick, measures in having]
        read = tuple(aim.reading(figure, of) for figure, of in figures if isinstance(figure, float | int))
        yield Line(aim, read, aim.counts(read) if len(read) == len(having) else None)


def _asked(measure: str, place: int, pair: Pair) -> bool:
    """Whether a pair must have a measure: the first has all, the others a burst, and what else they have counts."""
    return place == 0 or measure == "burst" or measure in pair[1]


def unfit(results: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the results cannot be held against a yardstick, if so."""
    if any(result.get("store") != Kind.POSTGRESQL for result in results):
        return "a result is not of PostgreSQL"
    if any(result.get("scale") != 1 for result in results):
        return "a result is not of full size: --scale"
    if len({result["date"] for result in results}) < len(results):
        return "a result is given twice"
    if 1 < len(results) < LEAST_PAIRS:
        return f"one pair, or {LEAST_PAIRS} at least"
    return None


def main(arguments: Sequence[str]) -> int:
    """Prints the lines; 1 when an aim is missed. Ends with 2 when what is given cannot be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.yardstick",
        usage="%(prog)s YARDSTICK.txt RESULT.json [YARDSTICK.txt RESULT.json …]",
        description="Holds results of make bench against the yardstick's of the same minutes.",
        epilog=RULE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="YARDSTICK.txt RESULT.json")
    files: list[Path] = parser.parse_args(arguments).files
    if len(files) % 2:
        parser.error("a yardstick's output and a result for each pair")
    yardsticks = [read_yardstick(path.read_text()) for path in files[::2]]
    results = [orjson.loads(path.read_bytes()) for path in files[1::2]]
    if reason := unfit(results):
        parser.error(reason)
    for path, of, result in zip(files[1::2], yardsticks, results, strict=True):
        print(f"{path.name}: commit {result['versions'].get('commit', 'unknown')}, against {of}")
    lines = list(held_against([(of, result["measures"]) for of, result in zip(yardsticks, results, strict=True)]))
    for line in lines:
        print(line)
    return 0 if all(line.kept for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
