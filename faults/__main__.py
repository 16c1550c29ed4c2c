"""Lets faults happen to the service under load, counts its promises, and writes `docs/faults.md`.

Usage: python -m faults [--only NAME]… [--list]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from faults.registry import SCENARIOS, Scenario
from faults.rig import rig
from faults.scene import Pace, Played, play
from tests.support.postgres import EmbeddedPostgres, new_database


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--only", choices=[one.name for one in SCENARIOS], action="append", default=[])
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    chosen = [one for one in SCENARIOS if not arguments.only or one.name in arguments.only]
    server = EmbeddedPostgres(durable=True)
    good = True
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(server.remove)
        server.start()
        for one in chosen:
            played = run(one, server, Pace())
            print(played.verdict)
            good = good and not played.verdict.complaints
    sys.exit(0 if good else 1)


def run(scenario: Scenario, server: EmbeddedPostgres, pace: Pace) -> Played:
    """One fault, in a rig of its own."""
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"  {time.monotonic() - begun:5.1f} s  {line}", flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="durable-timer-faults-") as folder,
        new_database(server.url) as store,
        rig(server, store, Path(folder), scenario.shape) as running,
    ):
        return play(running, scenario.act, pace, say, lasts=scenario.lasts, slow=scenario.slow)


if __name__ == "__main__":
    main()
