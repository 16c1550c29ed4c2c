"""Lets faults happen to the service under load, counts its promises, and writes `docs/faults.md`.

Usage: python -m faults [--only NAME]… [--list]
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from faults.chapters import PROCESSES
from faults.disk import NotHere, small_disk
from faults.registry import SCENARIOS, Scenario
from faults.report import Results
from faults.rig import faketime, rig
from faults.running import run_all
from faults.scene import Pace, Played, Say, play
from tests.support.postgres import EmbeddedPostgres, new_database

DOCS: Final = Path(__file__).parents[1] / "docs"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m faults",
        description="Lets faults happen to the service under load, and counts its promises. Takes about 22 minutes.",
    )
    found.add_argument("--only", choices=[one.name for one in SCENARIOS], action="append", default=[])
    found.add_argument("--docs", type=Path, default=DOCS, help="where to write faults.md and the folder faults")
    found.add_argument("--keep", type=Path, help="a folder to keep the logs of all processes in, the database's too")
    found.add_argument("--list", action="store_true", help="list all faults, and end")
    return found


def main() -> None:
    """Runs the command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends, too
    arguments = parser().parse_args()
    if arguments.list:
        print("\n".join(f"{one.name:<16} {one.about}" for one in SCENARIOS))
        return
    order = [one.name for one in SCENARIOS]
    results = Results(arguments.docs / "faults", arguments.docs / "faults.md", PROCESSES, order)
    with server(None) as shared:
        good = run_all(chosen(arguments.only), lambda one, say: run(one, shared, Pace(), say, arguments.keep), results)
    print(f"\nwritten: {results.page}")
    sys.exit(0 if good else 1)


def chosen(only: Sequence[str]) -> list[Scenario]:
    """Those named, or all."""
    return [one for one in SCENARIOS if not only or one.name in only]


def run(scenario: Scenario, shared: EmbeddedPostgres, pace: Pace, say: Say, keep: Path | None = None) -> Played:
    """One fault, in a rig and on a database of its own; `keep` is a folder for the logs of its processes.

    Raises:
        NotHere: this machine cannot make it happen.
    """
    if scenario.shape.own_clock and faketime() is None:
        raise NotHere("libfaketime is not installed")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="durable-timer-faults-")))
        if keep is not None:
            folder = keep / scenario.name
            folder.mkdir(parents=True, exist_ok=True)
        own = stack.enter_context(server(scenario.shape.disk_mib)) if scenario.shape.disk_mib else shared
        stack.callback(lambda: shutil.copy(own.log, folder))
        store = stack.enter_context(new_database(own.url))
        running = stack.enter_context(rig(own, store, folder, scenario.shape))
        return play(running, scenario.act, pace, say, lasts=scenario.lasts, slow=scenario.slow)


@contextlib.contextmanager
def server(disk_mib: int | None) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL with durable settings, on a disk of that size where it is given."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(small_disk(disk_mib)) if disk_mib else None
        found = EmbeddedPostgres(durable=True, place=place)
        stack.callback(found.remove)
        found.start()
        yield found


if __name__ == "__main__":
    main()
