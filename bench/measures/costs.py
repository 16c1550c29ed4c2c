"""What being seen, and being trusted, costs: each switch on against off."""

from __future__ import annotations

from statistics import fmean
from typing import Final

from bench import firing
from bench.charts import Bars
from bench.cluster import GroupShape, Shape
from bench.lab import Lab, Outcome

AS_SHIPPED: Final = "as_shipped"
AS_SHIPPED_AGAIN: Final = "as_shipped_again"

VARIANTS: Final[dict[str, Shape]] = {
    AS_SHIPPED: Shape(),
    "without_metrics": Shape(silent=True),
    "without_logs": Shape(settings=(("log.level", "error"),)),
    "with_json_logs": Shape(settings=(("log.format", "json"),)),
    "with_signing": Shape(groups=(GroupShape(signing=True),)),
    "with_tracing": Shape(tracing=True),
    AS_SHIPPED_AGAIN: Shape(),
}
"""The first and the last are the same: their mean is what the others are held against, what lies between them is the noise."""


def costs(lab: Lab) -> Outcome:
    """A burst and a steady load with each switch, created and fired: CPU of the service's processes for 1,000 timers."""
    figures: dict[str, float | int | str] = {}
    for name, shape in VARIANTS.items():
        lab.say(f"  {name}")
        figures |= {f"{name}/{figure}": value for figure, value in variant(lab, shape).items()}
    base = fmean(float(figures[f"{name}/cpu_ms_per_timer"]) for name in (AS_SHIPPED, AS_SHIPPED_AGAIN))
    for name in VARIANTS:
        used = float(figures[f"{name}/cpu_ms_per_timer"])
        figures[f"{name}/cpu_change_percent"] = round((used / base - 1) * 100, 1) if base else 0.0
    bars = {name.replace("_", " "): float(figures[f"{name}/cpu_ms_per_timer"]) for name in VARIANTS}
    return Outcome(figures, (Bars("CPU of the service a timer, at a steady load", "ms", bars),))


def variant(lab: Lab, shape: Shape) -> dict[str, float | int | str]:
    """A burst, then a steady load on a cluster of that shape."""
    cluster, sizes = lab.cluster(shape, fresh=True), lab.sizes
    burst = firing.fire(cluster, firing.at_once(sizes.burst), sizes.lead)
    after = firing.evenly(sizes.rate, sizes.steady_seconds / 2)
    before = cluster.cpu_seconds()
    steady = firing.fire(cluster, after, sizes.lead / 2)
    spent = cluster.cpu_seconds()
    cpu = sum(spent[name] - before[name] for name in cluster.services)
    return {
        **{name: burst.figures[name] + steady.figures.get(name, 0) for name in burst.counts()},
        "burst_per_second": burst.figures.get("per_second", 0.0),
        "late_p99_ms": steady.figures.get("late_p99_ms", 0.0),
        "cpu_ms_per_timer": round(cpu / len(after) * 1000, 4),
        "others_cores": steady.figures["others_cores"],
    }
