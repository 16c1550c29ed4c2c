"""What the faults showed: figures kept as JSON, a plot for each, and a page made from both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from bench.charts import Lines, svg
from bench.report import machine, versions
from faults.checks import duplicates
from faults.scene import Played

STEP: Final = 0.1
"""Seconds for which callbacks are counted together in a plot."""

BEFORE: Final = 5.0
AFTER: Final = 12.0
"""Seconds around a fault that a plot shows."""

SHOWN: Final = 10
"""Complaints of one kind that are kept."""


@dataclass(frozen=True, slots=True)
class Results:
    """A folder with `results.json` and plots, and the page above it, which shows what was found last of each fault."""

    folder: Path
    page: Path

    def add(self, name: str, about: str, played: Played) -> None:
        """Keeps what was found, in place of what was found earlier of this fault."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.svg").write_text(svg([timeline(about, played)]))
        self._keep(name, {"about": about, **figures(played)})

    def skipped(self, name: str, about: str, why: str) -> None:
        self._keep(name, {"about": about, "skipped": why})

    def read(self) -> dict[str, dict[str, Any]]:
        """What was found last, by fault."""
        file = self.folder / "results.json"
        found: dict[str, dict[str, Any]] = orjson.loads(file.read_bytes()) if file.exists() else {}
        return found

    def text(self, order: Sequence[str]) -> str:
        """The page as it should be."""
        found = self.read()
        return page({name: found[name] for name in order if name in found}, self.folder.name)

    def _keep(self, name: str, what: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = self.read()
        whole[name] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            "machine": machine(),
            "versions": versions(),
            **what,
        }
        (self.folder / "results.json").write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n")


def figures(played: Played) -> dict[str, Any]:
    """The verdict as JSON has it; of each list of complaints the number, and some."""
    found = asdict(played.verdict)
    lists = {name: value for name, value in found.items() if isinstance(value, tuple)}
    complaints = {name: list(value[:SHOWN]) for name, value in lists.items() if value}
    counted = {name: len(value) if name in lists else value for name, value in found.items()}
    lasted = played.fault.ended - played.fault.begun
    return {**counted, "lasted": lasted, "repeated": played.tried_again, "complaints": complaints}


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


def page(found: Mapping[str, Mapping[str, Any]], folder: str) -> str:
    """The page, as Markdown."""
    return "\n".join([_HEAD, *_made(found), "", *_table(found), "", _NOTES.rstrip(), *_plots(found, folder)]) + "\n"


def line(verdict: Mapping[str, Any]) -> str:
    """One fault's figures in words."""
    return (
        f"{verdict['timers']:,} timers, {verdict['lost']} lost, {verdict['early']} early, {verdict['cancelled']} cancelled "
        f"delivered, {verdict['duplicates']} duplicates ({verdict['in_flight']} in flight, {verdict['unexcused']} not), "
        f"gap {verdict['gap']:.2f} s, again after {verdict['again']:.2f} s, slowest {verdict['slowest']:.2f} s"
    )


def _counted(times: Iterable[float], end: float) -> list[tuple[float, float]]:
    counts = Counter(int(at // STEP) for at in times)
    return [(round(place * STEP, 1), counts[place]) for place in range(int(-BEFORE / STEP), int(end / STEP))]


def _made(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not found:
        return
    last = max(found.values(), key=lambda one: str(one["date"]))
    where, what = last["machine"], last["versions"]
    commits = dict.fromkeys(
        one["versions"]["commit"] for one in sorted(found.values(), key=lambda one: str(one["date"]))
    )
    yield (
        f"Made by `make faults`, last on {last['date']} UTC, on {where['cores']} cores ({where['processor']}, "
        f"{where['memory_gib']:g} GiB, Linux {where['kernel']}), Python {what['python']}, commit {', '.join(commits)}; "
        "everything, the load too, on this one machine."
    )


def _table(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| fault | timers | lost | early | cancelled, delivered | duplicates (in flight) | gap | firing again after | slowest |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in found.values():
        if "skipped" in one:
            yield f"| {one['about']} | skipped: {one['skipped']} | | | | | | | |"
            continue
        yield (
            f"| {one['about']} | {one['timers']:,} | {one['lost']} | {one['early']} | {one['cancelled']} "
            f"| {_twice(one)} | {one['gap']:.2f} s | {one['again']:.2f} s | {one['slowest']:.2f} s |"
        )


def _twice(one: Mapping[str, Any]) -> str:
    said = f"{one['duplicates']} ({one['in_flight']})"
    return said if not one["unexcused"] else f"{said}, **{one['unexcused']} not in flight**"


def _plots(found: Mapping[str, Mapping[str, Any]], folder: str) -> Iterator[str]:
    for name, one in found.items():
        yield f"\n## {one['about']}\n"
        if "skipped" in one:
            yield f"Skipped: {one['skipped']}."
            continue
        for kind, some in one["complaints"].items():
            yield f"- **{kind}**: {'; '.join(some)}"
        if one["complaints"]:
            yield ""
        yield f"![callbacks per 100 ms]({folder}/{name}.svg)"


_HEAD: Final = """\
<!-- Written by `make faults` from docs/faults/results.json. -->
# Faults

What holds when processes die, stand still, are cut off or lose their database, counted with real processes: PostgreSQL,
two bridges, two executors, and a client that asks for 500 timers a second of all kinds (single creates, batches,
schedules each minute, chains by `nextExecuteAt`, timers whose target first refuses, cancels and changes of time near
and after the moment of delivery). The client repeats what was not answered, and keeps a ledger of what was
acknowledged; a receiver keeps every callback. Then the two are held against each other (`faults/checks.py`, whose
tests plant each violation).
"""

_NOTES: Final = """\
- **timers**: creates that were acknowledged. **lost**: acknowledged, and not delivered. **early**: received before its
  time. **cancelled, delivered**: received after a cancel or a change of time had been acknowledged.
- **duplicates (in flight)**: callbacks of an occurrence that had been answered with success before; in brackets how many
  timers the dead, paused or cut-off executors had taken and not settled. A duplicate of any other timer is a failure;
  where no executor died or lost its claim, so is every one.
- **gap**: the longest time that any one of the 16 shards fired nothing, from the fault's begin on. **firing again
  after**: the same, counted from the fault's end, or from when another executor could take over at the earliest (2 s
  without a beat). More than 3 s is a failure, more than 1 s after a planned stop. **slowest**: the
  latest of all timers, from when it was due, acknowledged, and the fault over.
- In the plots *due* is when each delivered timer should have fired, *callbacks* when the receiver saw them; both per
  tenth of a second, on a logarithmic axis, at whose foot there was none.
"""
