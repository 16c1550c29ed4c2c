"""Measures the service on one machine, prints the figures, and saves them as JSON and as a plot.

Usage: python -m bench [SUITE] [--store postgresql|sqlite] [--only NAME]… [--scale FACTOR] [--list] …
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import bounds, report
from bench.lab import SERVER, Kind, Lab
from bench.registry import MEASURES, SUITES, Measure
from bench.sizes import Sizes

FOLDER = Path(__file__).parent / "results"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures the service on one machine, prints the figures, and saves them as JSON and as a plot.",
        epilog=f"{SERVER}=postgresql://… names a server to use instead of an embedded one.",
    )
    found.add_argument("suite", nargs="?", choices=SUITES, default=SUITES[0])
    found.add_argument("--store", type=Kind, choices=list(Kind), default=Kind.POSTGRESQL)
    found.add_argument("--only", choices=[measure.name for measure in MEASURES], action="append", default=[])
    found.add_argument("--scale", type=float, default=1.0, help="multiplies counts and times: 0.05 to try things out")
    found.add_argument("--rate", type=int, help="timers a second of steady loads, instead of 1,000")
    found.add_argument("--minutes", type=float, help="how long a soak lasts, instead of 30")
    found.add_argument("--kill-every", type=float, metavar="SECONDS", help="between the kills of a soak, instead of 60")
    found.add_argument("--seed", type=int, help="chooses whom a soak kills")
    found.add_argument("--max-in-flight", type=int, help="maxInFlight of the groups, instead of the default")
    found.add_argument("--results", type=Path, default=FOLDER, help="the folder to save to")
    found.add_argument("--list", action="store_true", help="list all measures, and end")
    return found


def sizes(arguments: argparse.Namespace) -> Sizes:
    """As asked for."""
    found = Sizes() if arguments.scale == 1 else Sizes().scaled(arguments.scale)
    asked = {
        "rate": arguments.rate,
        "soak_seconds": None if arguments.minutes is None else arguments.minutes * 60,
        "kill_every": arguments.kill_every,
        "seed": arguments.seed,
    }
    return replace(found, **{name: value for name, value in asked.items() if value is not None})


def chosen(suite: str, only: Sequence[str], kind: Kind) -> list[Measure]:
    """The named measures, or the suite's; those that the store can take."""
    found = [measure for measure in MEASURES if (measure.name in only if only else measure.suite == suite)]
    return [measure for measure in found if kind in measure.kinds]


def listed() -> str:
    """A line for each measure."""
    return "\n".join(
        f"{measure.suite:<11} {measure.name:<15} {measure.about}"
        + ("" if Kind.SQLITE in measure.kinds else " (postgresql alone)")
        for measure in MEASURES
    )


def measure_all(lab: Lab, measures: Sequence[Measure], found: report.Report) -> bool:
    """Runs the measures in turn; one that fails does not keep the others from running. False when one failed
    or missed an aim of its own."""
    good = True
    for place, measure in enumerate(measures, 1):
        lab.say(f"\n[{place}/{len(measures)}] {measure.name}: {measure.about}")
        begun = time.monotonic()
        try:
            outcome = bounds.judged(measure.name, measure.run(lab), lab.sizes, lab.kind)
        except Exception as error:  # noqa: BLE001 - whatever a measure raises, the others are wanted
            good = False
            found.failed(measure.name, error)
            lab.say(traceback.format_exc())
            continue
        found.add(measure.name, outcome)
        for line in report.table(outcome.figures):
            lab.say(line)
        for words in outcome.missed:
            lab.say(f"  MISSED {words}")
        good = good and not outcome.missed
        lab.say(f"  ({time.monotonic() - begun:.0f} s)")
    return good


def main() -> None:
    """Runs the benchmark."""
    arguments = parser().parse_args()
    if arguments.list:
        print(listed())
        return
    lab = Lab(arguments.store, sizes(arguments), say, max_in_flight=arguments.max_in_flight)
    measures = chosen(arguments.suite, arguments.only, arguments.store)
    with lab:
        found = report.new(arguments.results, arguments.suite, lab, arguments.scale)
        good = measure_all(lab, measures, found)
    say(f"\nsaved as {found.json} and {found.svg.name}")
    sys.exit(0 if good else 1)


def say(line: str) -> None:
    """Prints a line at once, though the output may be a file."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
