"""What a seed plays: how many executors, which groups, what clients do and when."""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from durable_timer.models.group import CallbackSpec, RateLimit, RetryPolicySpec, TimerGroupSpec
from tests.simulation.weather import Weather

HOSTS: Final = {
    "ok.test": 50, "fine.test": 15, "slow.test": 8, "edge.test": 3, "hanging.test": 3, "dead.test": 4, "erring.test": 6,
    "again.test": 4, "notyet.test": 2, "later.test": 3, "gone.test": 1, "rejecting.test": 1,
}  # fmt: skip
"""How often each target is asked for where the weather sends no more to the slow ones."""

OPERATIONS: Final = {
    "delete": 24, "stop": 14, "move": 26, "replace": 10, "change": 6, "run": 8, "redrive": 8, "suspend": 6, "twice": 4,
}  # fmt: skip
"""How often each operation on an existing timer comes."""


FEW_AT_ONCE: Final = 6
FEW_A_SECOND: Final = 5
RUSHES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A seed's play. Times are virtual seconds."""

    seed: int
    weather: Weather
    seconds: float = 60.0
    timers: int = 200
    operations: int = 90
    executors: int = 3
    planner: bool = False
    groups: dict[str, int] = field(default_factory=lambda: {"alpha": 4, "beta": 3, "gamma": 2})
    """Group id → shards. The last one is the one that is paused, deleted and made again."""
    slots: int = 100
    slots_per_target: int = 50
    tight: bool = False
    """Whether beta's callbacks are few at once, and gamma's few a second."""
    schedules: int = 5
    rushes: tuple[float, ...] = ()
    """Instants at which many timers are due at once, and at which weather likes to strike."""

    @property
    def hosts(self) -> dict[str, int]:
        """How often each target is asked for."""
        return HOSTS | {"slow.test": HOSTS["slow.test"] + self.weather.slow_targets}

    def rng(self, stream: str) -> random.Random:
        """A source of its own for each user, so that a change of one leaves the others as they were."""
        return random.Random(f"{self.seed}/{stream}")


def scenario_of(seed: int, weather: Weather) -> Scenario:
    rng = random.Random(f"{seed}/scenario")
    return Scenario(
        seed=seed,
        weather=weather,
        executors=rng.choice(weather.executors),
        planner=rng.random() < 0.4,
        slots=rng.choice((20, 100, 100, 1000)),
        slots_per_target=rng.choice((10, 50, 100)),
        tight=rng.random() < 0.25,
        rushes=tuple(sorted(rng.uniform(5.0, 55.0) for _ in range(RUSHES))),
    )


def spec_of(group_id: str, *, paused: bool = False, tight: bool = False) -> TimerGroupSpec:
    """A group's spec: quick retries, so that a dead target's timers end within the calm."""
    return TimerGroupSpec(
        group_id=group_id,
        paused=paused,
        callback=CallbackSpec(
            timeout=timedelta(seconds=10),
            max_in_flight=FEW_AT_ONCE if tight and group_id == "beta" else 400,
            rate_limit=RateLimit(requests=FEW_A_SECOND) if tight and group_id == "gamma" else None,
        ),
        retry_policy=RetryPolicySpec(
            max_attempts=5,
            initial_interval=timedelta(milliseconds=500),
            max_interval=timedelta(seconds=4),
        ),
    )
