"""The engine's numbers. Defaults and bounds are those of `docs/limits.md`; `config` checks them where they enter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an executor is told at its start. Durations are seconds unless they are `timedelta`s."""

    name: str
    """The member's name, as people see it: the pod's, or the host's and process's."""
    pool: str = "default"
    host: str | None = None
    """What outlives the process and runs one at a time (a pod's uid): an earlier member with it is dead at join."""
    look_ahead: timedelta = timedelta(milliseconds=100)
    slots: int = 1000
    """Requests under way at once; twice as many timers may be held."""
    slots_per_target: int = 100
    beat_interval: float = 0.5
    beat_timeout: float = 0.5
    dead_after: float = 2.0
    trust: float = 1.5
    statement_timeout: float = 2.0
    drain_timeout: float = 305.0
    """How long a stopping member waits for requests under way."""
    retention_interval: float = 10.0
    report_interval: float = 10.0

    @property
    def call_timeout(self) -> float:
        """How long a store call is waited for: what its statement may take, and the way there and back."""
        return self.statement_timeout + 0.5
