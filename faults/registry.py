"""All faults, with the words that `python -m faults --list` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from faults import cuts, kills, outages, stops
from faults.checks import Fault
from faults.rig import Rig, Shape

PROXIED: Final = Shape(proxied=frozenset({cuts.CUT_OFF}))
OWN_CLOCK: Final = Shape(own_clock=frozenset({cuts.WRONG_CLOCK}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault: what it does, about how many seconds that takes, and what it needs.

    `slow` timers a second go to a target that answers in 8 s.
    """

    name: str
    about: str
    act: Callable[[Rig], Fault]
    lasts: float
    slow: float = 0.0
    shape: Shape = field(default_factory=Shape)


SCENARIOS: Final = (
    Scenario(name="kill_executor", about="kill -9 of one executor", act=kills.one, lasts=6),
    Scenario(name="kill_other", about="kill -9 of the other, once the first is back", act=kills.the_other, lasts=14),
    Scenario(name="kill_both", about="kill -9 of both executors at once, started again 2 s later", act=kills.both, lasts=4),
    Scenario(name="kill_bridge", about="kill -9 of a bridge", act=kills.bridge, lasts=6),
    Scenario(name="stop_3s", about="PostgreSQL stopped for 3 s", act=outages.short, lasts=4),
    Scenario(name="stop_30s", about="PostgreSQL stopped for 30 s", act=outages.long, lasts=31),
    Scenario(name="kill_postgresql", about="kill -9 of PostgreSQL, started again at once", act=outages.killed, lasts=2),
    Scenario(name="hang_postgresql", about="SIGSTOP of PostgreSQL for 10 s", act=outages.hung, lasts=10),
    Scenario(name="pause", about="SIGSTOP of an executor for 6 s", act=kills.pause, lasts=6),
    Scenario(name="stop_executor", about="SIGTERM of an executor with targets that answer in 8 s", act=stops.executor, lasts=10, slow=3),
    Scenario(name="kill_draining", about="kill -9 of an executor 3 s after SIGTERM, with targets that answer in 8 s", act=kills.draining, lasts=10, slow=3),
    Scenario(name="rolling_restart", about="a rolling restart of both bridges and both executors", act=stops.everything, lasts=10),
    Scenario(name="cut_requests", about="an executor cut off for 8 s: nothing reaches the database", act=cuts.requests, lasts=8, shape=PROXIED),
    Scenario(name="cut_answers", about="an executor cut off for 8 s: no answer of the database arrives", act=cuts.answers, lasts=8, shape=PROXIED),
    Scenario(name="delayed_answers", about="each answer of the database delayed by 3 s, for 8 s", act=cuts.delayed, lasts=8, shape=PROXIED),
    Scenario(name="disk_full", about="PostgreSQL's disk full for 6 s", act=outages.disk_full, lasts=8, shape=Shape(disk_mib=384)),
    Scenario(name="clock_ahead", about="the clock of one executor jumps 5 s ahead, and back", act=cuts.clock_ahead, lasts=8, shape=OWN_CLOCK),
    Scenario(name="clock_behind", about="the clock of one executor jumps 5 s behind, and back", act=cuts.clock_behind, lasts=8, shape=OWN_CLOCK),
    Scenario(name="next_release", about="an executor of the next schema beside those of this one", act=stops.release, lasts=10),
)  # fmt: skip
