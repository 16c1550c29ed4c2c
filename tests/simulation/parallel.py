"""Plays many seeds in processes of their own, all with the same hash seed, so that each gives the same trace anywhere."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Final

from tests.simulation.runner import Verdict

ROOT: Final = Path(__file__).parents[2]
CHUNK: Final = 50
"""Seeds that one process plays before the next one follows."""


@dataclass(frozen=True, slots=True)
class Told:
    """A seed's verdict, with its story where it has violations."""

    verdict: Verdict
    story: str = ""

    def to_line(self) -> str:
        return json.dumps({"verdict": asdict(self.verdict), "story": self.story})

    @staticmethod
    def from_line(line: str) -> "Told":
        parts = json.loads(line)
        return Told(Verdict(**parts["verdict"]), parts["story"])


def fixed_environment() -> dict[str, str]:
    """The environment in which a seed is the same everywhere."""
    return os.environ | {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
    }


def play_seeds(seeds: range, *, weather: str | None, planted: str | None, processes: int) -> Iterator[Told]:
    """Plays the seeds, in no particular order.

    Raises:
        RuntimeError: a process ended before it had played its seeds; the message is what it said.
    """
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    if len(seeds) <= CHUNK * processes:
        chunks = [seeds[number::processes] for number in range(min(processes, len(seeds)))]
    told: SimpleQueue[Told | BaseException | None] = SimpleQueue()
    with ThreadPoolExecutor(processes) as pool:
        for chunk in chunks:
            pool.submit(_play_chunk, chunk, weather, planted, told)
        left = len(chunks)
        while left:
            item = told.get()
            if isinstance(item, BaseException):
                pool.shutdown(wait=False, cancel_futures=True)
                raise item
            if item is None:
                left -= 1
            else:
                yield item


def _play_chunk(
    seeds: range, weather: str | None, planted: str | None, told: "SimpleQueue[Told | BaseException | None]"
) -> None:
    options = ["--seeds", f"{seeds.start}:{seeds.stop}:{seeds.step}", "--worker"]
    options += ["--weather", weather] if weather else []
    options += ["--planted", planted] if planted else []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.simulation", *options],
        env=fixed_environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        lines: IO[str] = worker.stdout  # type: ignore[assignment]
        for line in lines:
            told.put(Told.from_line(line))
        errors = worker.stderr.read() if worker.stderr else ""
    told.put(RuntimeError(errors) if worker.returncode else None)
