"""Plays seeds and judges them."""

import gc
import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import structlog

from tests.simulation.bounds import check_bounds
from tests.simulation.checks import check_all
from tests.simulation.history import History
from tests.simulation.scenario import Scenario
from tests.simulation.world import World


@dataclass(slots=True)
class Verdict:
    """What became of a seed. `digest` is the trace's hash, the same wherever the seed is played."""

    seed: int
    weather: str
    digest: str
    violations: list[str]
    sends: int
    handles: int
    seconds: float

    @property
    def kinds(self) -> set[str]:
        """What the violations begin with."""
        return {violation.partition(":")[0] for violation in self.violations}


def play(scenario: Scenario, planted: AbstractContextManager[None] | None = None) -> tuple[Verdict, History]:
    """Plays a scenario, with a planted bug where one is given, and asks all checks."""
    began = time.perf_counter()
    with planted or nullcontext():
        world = World(scenario)
        world.play()
    history = world.history
    violations = [*history.violations, *check_all(history, world.rows()), *check_bounds(history, scenario)]
    if any("settled" in violation for violation in history.violations):
        violations += [f"unsettled: {row.timer_id} {row.state} due {row.due_at}" for row in world.unsettled()]
    verdict = Verdict(
        seed=scenario.seed,
        weather=scenario.weather.name,
        digest=history.digest(),
        violations=violations,
        sends=len(history.sends),
        handles=world.loop.handled,
        seconds=time.perf_counter() - began,
    )
    world.loop.dispose()
    return verdict, history


def prepare_process() -> None:
    """What a process that plays many seeds does first: no logs, no collections in the middle of a seed."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=True
    )
    gc.disable()


def explain(verdict: Verdict, history: History, lines: int = 60) -> str:
    """The first violations and the trace around them, for people."""
    first = verdict.violations[0]
    words = [word.strip(":,") for word in first.split()]
    timer = next((word for word in words if word[:1] in "ts" and word[1:].isdigit()), "")
    shown = "\n".join(f"  {violation}" for violation in verdict.violations[:10])
    return (
        f"seed {verdict.seed} in weather {verdict.weather}: {len(verdict.violations)} violations\n{shown}\n"
        f"trace {verdict.digest}, what speaks of {timer or 'processes'}:\n{history.excerpt(timer + ' ', lines)}"
    )
