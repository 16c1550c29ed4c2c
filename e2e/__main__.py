"""Lets faults happen to the service in a real Kubernetes under load, counts its promises, and writes `docs/faults.md`.

Usage: python -m e2e [--short] [--only NAME]… [--list]
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from e2e.cluster import ROOT, Cluster, Images, cluster
from e2e.kubectl import CommandFailed
from e2e.registry import SCENARIOS, Scenario
from e2e.stage import Stage, stage
from faults.chapters import PODS
from faults.disk import NotHere
from faults.report import Results
from faults.running import run_all
from faults.scene import Pace, Played, Say, play

PACE: Final = Pace(scale=0.6, on_the_minute=False)
"""300 timers a second; a fault may last for several minutes, or for none."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m e2e",
        description="Lets faults happen to the service in a real Kubernetes under load, and counts its promises.",
    )
    found.add_argument("--short", action="store_true", help="only the faults that take about a minute each")
    found.add_argument("--only", choices=[one.name for one in SCENARIOS], action="append", default=[])
    found.add_argument(
        "--docs", type=Path, default=ROOT / "docs", help="where to write faults.md and the folder faults"
    )
    found.add_argument("--keep", type=Path, help="a folder to keep the logs of all pods in")
    found.add_argument("--list", action="store_true", help="list all faults, and end")
    return found


def main() -> None:
    """Runs the command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends, too
    arguments = parser().parse_args()
    if arguments.list:
        print("\n".join(f"{one.name:<18} {one.about}{' (short)' if one.short else ''}" for one in SCENARIOS))
        return
    results = Results(arguments.docs / "faults", arguments.docs / "faults.md", PODS, [one.name for one in SCENARIOS])
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(cluster())
        except NotHere as missing:
            print(f"Skipped: the faults of pods, because {missing}.")
            return
        images = running.images()
        wanted = chosen(arguments.only, short=arguments.short)
        good = run_all(wanted, lambda one, say: run(one, running, images, say, arguments.keep), results)
    print(f"\nwritten: {results.page}")
    sys.exit(0 if good else 1)


def chosen(only: Sequence[str], *, short: bool) -> list[Scenario]:
    """Those named, or those of the short form, or all."""
    return [one for one in SCENARIOS if (one.name in only if only else one.short or not short)]


def run(scenario: Scenario, running: Cluster, images: Images, say: Say, keep: Path | None) -> Played:
    """One fault, in an installation of its own; `keep` is a folder for the logs of its pods."""
    say("installing")
    with stage(running, images, scenario.name, scenario.shape) as installed:
        try:
            return play(installed, scenario.act, PACE, say, lasts=scenario.lasts, slow=scenario.slow)
        finally:
            if keep is not None:
                _keep(installed, keep / scenario.name)


def _keep(installed: Stage, folder: Path) -> None:
    """Keeps the logs of the pods that are there, and the events."""
    folder.mkdir(parents=True, exist_ok=True)
    for kubectl in (installed.kubectl, installed.tools):
        with contextlib.suppress(CommandFailed):
            (folder / f"{kubectl.namespace}.events").write_text(kubectl("get", "events", "--sort-by=.lastTimestamp"))
            for pod in kubectl("get", "pods", "--output=name").split():
                (folder / f"{pod.rpartition('/')[2]}.log").write_text(kubectl.logs(pod))


if __name__ == "__main__":
    main()
