"""What goes wrong in a simulation: how often, for how long, and when."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Rates are events in the 60 seconds of weather; spans are (least, most) seconds; the rest are probabilities."""

    name: str
    kills: float = 0.0
    """Executors killed; each starts again after `restart`."""
    stops: float = 0.0
    """Planned stops: an executor leaves gracefully and another process takes its place."""
    kill_leaving: float = 0.0
    """Whether a leaving process is killed before it has left."""
    bursts: float = 0.0
    """Two planned stops in a row, a moment apart."""
    cuts: float = 0.0
    """One executor without its store."""
    outages: float = 0.0
    """No store for anybody."""
    cut_span: tuple[float, float] = (0.5, 6.0)
    pauses: float = 0.0
    pause_span: tuple[float, float] = (0.3, 6.0)
    lag: float = 0.0
    """Whether a process that is about to pause waits long for answers, so that the pause finds calls under way."""
    slow: float = 0.0
    """A call takes up to `slow_span` each way, on top."""
    slow_span: tuple[float, float] = (0.05, 1.8)
    error_before: float = 0.0
    error_after: float = 0.0
    loss_apart: float = 0.0
    """Least seconds between two calls of one process that fail after their commit."""
    late_commit: float = 0.0
    """A take that commits up to `slow_span` after it has looked at its claims."""
    step_back: float = 0.0
    """Whether the store's clock steps back by 2 s."""
    slow_targets: int = 0
    """How much more often than usual a timer is for a target that takes seconds, beside 104 for all."""
    restart: tuple[float, float] = (0.2, 4.0)
    aim: float = 0.5
    """Whether an event strikes just before or within a rush of due timers."""
    executors: tuple[int, ...] = (1, 2, 2, 3, 3, 4)
    """How many executors there may be."""

    @property
    def rough(self) -> bool:
        """Whether single calls fail or take seconds."""
        return any((self.slow, self.lag, self.late_commit, self.error_before, self.error_after))

    @property
    def disturbs(self) -> bool:
        """Whether anything happens beyond planned stops."""
        return self.rough or any((self.kills, self.cuts, self.outages, self.pauses))


CALM: Final = Weather(name="none", stops=3.0, bursts=0.5)
KILLS: Final = Weather(name="kills", kills=3.0, stops=3.0, kill_leaving=0.5, bursts=0.5)
OUTAGES: Final = Weather(
    name="outages", cuts=3.0, outages=0.7, stops=1.0, error_before=0.004, error_after=0.004, slow=0.004
)
STORMS: Final = Weather(
    name="storms",
    stops=1.0,
    pauses=12.0,
    pause_span=(1.5, 3.2),
    lag=0.7,
    slow=0.03,
    slow_span=(0.02, 1.95),
    late_commit=0.05,
    error_after=0.002,
    aim=0.7,
    executors=(2, 3, 3, 4),
)
NAPS: Final = Weather(name="naps", pauses=7.0, pause_span=(2.0, 2.6), lag=1.0, aim=1.0, executors=(3, 3, 4))
CROWDS: Final = Weather(
    name="crowds",
    kills=3.0,
    stops=6.0,
    bursts=3.0,
    kill_leaving=0.2,
    slow=0.05,
    slow_span=(0.02, 1.0),
    restart=(0.05, 1.0),
    executors=(2, 3, 4, 5),
)
MIXED: Final = Weather(
    name="mixed",
    kills=1.5,
    stops=2.0,
    kill_leaving=0.3,
    bursts=0.3,
    cuts=1.5,
    outages=0.3,
    pauses=3.0,
    slow=0.01,
    error_before=0.003,
    error_after=0.003,
    late_commit=0.02,
    step_back=0.5,
)
LOSSES: Final = Weather(name="losses", stops=1.0, error_after=0.05, loss_apart=6.0)
JAMS: Final = Weather(name="jams", stops=1.0, slow_targets=100)
BLACKOUTS: Final = Weather(
    name="blackouts", stops=8.0, bursts=2.0, outages=3.0, cut_span=(6.0, 18.0), aim=1.0, executors=(2, 3, 4)
)
IN_TURN: Final = (CALM, KILLS, OUTAGES, STORMS, NAPS, CROWDS, MIXED)
ASKED_FOR: Final = (LOSSES, JAMS, BLACKOUTS)
"""Too narrow to have their turn with every seed: each shows one kind of bug that hardly shows in the others."""
WEATHERS: Final = {weather.name: weather for weather in (*IN_TURN, *ASKED_FOR)}


def weather_of(seed: int) -> Weather:
    """The weather that a seed has unless another one is asked for."""
    return IN_TURN[seed % len(IN_TURN)]
