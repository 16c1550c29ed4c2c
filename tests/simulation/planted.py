"""The bugs to plant: the simulation has to find every one of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation import engine_bugs, store_bugs
from tests.simulation.runner import Verdict

UNSETTLED: Final = "not all timers were settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A bug to plant."""

    bug: Callable[[], AbstractContextManager[Any]]
    """Plants it while its context lasts."""
    weather: str
    """In which it shows soonest."""
    breaks: str
    """The kind of violation that finds it: others are beside the point."""
    seed: int
    """Which found it last; `--survey` tells which ones do today."""

    def is_found(self, verdict: Verdict) -> bool:
        """Whether a seed that was played with it broke what it has to break."""
        return self.breaks in verdict.kinds


PLANTED: Final = {
    plant.bug.__name__: plant
    for plant in (
        Plant(bug=store_bugs.claim_from_the_living, weather="crowds", breaks="overlap", seed=10),
        Plant(bug=store_bugs.death_whatever_the_counter, weather="naps", breaks="murder", seed=3),
        Plant(bug=store_bugs.beat_of_the_dead, weather="storms", breaks="duplicate", seed=5),
        Plant(bug=store_bugs.no_run_token, weather="storms", breaks="overlap", seed=0),
        Plant(bug=store_bugs.no_sweep, weather="kills", breaks=UNSETTLED, seed=0),
        Plant(bug=engine_bugs.sweeps_at_claims_only, weather="outages", breaks=UNSETTLED, seed=4),
        Plant(bug=engine_bugs.sweep_looks_back_too_little, weather="losses", breaks="late", seed=18),
        Plant(bug=store_bugs.sweep_from_the_draining, weather="none", breaks="overlap", seed=0),
        Plant(bug=store_bugs.sweep_of_the_held, weather="none", breaks="overlap", seed=0),
        Plant(bug=store_bugs.outages_end_drains, weather="blackouts", breaks="duplicate", seed=6),
        Plant(bug=engine_bugs.draining_counts_as_living, weather="none", breaks="late", seed=0),
        Plant(bug=engine_bugs.release_keeps_unsent, weather="none", breaks="late", seed=3),
        Plant(bug=engine_bugs.trust_from_the_answer, weather="naps", breaks="duplicate", seed=4),
        Plant(bug=store_bugs.wake_up_lost, weather="none", breaks="slow", seed=0),
        Plant(bug=engine_bugs.floor_ahead, weather="none", breaks="slow", seed=0),
        Plant(bug=engine_bugs.no_whole_reads, weather="mixed", breaks=UNSETTLED, seed=1),
        Plant(bug=store_bugs.cancel_ignores_running, weather="none", breaks="inexact", seed=2),
        Plant(bug=store_bugs.recovery_counts_an_attempt, weather="kills", breaks="miscounted", seed=0),
        Plant(bug=engine_bugs.next_as_a_duration, weather="none", breaks="early", seed=0),
        Plant(bug=engine_bugs.step_back_unnoticed, weather="mixed", breaks="early", seed=0),
        Plant(bug=engine_bugs.backlog_starves, weather="none", breaks="late", seed=3),
        Plant(bug=engine_bugs.put_off_for_ever, weather="jams", breaks=UNSETTLED, seed=2),
    )
}
"""By name."""
