"""Holds a result against a yardstick's: the same statements, client and sockets on this machine with no service around them.

Usage: python -m bench.yardstick YARDSTICK.txt RESULT.json

The yardstick's output is what it prints of bulk inserts, of a burst and a steady load (in this order), and of wrk.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

FAULTLESS = ("lost", "early", "duplicates")
"""What no load without a fault may have."""

_FIRED = re.compile(r"([\d.]+)/s since the first was due, late ms p50 ([\d.]+) p99 ([\d.]+)")


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What the machine can do: a second, and ms late."""

    burst: float
    steady_p99_ms: float
    creates: float
    inserts: float


@dataclass(frozen=True, slots=True)
class Line:
    """A figure, the bound that it should keep, and whether it does."""

    name: str
    figure: float
    bound: float
    kept: bool


def read_yardstick(output: str) -> Yardstick:
    """Raises: ValueError, when a figure is missing."""
    fired = _FIRED.findall(output)
    inserts = re.findall(r"bulk inserts (\d+)/s", output)
    creates = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if len(fired) != 2 or not inserts or creates is None:
        raise ValueError("the yardstick's output lacks a figure")
    return Yardstick(float(fired[0][0]), float(fired[1][2]), float(creates[1]), max(map(float, inserts)))


def held_against(yardstick: Yardstick, measures: Mapping[str, Mapping[str, float]]) -> Iterator[Line]:
    """A line for each aim that the result has a figure for."""
    at_least = (
        ("burst, fires/s", "burst", "per_second", 0.75 * yardstick.burst),
        ("single creates/s", "creates_single", "creates_per_second", 0.7 * yardstick.creates),
        ("creates/s by :batch", "creates_batch", "creates_per_second", 0.4 * yardstick.inserts),
        ("cancels/s by :cancel", "cancels", "cancels_per_second", 10_000.0),
    )
    at_most = (
        ("1,000/s, p99 late in ms", "steady", "late_p99_ms", yardstick.steady_p99_ms + 6),
        ("firing again after kill -9 in s", "kill", "firing_again_after_s", 3.0),
        *(
            (f"{name} in the {measure} load", measure, name, 0.0)
            for measure in ("burst", "steady")
            for name in FAULTLESS
        ),
        ("lost by kill -9", "kill", "lost", 0.0),
        ("early by kill -9", "kill", "early", 0.0),
    )
    for name, measure, key, bound in at_least:
        if (figure := measures.get(measure, {}).get(key)) is not None:
            yield Line(name, figure, bound, figure >= bound)
    for name, measure, key, bound in at_most:
        if (figure := measures.get(measure, {}).get(key)) is not None:
            yield Line(name, figure, bound, figure <= bound)


def main(yardstick: Path, result: Path) -> int:
    """Prints the lines; 1 when an aim is missed."""
    lines = list(held_against(read_yardstick(yardstick.read_text()), orjson.loads(result.read_bytes())["measures"]))
    for line in lines:
        print(f"{line.name:<36} {line.figure:>12,.1f} {line.bound:>12,.1f}  {'kept' if line.kept else 'MISSED'}")
    return 0 if lines and all(line.kept for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
