"""All faults, with the words that `python -m faults --list` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from faults import kills
from faults.checks import Fault
from faults.rig import Rig, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault: what it does, about how many seconds that takes, and what it needs."""

    name: str
    about: str
    act: Callable[[Rig], Fault]
    lasts: float = 1.0
    slow: float = 0.0
    shape: Shape = field(default_factory=Shape)


SCENARIOS: Final = (
    Scenario(name="kill_executor", about="kill -9 of one executor, started again 5 s later", act=kills.one, lasts=6),
)
