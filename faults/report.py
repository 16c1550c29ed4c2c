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
class Chapter:
    """A part of the page: the faults of one command, which it alone writes. `file` is the name of its JSON."""

    title: str
    command: str
    file: str
    prefix: str
    """What its plots' names begin with."""
    head: str
    notes: str


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
        self._keep(name, {"about": about, "skipped": why})

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

    def _keep(self, name: str, what: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = self.read(self.chapter)
        whole[name] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            "machine": machine(),
            "versions": versions(),
            **what,
        }
        ordered = {one: whole[one] for one in self.order if one in whole}
        file = self.folder / f"{self.chapter.file}.json"
        file.write_bytes(orjson.dumps(ordered, option=orjson.OPT_INDENT_2) + b"\n")


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
    parts = [_HEAD, _NOTES]
    for chapter, faults in found.items():
        if faults:
            parts += [f"## {chapter.title}\n\n{chapter.head}", *_made(chapter, faults), "", *_table(faults), ""]
            parts += [chapter.notes] if chapter.notes else []
    parts += [plot for chapter, faults in found.items() for plot in _plots(chapter, faults, folder)]
    return "\n".join(parts).rstrip() + "\n"


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


def _made(chapter: Chapter, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    last = max(found.values(), key=lambda one: str(one["date"]))
    where, what = last["machine"], last["versions"]
    commits = dict.fromkeys(
        one["versions"]["commit"] for one in sorted(found.values(), key=lambda one: str(one["date"]))
    )
    yield (
        f"Made by `{chapter.command}`, last on {last['date']} UTC, on {where['cores']} cores ({where['processor']}, "
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
            f"| {one['about']}{_measured(one)} | {one['timers']:,} | {one['lost']} | {one['early']} | {one['cancelled']} "
            f"| {_twice(one)} | {one['gap']:.2f} s | {one['again']:.2f} s | {one['slowest']:.2f} s |"
        )


def _twice(one: Mapping[str, Any]) -> str:
    said = f"{one['duplicates']} ({one['in_flight']})"
    return said if not one["unexcused"] else f"{said}, **{one['unexcused']} not in flight**"


def _measured(one: Mapping[str, Any]) -> str:
    return "".join(f"; {what['what']} after {what['seconds']:.1f} s" for what in one.get("measured", ()))


def _plots(chapter: Chapter, found: Mapping[str, Mapping[str, Any]], folder: str) -> Iterator[str]:
    for name, one in found.items():
        yield f"## {chapter.title}: {one['about']}\n"
        if "skipped" in one:
            yield f"Skipped: {one['skipped']}.\n"
            continue
        for kind, some in one["complaints"].items():
            yield f"- **{kind}**: {'; '.join(some)}"
        if one["complaints"]:
            yield ""
        yield f"![callbacks per 100 ms]({folder}/{chapter.prefix}{name}.svg)\n"


_HEAD: Final = """\
<!-- Written by `make faults` and `make e2e-long` from the JSON files in docs/faults. -->
# Faults

What holds when processes die, stand still, are cut off or lose their database. A client asks for timers of all kinds
(single creates, batches, schedules each minute, chains by `nextExecuteAt`, timers whose target first refuses, cancels
and changes of time near and after the moment of delivery). It repeats what was not answered, and keeps a ledger of what
was acknowledged; a receiver keeps every callback. Then the two are held against each other (`faults/checks.py`, whose
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
  latest of all timers, from when it was due, acknowledged, and the fault over; more than 3 s is a failure.
- In the plots *due* is when each delivered timer should have fired, *callbacks* when the receiver saw them; both per
  tenth of a second, on a logarithmic axis, at whose foot there was none.
"""

PROCESSES: Final = Chapter(
    title="Processes",
    command="make faults",
    file="results",
    prefix="",
    head="""\
Real processes of one machine: PostgreSQL, two bridges, two executors, and 500 timers a second.
""",
    notes="",
)

PODS: Final = Chapter(
    title="Pods",
    command="make e2e-long",
    file="pods",
    prefix="pod_",
    head="""\
A real Kubernetes with one node, in which each fault has a namespace of its own: the chart installed with two operators,
three executors and two bridges, unless the fault says otherwise; PostgreSQL, the receiver and the client are pods as
well; 300 timers a second. Killed processes are killed from the node, by their pid; the kubelet starts the container
again.
""",
    notes="""\
What one node cannot show: a node that is lost or cut off as a whole (the tolerations that let its pods go after 15 s,
the spread over nodes and zones), pods that start on another node or wait for its image, a control plane of several
members, a load balancer outside the cluster, the enforcement of NetworkPolicies, volumes that follow a pod. All pods,
PostgreSQL and the control plane share the processors here, so a pod that starts takes time from those that deliver; and
all share one clock.
""",
)

CHAPTERS: Final = (PROCESSES, PODS)
