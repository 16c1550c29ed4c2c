"""What a run found: a table for people, JSON and an SVG for later."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from bench.charts import Chart, Lines, svg
from bench.lab import Lab, Outcome

PACKAGES = ("durable-timer", "aiohttp", "asyncpg", "orjson", "pyreqwest", "uvloop")


@dataclass(slots=True)
class Report:
    """Grows measure by measure, and is saved after each, so that one that fails takes nothing with it."""

    folder: Path
    name: str
    heading: str
    head: Mapping[str, object]
    measures: dict[str, dict[str, float | int | str]] = field(default_factory=dict)
    charts: list[Chart] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, measure: str, outcome: Outcome) -> None:
        self.measures[measure] = outcome.figures
        self.missed += [f"{measure}: {words}" for words in outcome.missed]
        self.charts += [replace(chart, title=f"{measure}: {chart.title}") for chart in outcome.charts]
        self.save()

    def failed(self, measure: str, error: Exception) -> None:
        self.measures[measure] = {"error": f"{type(error).__name__}: {error}"}
        self.save()

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        series = {chart.title: chart.lines for chart in self.charts if isinstance(chart, Lines)}
        whole = {**self.head, "measures": self.measures, "missed": self.missed}
        if series:
            self.series.write_bytes(orjson.dumps(series) + b"\n")
        self.json.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n")
        self.svg.write_text(svg(self.charts, self.heading))

    @property
    def json(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def series(self) -> Path:
        """The points of the lines that are drawn, by the charts' titles."""
        return self.folder / f"{self.name}-series.json"

    @property
    def svg(self) -> Path:
        return self.folder / f"{self.name}.svg"


def new(folder: Path, suite: str, lab: Lab, scale: float) -> Report:
    """An empty report of now, of this machine and of this version."""
    now = datetime.now(UTC)
    of, made = machine(), versions()
    where = f"{of['cores']} cores of {of['processor']}, {of['memory_gib']} GiB"
    heading = f"{now:%Y-%m-%d %H:%M} UTC, {lab.kind}, {where}, commit {made.get('commit', 'unknown')}"
    head = {
        "date": now.isoformat(timespec="seconds"),
        "suite": suite,
        "store": lab.kind.value,
        "scale": scale,
        "machine": of,
        "versions": made,
    }
    return Report(folder, f"{now:%Y%m%dT%H%M%SZ}-{lab.kind}-{suite}", heading, head)


def table(figures: Mapping[str, float | int | str]) -> Iterator[str]:
    """Lines of names and values; figures named `case/name` stand beside those of the other cases, one line a name."""
    rows: dict[str, dict[str, str]] = {}
    for name, value in figures.items():
        case, _, label = name.rpartition("/")
        rows.setdefault(label, {})[case] = value if isinstance(value, str) else f"{value:,}"
    cases = list(dict.fromkeys(case for row in rows.values() for case in row if case))
    name_width = max(map(len, rows), default=0)
    widths = [max(12, len(case)) for case in cases]
    if cases:
        yield f"  {'':<{name_width}}  " + "  ".join(
            f"{case:>{width}}" for case, width in zip(cases, widths, strict=True)
        )
    for name, row in rows.items():
        cells = [f"{row.get(case, ''):>{width}}" for case, width in zip(cases, widths, strict=True)]
        yield "  ".join([f"  {name:<{name_width}}", *([f"{row['']:>12}"] if "" in row else cells)]).rstrip()


def machine() -> dict[str, object]:
    """What the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """Of Python, the packages that matter, and the commit, where there is one."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if shutil.which("git"):
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
        found["commit"] = commit.stdout.strip() or "unknown"
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
