"""What the faults showed: figures kept as JSON, a plot for each, and a page made from both."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from bench.charts import Lines, svg
from bench.report import machine, versions
from faults.chapters import CHAPTERS, HEAD, NOTES, Chapter
from faults.checks import duplicates
from faults.scene import Played

STEP: Final = 0.1
"""Seconds for which callbacks are counted together in a plot."""

BEFORE: Final = 5.0
AFTER: Final = 12.0
"""Seconds around a fault that a plot shows."""

SHOWN: Final = 10
"""Complaints of one kind that are kept."""

PROMISES: Final = ("lost", "early", "astray", "cancelled")
"""Columns of the table that should be 0."""


@dataclass(frozen=True, slots=True)
class Results:
    """A folder with a JSON file a chapter and plots, and the page above it, which shows what was found last of each fault.

    What is added goes into `chapter`, whose faults stand in this `order`.
    """

    folder: Path
    page: Path
    chapter: Chapter
    order: Sequence[str]

    def add(self, name: str, about: str, played: Played) -> None:
        """Keeps what was found, in place of what was found earlier of this fault."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{self.chapter.prefix}{name}.svg").write_text(svg([timeline(about, played)]))
        self._keep(name, {"about": about, **figures(played)})

    def skipped(self, name: str, about: str, why: str) -> None:
        """Notes that this machine cannot make the fault happen, in place of what was found earlier."""
        self._without(name, {"about": about, "skipped": why})

    def failed(self, name: str, about: str, why: str) -> None:
        """Notes that nothing could be found, in place of what was found earlier: the fault did not happen as it should."""
        self._without(name, {"about": about, "failed": why})

    def read(self, chapter: Chapter) -> dict[str, dict[str, Any]]:
        """What was found last, by fault."""
        file = self.folder / f"{chapter.file}.json"
        found: dict[str, dict[str, Any]] = orjson.loads(file.read_bytes()) if file.exists() else {}
        return found

    def text(self) -> str:
        """The page as it should be."""
        return page({chapter: self.read(chapter) for chapter in CHAPTERS}, self.folder.name)

    def write(self) -> None:
        """Writes the page."""
        self.page.write_text(self.text())

    def _without(self, name: str, what: Mapping[str, Any]) -> None:
        (self.folder / f"{self.chapter.prefix}{name}.svg").unlink(missing_ok=True)
        self._keep(name, what)

    def _keep(self, name: str, what: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = self.read(self.chapter)
        whole[name] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            "machine": machine(),
            "versions": {**versions(), "commit": commit()},
            **what,
        }
        ordered = {one: whole[one] for one in self.order if one in whole}
        file = self.folder / f"{self.chapter.file}.json"
        file.write_bytes(orjson.dumps(ordered, option=orjson.OPT_INDENT_2) + b"\n")


def commit() -> str:
    """What is checked out, with "-dirty" where anything but `docs`, where results go, differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()

    if not shutil.which("git"):
        return "unknown"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return (git("describe", "--always") or "unknown") + ("-dirty" if changed else "")


def figures(played: Played) -> dict[str, Any]:
    """The verdict as JSON has it; of each list of complaints the number, and some."""
    found = asdict(played.verdict)
    lists = {name: value for name, value in found.items() if isinstance(value, tuple)}
    complaints = {name: list(value[:SHOWN]) for name, value in lists.items() if value}
    counted = {name: len(value) if name in lists else value for name, value in found.items()}
    lasted = played.fault.ended - played.fault.begun
    measured = [asdict(one) for one in played.fault.measured]
    return {**counted, "lasted": lasted, "repeated": played.tried_again, "measured": measured, "complaints": complaints}


def timeline(title: str, played: Played) -> Lines:
    """Callbacks, and what became due, per tenth of a second around a fault, whose begin is 0."""
    begun = played.fault.begun
    end = played.fault.ended - begun + AFTER
    extra = set(map(id, duplicates(played.callbacks)))
    first = [one for one in played.callbacks if one.attempt == 1 and id(one) not in extra]
    return Lines(
        title,
        "seconds after the fault began",
        "callbacks per 100 ms",
        {
            "due": _counted((one.due - begun for one in first), end),
            "callbacks": _counted((one.at - begun for one in played.callbacks), end),
        },
        mark="begin, end",
        marks=sorted({0.0, played.fault.ended - begun}),
        logarithmic=True,
    )


def page(found: Mapping[Chapter, Mapping[str, Mapping[str, Any]]], folder: str) -> str:
    """The page, as Markdown."""
    parts = [HEAD, NOTES]
    for chapter, faults in found.items():
        if faults:
            parts += [f"## {chapter.title}\n\n{chapter.head}", *_made(chapter, faults), "", *_table(faults), ""]
            parts += [chapter.notes] if chapter.notes else []
    parts += [plot for chapter, faults in found.items() for plot in _plots(chapter, faults, folder)]
    return "\n".join(parts).rstrip() + "\n"


def line(verdict: Mapping[str, Any]) -> str:
    """One fault's figures in words."""
    return (
        f"{verdict['timers']:,} timers, {verdict['schedules']} schedules due, {verdict['lost']} lost, "
        f"{verdict['early']} early, {verdict['astray']} at another time, {verdict['cancelled']} cancelled delivered, {verdict['duplicates']} duplicates ({verdict['in_flight']} in flight, {verdict['unexcused']} not), "
        f"gap {verdict['gap']:.2f} s, again after {verdict['again']:.2f} s, slowest {verdict['slowest']:.2f} s"
    )


def _counted(times: Iterable[float], end: float) -> list[tuple[float, float]]:
    counts = Counter(int(at // STEP) for at in times)
    return [(round(place * STEP, 1), counts[place]) for place in range(int(-BEFORE / STEP), int(end / STEP))]


def _made(chapter: Chapter, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    last = max(found.values(), key=lambda one: str(one["date"]))
    where, what = last["machine"], last["versions"]
    yield (
        f"Made by `{chapter.command}`, last on {last['date']} UTC, on {where['cores']} cores ({where['processor']}, "
        f"{where['memory_gib']:g} GiB, Linux {where['kernel']}), Python {what['python']}; "
        "everything, the load too, on this one machine."
    )


def _table(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    heads = (
        *("fault", "commit", "timers", "schedules due", "lost", "early", "another time", "cancelled, delivered"),
        *("duplicates (in flight)", "gap", "firing again after", "slowest"),
    )
    yield _row(heads)
    yield "|---" * len(heads) + "|"
    for one in found.values():
        cells = [_none(one)] if _none(one) else _cells(one)
        yield _row(
            [_named(one) + _measured(one), one["versions"]["commit"], *cells, *[""] * (len(heads) - 2 - len(cells))]
        )


def _named(one: Mapping[str, Any]) -> str:
    """The fault, bold where anything was wrong."""
    about: str = one["about"]
    return f"**{about}**" if one.get("complaints") else about


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(one: Mapping[str, Any]) -> list[str]:
    """What was found, but for the first two columns: bold where it should not be, "?" where it was not counted yet."""
    broken = [f"**{one[name]}**" if one.get(name) else str(one.get(name, "?")) for name in PROMISES]
    times = (f"{one['gap']:.2f} s", _timed(one, "again", "late"), _timed(one, "slowest", "slow"))
    return [f"{one['timers']:,}", str(one.get("schedules", "?")), *broken, _twice(one), *times]


def _timed(one: Mapping[str, Any], name: str, complaints: str) -> str:
    """Seconds, bold where something took too long."""
    said = f"{one[name]:.2f} s"
    return f"**{said}**" if one.get(complaints) else said


def _none(one: Mapping[str, Any]) -> str:
    """Why nothing was found; empty when something was."""
    if "failed" in one:
        return f"**failed**: {one['failed'].replace('|', '/')}"
    return f"skipped: {one['skipped']}" if "skipped" in one else ""


def _twice(one: Mapping[str, Any]) -> str:
    said = f"{one['duplicates']} ({one['in_flight']})"
    return said if not one["unexcused"] else f"{said}, **{one['unexcused']} not in flight**"


def _measured(one: Mapping[str, Any]) -> str:
    return "".join(f"; {what['what']} after {what['seconds']:.1f} s" for what in one.get("measured", ()))


def _plots(chapter: Chapter, found: Mapping[str, Mapping[str, Any]], folder: str) -> Iterator[str]:
    for name, one in found.items():
        yield f"## {chapter.title}: {one['about']}\n"
        if _none(one):
            yield f"{_none(one)}\n"
            continue
        for kind, some in one["complaints"].items():
            yield f"- **{kind}**: {'; '.join(some)}"
        if one["complaints"]:
            yield ""
        yield f"![callbacks per 100 ms]({folder}/{chapter.prefix}{name}.svg)\n"
