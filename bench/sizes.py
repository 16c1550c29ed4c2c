"""How much each measure does."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

RATE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Counts of timers and lengths in seconds, as the figures are meant. `scaled` is for trying things out."""

    singles: int = 40_000
    batched: int = 100_000
    cancelled: int = 50_000
    burst: int = 20_000
    steady_seconds: float = 20.0
    lead: float = 8.0
    """Until the first of the created timers is due."""

    wrk_seconds: float = 8.0
    idle_groups: int = 200
    idle_seconds: float = 20.0
    few: int = 10_000
    many: int = 1_000_000
    most: int = 10_000_000
    dead: int = 100_000
    slow: int = 10_000
    slow_seconds: float = 30.0
    """Until the slow target answers."""

    purge_within: float = 15.0
    """Until a purge begins at the latest."""

    long_seconds: float = 600.0
    rate: int = RATE
    """Timers a second of a steady load."""

    soak_seconds: float = 1800.0
    kill_every: float = 60.0
    """Seconds between the kills of a soak."""

    seed: int = 2
    """Chooses who is killed."""

    connections: int = 48
    create_rate: int = 5_000
    """Creates a second into the neighbour."""

    scale: float = 1.0
    """What counts and times were multiplied by."""

    @property
    def whole(self) -> bool:
        """Whether the figures are those that bounds are meant for."""
        return self.scale >= 1 and self.rate >= RATE

    def scaled(self, factor: float) -> Sizes:
        """All but the rates, the kills and the seed multiplied."""
        kept = {"purge_within", "rate", "connections", "create_rate", "kill_every", "seed"}
        counts = {
            field.name: type(value)(max(1, value * factor))
            for field in fields(self)
            if field.name not in kept and (value := getattr(self, field.name)) is not None
        }
        return replace(self, **{**counts, "lead": max(1.0, self.lead * factor), "scale": factor})
